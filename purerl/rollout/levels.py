"""Levels: pools that resets draw from, what a rollout tells about them, and the plainest curriculum.

A level is what an episode starts from: an observation and a state. A pool is refreshed between rollouts, so
that no step pays for a reset it throws away. `purerl.curriculum` holds the curricula that choose.
"""

import jax
import jax.numpy as jnp
from flax import struct

from purerl.types import Curriculum, Environment, LevelOutcome, LevelPool, Need, Params, PyTree


@struct.dataclass
class LevelTrace:
    """Which level each step of a rollout was played on, and how its episodes ended; leaves [T, E].

    Attributes:
        slot: int32, slot of the pool; the pool's size P where its level has left the pool.
        learnable: bool, see `LevelPool`.
        whole: bool, the episode ends where the environment ends it; those that a staggered start cuts tell
            nothing of the level.
        ended: bool, the episode ended with this step.
        truncated: bool, it was cut by a limit.
        solved: bool, it ended in success.
        reward: float32, as the environment gave it, shaping included.
    """

    slot: jax.Array
    learnable: jax.Array
    whole: jax.Array
    ended: jax.Array
    truncated: jax.Array
    solved: jax.Array
    reward: jax.Array


@struct.dataclass
class Judgment:
    """What a critic says of the steps of a rollout, in units of reward; leaves [T, E], float32.

    Attributes:
        value: V(s_t).
        next_value: V of the true successor, before any reset; it counts where the episode was truncated.
        advantage: A_t.
    """

    value: jax.Array
    next_value: jax.Array
    advantage: jax.Array


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


def expected_returns(
    trace: LevelTrace, judgment: Judgment, past: jax.Array, age: jax.Array, gamma: jax.Array | float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    r"""What the critic expects of whole episodes at each of their steps, and what they brought in the end.

    .. math::
        E_t = \sum_{k < t} \gamma^k r_k + \gamma^t V(s_t), \qquad
        G = \sum_{k < T} \gamma^k r_k + \gamma^T V(s_T) [s_T \text{ is truncated}]

    Both are in the rewards that the critic learns from and discounted to the start of the episode, so
    :math:`E_t = G` throughout where the critic is right and chance decides nothing, whatever rewards are made
    of; shaping by a potential moves all of them alike, by that of the start.

    Args:
        trace: leaves [T, E].
        judgment: leaves [T, E].
        past: `level_return` before the first step, float32 [E].
        age: steps of the episode before the first step, int32 [E].
        gamma: discount in [0, 1].

    Returns:
        E_t, float32 [T, E]; G where an episode ends, else what counts toward it, float32 [T, E]; and
        `level_return` after the last step, float32 [E].
    """

    def step(carry, inputs):
        total, discount = carry
        trace, judged = inputs
        expected = total + discount * judged.value
        total, discount = total + discount * trace.reward, discount * gamma
        final = total + jnp.where(trace.truncated, discount * judged.next_value, 0.0)
        carry = jnp.where(trace.ended, 0.0, total), jnp.where(trace.ended, 1.0, discount)
        return carry, (expected, final)

    start = past, jnp.power(jnp.float32(gamma), age.astype(jnp.float32))
    (past, _), (expected, final) = jax.lax.scan(step, start, (trace, judgment))
    return expected, final, past


def level_outcome(
    trace: LevelTrace,
    count: int,
    judgment: Judgment | None = None,
    past: jax.Array | None = None,
    age: jax.Array | None = None,
    gamma: jax.Array | float = 1.0,
) -> tuple[LevelOutcome, jax.Array | None]:
    """Adds up what a rollout tells of each level: leaves [P + 1], the last for levels no longer in the pool.

    Args:
        trace: leaves [T, E].
        count: P, levels in the pool.
        judgment: leaves [T, E]; without it, or without `past`, nothing is told of values and returns.
        past: `level_return` before the first step, float32 [E]; see `start_returns`.
        age: steps of the episode before the first step, int32 [E].
        gamma: discount in [0, 1].

    Returns:
        The outcome, and `level_return` after the last step.
    """
    # What did not begin where the level begins tells nothing of it.
    slot = jnp.where(trace.whole, trace.slot, count).ravel()
    ended = trace.ended & trace.whole
    each = [ended, trace.solved & ended, trace.whole]
    best = jnp.full(count + 1, -jnp.inf)
    if judgment is not None and past is not None and age is not None:
        expected, final, past = expected_returns(trace, judgment, past, age, gamma)
        positive = jnp.maximum(judgment.advantage, 0.0)
        each += [jnp.where(trace.whole, part, 0.0) for part in (expected, positive)]
        best = best.at[slot].max(jnp.where(ended, final, -jnp.inf).ravel())
    rows = jnp.stack([part.astype(jnp.float32).ravel() for part in each], axis=1)
    sums = jnp.zeros((count + 1, 5)).at[slot, : len(each)].add(rows)
    return LevelOutcome(
        num_episodes=sums[:, 0],
        num_solved=sums[:, 1],
        num_steps=sums[:, 2],
        expected_sum=sums[:, 3],
        positive_advantage=sums[:, 4],
        best_return=best,
    ), past
