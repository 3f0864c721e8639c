"""Levels: pools that resets draw from, what a rollout tells about them, and the plainest curriculum.

A level is what an episode starts from: an observation and a state. A pool is refreshed between rollouts, so
that no step pays for a reset it throws away. `envs.curriculum` holds the curricula that choose.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from purerl.types import Curriculum, LevelOutcome, LevelPool, PyTree


@struct.dataclass
class LevelTrace:
    """Which level each step of a rollout was played on, and how its episodes ended; leaves [T, E].

    Attributes:
        slot: int32, slot of the pool; the pool's size P where its level has left the pool.
        learnable: bool, see `LevelPool`.
        ended: bool, the episode ended with this step.
        solved: bool, it ended in success.
        episode_return: float32, its return where it ended.
    """

    slot: jax.Array
    learnable: jax.Array
    ended: jax.Array
    solved: jax.Array
    episode_return: jax.Array


LEAST_LEVELS = 64
"""Levels that a pool holds at least where their number is left open."""


def pool_size(wanted: int, num_envs: int, num_shards: int) -> int:
    """Levels in the pool of one shard: so many as are wanted in all, or where that is 0, one an environment.

    Then there are 64 at least: a rollout resets one environment many times, and each level would come again.
    """
    return max((wanted or max(num_envs, LEAST_LEVELS)) // num_shards, 1)


def num_levels(pool: LevelPool) -> int:
    """P, the number of slots."""
    return pool.learnable.shape[0]


def plain_pool(observation: PyTree, env_state: PyTree) -> LevelPool:
    """A pool of levels, leaves [P, ...], all of them drawn alike and learnt from."""
    count = jax.tree.leaves(observation)[0].shape[0]
    return LevelPool(
        observation=jax.tree.map(strongly_typed, observation),
        env_state=jax.tree.map(strongly_typed, env_state),
        draw=jnp.arange(count, dtype=jnp.int32),
        learnable=jnp.ones(count, bool),
    )


def strongly_typed(leaf: jax.Array) -> jax.Array:
    """The same array without a weak type, which the first update would lose: it would be traced twice."""
    leaf = jnp.asarray(leaf)
    return leaf if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf.astype(leaf.dtype)


def make_pool(env: Any, params: PyTree, key: jax.Array, count: int) -> LevelPool:
    """Draws `count` fresh levels with the environment's own reset."""
    return plain_pool(*jax.vmap(env.reset_env, (0, None))(jax.random.split(key, count), params))


@struct.dataclass
class PoolOnly:
    """State of a curriculum that has nothing to remember."""

    pool: LevelPool


def fresh_levels(env: Any) -> Curriculum:
    """Domain randomisation with the environment's own reset: before each rollout, a pool of fresh levels."""

    def init(key: jax.Array, params: PyTree, count: int) -> PoolOnly:
        return PoolOnly(pool=make_pool(env, params, key, count))

    def refresh(key, state, params, outcome, progress):
        count = num_levels(state.pool)
        return init(key, params, count), jnp.ones(count, bool), {}

    return Curriculum(init=init, refresh=refresh)


def forget_renewed(slot: jax.Array, renewed: jax.Array) -> jax.Array:
    """Slots int32 [E] after a refresh: P where the slot, of `renewed`, bool [P], holds another level now."""
    count = renewed.shape[0]
    return jnp.where(jnp.append(renewed, True)[slot], count, slot)


def level_outcome(trace: LevelTrace, value: jax.Array, advantage: jax.Array, count: int) -> LevelOutcome:
    """Adds up what a rollout tells of each level: leaves [P + 1], the last for levels no longer in the pool.

    Args:
        trace: leaves [T, E].
        value: the critic's values, in units of reward, float32 [T, E].
        advantage: float32 [T, E], in the same units.
        count: P, levels in the pool.
    """
    slot = trace.slot.ravel()
    each = jnp.stack(
        [
            trace.ended.ravel().astype(jnp.float32),
            (trace.solved & trace.ended).ravel().astype(jnp.float32),
            jnp.ones(slot.shape),
            value.ravel(),
            jnp.maximum(advantage, 0.0).ravel(),
        ],
        axis=1,
    )
    sums = jnp.zeros((count + 1, each.shape[1])).at[slot].add(each)
    final = jnp.where(trace.ended, trace.episode_return, -jnp.inf).ravel()
    best = jnp.full(count + 1, -jnp.inf).at[slot].max(final)
    return LevelOutcome(
        num_episodes=sums[:, 0],
        num_solved=sums[:, 1],
        num_steps=sums[:, 2],
        value_sum=sums[:, 3],
        positive_advantage=sums[:, 4],
        best_return=best,
    )
