"""The book that level replay keeps: scores, ages, duplicates, and who is replayed how often."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

from purerl.curriculum.options import CurriculumOptions
from purerl.curriculum.outcome import LevelOutcome
from purerl.curriculum.scores import SCORES


@struct.dataclass
class Book:
    """What is known of levels; leaves [P].

    Attributes:
        evidence: what rollouts told of a level since its last score; `best_return` is that of all time.
        score: float32; -inf where there is none yet.
        age: updates since the level was played last, int32.
        fingerprint: uint32, of the level.
    """

    evidence: LevelOutcome
    score: jax.Array
    age: jax.Array
    fingerprint: jax.Array


def no_evidence(count: int) -> LevelOutcome:
    """Nothing known of `count` levels."""
    zero = jnp.zeros(count)
    return LevelOutcome(
        num_episodes=zero,
        num_solved=zero,
        num_steps=zero,
        expected_sum=zero,
        positive_advantage=zero,
        best_return=jnp.full(count, -jnp.inf),
    )


def add_evidence(evidence: LevelOutcome, outcome: LevelOutcome) -> LevelOutcome:
    """Adds a rollout's outcome, [P + 1], to what was known of each level, [P]."""
    outcome = jax.tree.map(lambda leaf: leaf[:-1], outcome)
    best = jnp.maximum(evidence.best_return, outcome.best_return)
    return dataclasses.replace(jax.tree.map(jnp.add, evidence, outcome), best_return=best)


def update_scores(book: Book, outcome: LevelOutcome, options: CurriculumOptions) -> Book:
    """Scores every level that has been played often enough, and starts to collect evidence anew there."""
    evidence = add_evidence(book.evidence, outcome)
    ready = evidence.num_episodes >= options.episodes_per_score
    cleared = dataclasses.replace(no_evidence(ready.shape[0]), best_return=evidence.best_return)
    return dataclasses.replace(
        book,
        evidence=jax.tree.map(lambda old, new: jnp.where(ready, new, old), evidence, cleared),
        score=jnp.where(ready, SCORES[options.score](evidence), book.score),
        age=jnp.where(outcome.num_steps[:-1] > 0, 0, book.age + 1),
    )


def is_duplicate(members: jax.Array, occupied: jax.Array, candidates: jax.Array) -> jax.Array:
    """Whether a candidate equals a member, or a candidate before it: bool [Q].

    Args:
        members: fingerprints, uint32 [M].
        occupied: whether there is a member, bool [M].
        candidates: fingerprints, uint32 [Q].
    """
    known = ((candidates[:, None] == members) & occupied).any(1)
    earlier = jnp.tril(candidates[:, None] == candidates, k=-1).any(1)
    return known | earlier


def promotions(book: Book, num_members: int) -> tuple[jax.Array, jax.Array]:
    """Which candidates take whose places: the best candidates those of the worst members, if they are better.

    Returns:
        `source` and `target`, int32 [K] slots of the pool; `target` is P where nothing happens.
    """
    num_levels = book.score.shape[0]
    members, candidates = book.score[:num_members], book.score[num_members:]
    duplicate = is_duplicate(
        book.fingerprint[:num_members], members > -jnp.inf, book.fingerprint[num_members:]
    )
    worth = jnp.where(duplicate, -jnp.inf, candidates)
    count = min(num_members, num_levels - num_members)
    best = jnp.argsort(-worth)[:count]
    worst = jnp.argsort(members)[:count]
    better = worth[best] > members[worst]
    return num_members + best, jnp.where(better, worst, num_levels)


def rank_weights(score: jax.Array, temperature: float) -> jax.Array:
    r"""Shares of replay by rank, proportional to :math:`(1 / \text{rank})^{1 / \beta}`: float32 [M].

    They are 0 where there is no score. Levels of equal score share what their ranks get, as if chance broke
    the tie. Logarithms are compared, so that no temperature overflows; shares may underflow to 0.

    Args:
        score: float32 [M]; -inf where there is none.
        temperature: beta, above 0.
    """
    count = score.shape[0]
    scored = score > -jnp.inf
    rank = jnp.arange(1.0, count + 1.0)
    # The first rank has logarithm 0, and 0 times an infinite exponent would be NaN.
    logit = jnp.where(rank > 1.0, -jnp.log(rank) / jnp.float32(temperature), 0.0)
    order = jnp.argsort(-score)
    by_rank = jnp.where(scored[order], jnp.exp(logit), 0.0)  # the first one is 1, the highest
    by_rank /= jnp.maximum(by_rank.sum(), 1.0)
    # Each level's place among the different scores: how many scores are above it.
    above = jnp.searchsorted(-score[order], -score, side="left")
    total = jnp.zeros(count).at[above[order]].add(by_rank)
    ties = jnp.zeros(count).at[above].add(1.0)
    return jnp.where(scored, (total / jnp.maximum(ties, 1.0))[above], 0.0)


def replay_weights(score: jax.Array, age: jax.Array, options: CurriculumOptions) -> jax.Array:
    """Probability of each member to be replayed, float32 [M]; zero where there is no score."""
    by_age = jnp.where(score > -jnp.inf, age.astype(jnp.float32), 0.0)
    total_age = by_age.sum()
    staleness = jnp.where(total_age > 0, options.staleness, 0.0)
    by_score = rank_weights(score, options.temperature)
    return (1.0 - staleness) * by_score + staleness * by_age / jnp.maximum(total_age, 1.0)


def sample(key: jax.Array, weights: jax.Array, count: int) -> jax.Array:
    """Draws `count` indices in proportion to weights by systematic sampling: int32 [count].

    Each index comes up as often as its share says, to within one; an index without weight never does, unless
    no index has any.
    """
    points = (jnp.arange(count) + jax.random.uniform(key)) / count
    cumulative = jnp.cumsum(weights)
    # Rounding may bring the last point up to the whole, behind which there is nothing.
    points = jnp.minimum(points * cumulative[-1], jnp.nextafter(cumulative[-1], 0.0))
    index = jnp.searchsorted(cumulative, points, side="right")
    return jnp.minimum(index, weights.shape[0] - 1).astype(jnp.int32)
