"""Bikkle: collect pink pellets, avoid blue ones, and find out from a person's gaze which pink one is best.

The author contract of gymnax 1.0, held structurally; see `envs.register_gymnax`.
"""

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from envs import random
from envs.bikkle import gaze, observations, params, placement
from envs.bikkle.params import MAX_PELLETS, BikkleParams
from envs.bikkle.placement import MAX_CANDIDATES, MAX_TOUCHED
from envs.bikkle.rewards import shaping, squared_reach, touch_reward, touching
from envs.bikkle.state import BikkleState, is_blue, position_of, present
from purerl import spaces
from purerl.types import PyTree, Space

ACTIONS = ("xy", "angle")
OBSERVATIONS = ("tokens", "flat", "image")


@dataclass(frozen=True)
class Bikkle:
    """The arena; what it holds decides shapes and code, every number is in `BikkleParams`.

    Attributes:
        max_pellets: pellet slots N, even, 2 to 32.
        action: `xy` for two steps within [-1, 1], `angle` for a direction within [0, 1].
        observation: `tokens`, `flat` or `image`.
        num_candidates: points K among which a pellet finds its place, 5 to 32; 0 stands for 8, or for 16
            where there may be more than 8 pellets.
        image_size: pixels along a side of the image.
    """

    max_pellets: int = 4
    action: str = "xy"
    observation: str = "tokens"
    num_candidates: int = 0
    image_size: int = 64

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise ValueError(f"action = {self.action!r} is not one of {ACTIONS}")
        if self.observation not in OBSERVATIONS:
            raise ValueError(f"observation = {self.observation!r} is not one of {OBSERVATIONS}")
        if not 2 <= self.max_pellets <= MAX_PELLETS or self.max_pellets % 2:
            raise ValueError(
                f"max_pellets = {self.max_pellets} must be even, from 2 to {MAX_PELLETS}, such as 4"
            )
        if self.num_candidates == 0:
            object.__setattr__(self, "num_candidates", 8 if self.max_pellets <= 8 else 16)
        if not MAX_TOUCHED <= self.num_candidates <= MAX_CANDIDATES:
            raise ValueError(
                f"num_candidates = {self.num_candidates} must be from {MAX_TOUCHED} "
                f"to {MAX_CANDIDATES}, such as 16"
            )

    @property
    def name(self) -> str:
        """Name of the environment."""
        return "Bikkle-v0"

    @property
    def num_actions(self) -> int:
        """How many numbers an action has."""
        return 2 if self.action == "xy" else 1

    @property
    def default_params(self) -> BikkleParams:
        """The default numbers."""
        return BikkleParams(num_pellets=min(4, self.max_pellets))

    def check(self, params_: BikkleParams) -> None:
        """Raises ValueError, on the host, for parameters that cannot be meant."""
        params.check(self, params_)

    def action_space(self, params: BikkleParams | None = None) -> spaces.Box:
        """What `step_env` takes."""
        if self.action == "angle":
            return spaces.Box(0.0, 1.0, (1,), periodic=True)
        return spaces.Box(-1.0, 1.0, (2,))

    def observation_space(self, params: BikkleParams | None = None) -> Space:
        """What `observe_state` gives."""
        if self.observation == "tokens":
            return observations.tokens_space(self.max_pellets)
        if self.observation == "flat":
            return observations.flat_space(self.max_pellets)
        return observations.image_space(self.image_size)

    def observe_state(self, state: BikkleState, params: BikkleParams) -> PyTree:
        """What the agent sees of a state, in the form that `observation` names."""
        if self.observation == "tokens":
            return observations.tokens(state, params)
        if self.observation == "flat":
            return observations.flat(state, params)
        return observations.image(state, params, self.image_size)

    def get_obs(self, state: BikkleState, params: BikkleParams, key: jax.Array | None = None) -> PyTree:
        """`observe_state` under the name that gymnax gave it first."""
        return self.observe_state(state, params)

    def is_truncated(self, state: BikkleState, params: BikkleParams) -> jax.Array:
        """True where the time limit cuts the episode: bool []."""
        return state.time >= params.max_steps_in_episode

    def reset_env(self, key: jax.Array, params: BikkleParams) -> tuple[PyTree, BikkleState]:
        """Draws an episode.

        Args:
            key: `jax.random.key`.
            params: the arena's parameters.

        Returns:
            The observation and the state.
        """
        num_places = (self.max_pellets + 1) * self.num_candidates
        words = random.words(random.key_words(key), num_places + 5 + gaze.NUM_WORDS)
        places, words = words[:num_places].reshape(-1, self.num_candidates), words[num_places:]
        counts = jnp.atleast_1d(jnp.asarray(params.num_pellets, jnp.int32))
        num_pellets = counts[random.below(words[0], jnp.asarray(counts.shape[0]))]
        mask = jnp.arange(self.max_pellets) < num_pellets
        x, y = placement.scatter(places[1:], squared_reach(params))
        agent = placement.free_point(places[0], (x, y), mask, squared_reach(params))
        target = 2 * random.below(words[1], num_pellets // 2)
        signal = gaze.reset(words[5:], words[2:5], position_of(target, x, y), params)
        state = BikkleState(
            agent=jnp.stack(agent),
            pellet_x=jnp.where(mask, x, 0.0),
            pellet_y=jnp.where(mask, y, 0.0),
            num_pellets=num_pellets,
            target=target,
            round_step=jnp.zeros((), jnp.int32),
            time=jnp.zeros((), jnp.int32),
            gaze=signal,
            external_gaze=jnp.full(2, 0.5, jnp.float32),
            external_gaze_present=jnp.zeros((), bool),
        )
        return self.observe_state(state, params), state

    def step_env(
        self, key: jax.Array, state: BikkleState, action: jax.Array, params: BikkleParams
    ) -> tuple[PyTree, BikkleState, jax.Array, jax.Array, dict[str, jax.Array]]:
        """Moves the agent and plays out what it touches.

        Args:
            key: `jax.random.key`.
            state: before the step.
            action: float32 [2] or [1]; beyond its bounds `xy` is clipped, `angle` turns on.
            params: the arena's parameters.

        Returns:
            The observation, the state, the reward (float32 []), whether the episode terminated (bool []),
            and what was touched: counts of `pink`, `blue` and `target` (int32 [] each), and the
            `unshaped_reward` (float32 []).
        """
        words = random.words(random.key_words(key), self.num_candidates + 1 + gaze.NUM_WORDS)
        candidates, word, gaze_words = jnp.split(words, (self.num_candidates, self.num_candidates + 1))
        agent = self._move(state.agent, action, params)
        touched = touching(state, agent, params)
        kept = present(state) & ~touched
        board = (state.pellet_x, state.pellet_y)
        x, y = placement.respawn(candidates, board, kept, touched, squared_reach(params))
        target_touched = jnp.any(touched & (jnp.arange(self.max_pellets) == state.target))
        round_over = state.round_step + 1 >= params.round_length
        drawn = 2 * random.below(word[0], state.num_pellets // 2)
        target = jnp.where(target_touched | round_over, drawn, state.target)
        external = (state.external_gaze, state.external_gaze_present)
        after = dataclasses.replace(
            state,
            agent=agent,
            pellet_x=x,
            pellet_y=y,
            target=target,
            round_step=jnp.where(round_over, 0, state.round_step + 1),
            time=state.time + 1,
            gaze=gaze.look(gaze_words, state.gaze, position_of(target, x, y), external, params),
        )
        terminated = jnp.any(touched) & ~jnp.asarray(params.continuing, bool)
        unshaped = touch_reward(state, touched, params)
        reward = unshaped + shaping(state, after, terminated, params)
        blue = is_blue(self.max_pellets)
        info = {
            "pink": jnp.sum(touched & ~blue, dtype=jnp.int32),
            "blue": jnp.sum(touched & blue, dtype=jnp.int32),
            "target": target_touched.astype(jnp.int32),
            "unshaped_reward": unshaped,
        }
        return self.observe_state(after, params), after, reward, terminated, info

    def _move(self, agent: jax.Array, action: jax.Array, params: BikkleParams) -> jax.Array:
        if self.action == "xy":
            direction = jnp.clip(action, -1.0, 1.0)
        else:
            angle = 2.0 * jnp.pi * (action[0] - jnp.floor(action[0])) - jnp.pi
            direction = jnp.stack([jnp.cos(angle), jnp.sin(angle)])
        return jnp.clip(agent + params.max_step * direction, 0.0, 1.0)


@dataclass(frozen=True)
class BikkleFlat(Bikkle):
    """The arena as a vector, for networks that take one."""

    observation: str = "flat"


@dataclass(frozen=True)
class BikkleImage(Bikkle):
    """The arena as a picture of 16 x 16 cells, for convolutions; it is drawn anew in each step."""

    observation: str = "image"
    image_size: int = 16
