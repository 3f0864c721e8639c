"""What a rollout tells of the levels that it was played on."""

import jax
import jax.numpy as jnp
from flax import struct

from purerl.types import Judgment, LevelTrace


@struct.dataclass
class LevelOutcome:
    """What a rollout told of each level of a pool; sums over steps and episodes, float32 [P + 1].

    The last entry holds the levels that have left the pool since their episode began.

    Attributes:
        num_episodes: episodes that ended, of those that began where the level begins, as all that follows.
        num_solved: those of them that ended in success.
        num_steps: steps taken on the level.
        expected_sum: sum over these steps of the return that the critic expects of the whole episode: rewards
            up to there and the value of what follows, discounted to the start of the episode.
        positive_advantage: sum of max(A_t, 0) over these steps, in units of reward.
        best_return: highest discounted return of an episode that ended, with the value of what follows where
            it was truncated; -inf where none did.
    """

    num_episodes: jax.Array
    num_solved: jax.Array
    num_steps: jax.Array
    expected_sum: jax.Array
    positive_advantage: jax.Array
    best_return: jax.Array


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
