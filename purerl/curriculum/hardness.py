"""Curricula that choose how hard fresh levels are: fixed, random, schedule, adaptive."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from purerl.curriculum.options import CurriculumOptions
from purerl.curriculum.outcome import LevelOutcome, level_outcome
from purerl.curriculum.pools import describe_draws, mean_of, observed_pool
from purerl.types import Curriculum, LevelPool, Levels, PyTree


@struct.dataclass
class HardnessState:
    """The pool, and how hard its levels are.

    Attributes:
        pool: levels, all of one hardness.
        hardness: float32 [1] in [0, 1].
        num_episodes: episodes since hardness moved last, float32 [1].
        num_solved: those of them that ended in success, float32 [1].
    """

    pool: LevelPool
    hardness: jax.Array
    num_episodes: jax.Array
    num_solved: jax.Array


Choose = Callable[[HardnessState, jax.Array], HardnessState]
"""`(state with the episodes of the last rollout counted, progress) -> state` with another hardness."""


def keep(state: HardnessState, progress: jax.Array) -> HardnessState:
    """The same hardness for ever."""
    return state


def follow_schedule(options: CurriculumOptions) -> Choose:
    """Hardness rises with the square root of progress, and is full after `ramp` of the training."""

    def choose(state: HardnessState, progress: jax.Array) -> HardnessState:
        share = jnp.sqrt(jnp.minimum(progress / options.ramp, 1.0))
        hardness = options.initial_hardness + (1.0 - options.initial_hardness) * share
        return dataclasses.replace(state, hardness=jnp.broadcast_to(hardness, (1,)))

    return choose


def follow_solve_rate(options: CurriculumOptions) -> Choose:
    """Hardness rises above one solve rate and falls below another, counted over a window of episodes."""

    def choose(state: HardnessState, progress: jax.Array) -> HardnessState:
        rate = state.num_solved / jnp.maximum(state.num_episodes, 1.0)
        full = state.num_episodes >= options.window
        direction = (rate > options.solve_rate_high) * 1.0 - (rate < options.solve_rate_low) * 1.0
        moved = jnp.clip(state.hardness + options.hardness_step * direction, 0.0, 1.0)
        return dataclasses.replace(
            state,
            hardness=jnp.where(full, moved, state.hardness),
            num_episodes=jnp.where(full, 0.0, state.num_episodes),
            num_solved=jnp.where(full, 0.0, state.num_solved),
        )

    return choose


def make_hardness(levels: Levels, choose: Choose, initial_hardness: float, fresh: bool = True) -> Curriculum:
    """A curriculum of levels of one hardness at a time.

    Args:
        levels: what the environment offers.
        choose: how hard the next levels are.
        initial_hardness: how hard the first ones are, in [0, 1].
        fresh: whether each refresh replaces all levels; else the first ones stay.
    """

    def generate(key: jax.Array, params: PyTree, hardness: jax.Array, count: int) -> LevelPool:
        return observed_pool(levels, levels.generate(key, params, jnp.repeat(hardness, count)), params)

    def init(key: jax.Array, params: PyTree, num_levels: int) -> HardnessState:
        hardness = jnp.full(1, initial_hardness, jnp.float32)
        pool = generate(key, params, hardness, num_levels)
        return HardnessState(pool=pool, hardness=hardness, num_episodes=jnp.zeros(1), num_solved=jnp.zeros(1))

    def refresh(
        key: jax.Array, state: HardnessState, params: PyTree, outcome: LevelOutcome, progress: jax.Array
    ) -> tuple[HardnessState, jax.Array, dict[str, Any]]:
        counted = dataclasses.replace(
            state,
            num_episodes=state.num_episodes + outcome.num_episodes.sum(),
            num_solved=state.num_solved + outcome.num_solved.sum(),
        )
        state = choose(counted, progress)
        num_levels = state.pool.learnable.shape[0]
        if fresh:
            state = dataclasses.replace(state, pool=generate(key, params, state.hardness, num_levels))
        metrics = describe_draws(levels, state.pool, params) | {"level_hardness": mean_of(state.hardness[0])}
        return state, jnp.full(num_levels, fresh), metrics

    return Curriculum(init=init, refresh=refresh, tell=level_outcome)
