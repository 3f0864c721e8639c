"""Levels: pools that resets draw from, what a rollout tells about them, and the plainest curriculum.

A level is what an episode starts from: an observation and a state. A pool is refreshed between rollouts, so
that no step pays for a reset it throws away. `purerl.curriculum` holds the curricula that choose.
"""

import jax
import jax.numpy as jnp
from flax import struct

from purerl.types import Curriculum, Environment, LevelPool, Need, Params, PyTree

LACKS: dict[Need, str] = {
    "values": "has no values of states, which this curriculum scores levels by; score them by learnability, "
    "or train with PPO and its critic, PQN or DQN",
    "learnable": "learns from all that it plays, and a robust curriculum wants levels left out that are "
    "played for their score alone; switch robust off, or train with PPO",
}
"""The end of the sentence that says what an algorithm lacks, and what to do."""


def check_needs(curriculum: Curriculum, has: frozenset[Need], algorithm: str) -> None:
    """Raises ValueError, with one line, where an algorithm lacks what a curriculum needs of it.

    A score made of numbers that nobody tells would be the same for all levels, and nobody would see it.

    Args:
        curriculum: with its needs.
        has: what the algorithm has.
        algorithm: its name, for the line.
    """
    for need in sorted(curriculum.needs - has):
        raise ValueError(f"{algorithm} {LACKS[need]}")


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
    """A pool of levels, leaves [P, ...], all of them drawn alike and learned from."""
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


def make_pool(env: Environment, params: Params, key: jax.Array, count: int) -> LevelPool:
    """Draws `count` fresh levels with the environment's own reset."""
    return plain_pool(*jax.vmap(env.reset_env, (0, None))(jax.random.split(key, count), params))


@struct.dataclass
class PoolOnly:
    """State of a curriculum that has nothing to remember."""

    pool: LevelPool


def fresh_levels(env: Environment) -> Curriculum:
    """Domain randomization with the environment's own reset: before each rollout, a pool of fresh levels."""

    def init(key: jax.Array, params: Params, count: int) -> PoolOnly:
        return PoolOnly(pool=make_pool(env, params, key, count))

    def refresh(key, state, params, outcome, progress):
        count = num_levels(state.pool)
        return init(key, params, count), jnp.ones(count, bool), {}

    return Curriculum(init=init, refresh=refresh)


def forget_renewed(slot: jax.Array, renewed: jax.Array) -> jax.Array:
    """Slots int32 [E] after a refresh: P where the slot, of `renewed`, bool [P], holds another level now."""
    count = renewed.shape[0]
    return jnp.where(jnp.append(renewed, True)[slot], count, slot)


def start_returns(curriculum: Curriculum, num_envs: int) -> jax.Array | None:
    """The `level_return` of E environments that begin: float32 [E], None where the curriculum needs none."""
    return jnp.zeros(num_envs) if "values" in curriculum.needs else None
