"""Arenas as levels of a curriculum: each episode brings its own pellets, sizes, penalties and noise."""

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import struct

from envs import random
from envs.bikkle.environment import Bikkle
from envs.bikkle.params import BikkleParams
from envs.bikkle.state import BikkleState
from purerl.types import ActionSpace, Levels, PyTree, Space

EASIEST = {"pellet_size": 0.06, "blue_penalty": -2.0, "gaze_std": 0.0}
"""What hardness 0 stands for; hardness 1 stands for what the parameters say."""
MUTATION_STD = 0.2
"""Standard deviation of a mutation, in units of the way from the easiest level to the hardest."""


@struct.dataclass
class ArenaLevel:
    """What may differ between episodes.

    Attributes:
        num_pellets: even, int32 [].
        hardness: [3] in [0, 1]: how far pellet size, blue penalty and gaze noise have gone from the easiest
            values to those of the parameters, float32.
    """

    num_pellets: jax.Array
    hardness: jax.Array


@struct.dataclass
class LevelState:
    """An arena, the level it was made for, and the return so far without shaping, float32 []."""

    arena: BikkleState
    level: ArenaLevel
    total: jax.Array


def level_params(level: ArenaLevel, params: BikkleParams) -> BikkleParams:
    """The parameters that hold in a level."""
    values = {
        name: easiest + (getattr(params, name) - easiest) * level.hardness[index]
        for index, (name, easiest) in enumerate(EASIEST.items())
    }
    return dataclasses.replace(params, num_pellets=level.num_pellets, **values)


@dataclass(frozen=True)
class BikkleLevels:
    """Bikkle with a level in the state of each episode, so that a pool may hold different arenas.

    Attributes:
        arena: the environment.
        success_return: an episode whose return without shaping reaches this is solved.
    """

    arena: Bikkle
    success_return: float = 15.0

    @property
    def default_params(self) -> BikkleParams:
        """The arena's."""
        return self.arena.default_params

    def action_space(self, params: BikkleParams | None = None) -> ActionSpace:
        """The arena's."""
        return self.arena.action_space(params)

    def observation_space(self, params: BikkleParams | None = None) -> Space:
        """The arena's."""
        return self.arena.observation_space(params)

    def is_truncated(self, state: LevelState, params: BikkleParams) -> jax.Array:
        """True where the time limit cuts the episode: bool []."""
        return self.arena.is_truncated(state.arena, params)

    def observe_state(self, state: LevelState, params: BikkleParams) -> PyTree:
        """What the agent sees."""
        return self.arena.observe_state(state.arena, level_params(state.level, params))

    def start(self, key: jax.Array, level: ArenaLevel, params: BikkleParams) -> LevelState:
        """An episode in a given level."""
        _, arena = self.arena.reset_env(key, level_params(level, params))
        return LevelState(arena=arena, level=level, total=jnp.float32(0.0))

    def draw(self, key: jax.Array, params: BikkleParams, hardness: jax.Array) -> LevelState:
        """A fresh level of a hardness, float32 [] in [0, 1]: the harder, the more counts are drawn from."""
        word = random.words(random.key_words(key), 1)[0]
        counts = jnp.atleast_1d(jnp.asarray(params.num_pellets, jnp.int32))
        allowed = jnp.ceil(hardness * counts.shape[0]).astype(jnp.int32)
        index = random.below(word, jnp.maximum(allowed, 1))
        level = ArenaLevel(num_pellets=counts[index], hardness=jnp.repeat(hardness, len(EASIEST)))
        return self.start(jax.random.fold_in(key, 1), level, params)

    def reset_env(self, key: jax.Array, params: BikkleParams) -> tuple[PyTree, LevelState]:
        """Starts an episode of full hardness."""
        state = self.draw(key, params, jnp.float32(1.0))
        return self.observe_state(state, params), state

    def step_env(
        self, key: jax.Array, state: LevelState, action: jax.Array, params: BikkleParams
    ) -> tuple[PyTree, LevelState, jax.Array, jax.Array, dict[str, jax.Array]]:
        """See `Bikkle.step_env`; `info` says, besides, whether the episode is `solved`, bool []."""
        inner = level_params(state.level, params)
        observation, arena, reward, terminated, info = self.arena.step_env(key, state.arena, action, inner)
        total = state.total + info["unshaped_reward"]
        info["solved"] = total >= self.success_return
        return observation, dataclasses.replace(state, arena=arena, total=total), reward, terminated, info


def bikkle_levels(env: BikkleLevels) -> Levels:
    """Arenas as levels of a curriculum; see `ArenaLevel` for what differs between them."""

    def generate(key: jax.Array, params: BikkleParams, hardness: jax.Array) -> LevelState:
        keys = jax.random.split(key, hardness.shape[0])
        return jax.vmap(env.draw, (0, None, 0))(keys, params, hardness)

    def mutate(key: jax.Array, states: LevelState, params: BikkleParams) -> LevelState:
        noise_key, start_key = jax.random.split(key)
        noise = MUTATION_STD * jax.random.normal(noise_key, states.level.hardness.shape)
        hardness = jnp.clip(states.level.hardness + noise, 0.0, 1.0)
        level = dataclasses.replace(states.level, hardness=hardness)
        keys = jax.random.split(start_key, hardness.shape[0])
        return jax.vmap(env.start, (0, 0, None))(keys, level, params)

    return Levels(
        generate=generate,
        observe=env.observe_state,
        describe=describe,
        fingerprint=fingerprint,
        mutate=mutate,
    )


def describe(state: LevelState, params: BikkleParams) -> dict[str, jax.Array]:
    """What a plot shows of a level, float32 [] each."""
    inner = level_params(state.level, params)
    shown = {name: getattr(inner, name) for name in ("num_pellets", *EASIEST)}
    return {name: jnp.asarray(value, jnp.float32) for name, value in shown.items()}


def fingerprint(state: LevelState) -> jax.Array:
    """Equal for equal places of agent and pellets and equal numbers: uint32 []."""
    parts = (state.arena.agent, state.arena.pellet_x, state.arena.pellet_y, state.level.hardness)
    words = jax.lax.bitcast_convert_type(jnp.concatenate(parts), jnp.uint32)
    places = jnp.arange(words.shape[0], dtype=jnp.uint32) * jnp.uint32(random.GOLDEN)
    return random.finalize(jnp.bitwise_xor.reduce(random.finalize(words ^ places)))
