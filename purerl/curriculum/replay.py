r"""Prioritized level replay, its robust variant, and ACCEL.

A pool of P levels has two parts. *Members* have a score and are replayed with probability

.. math::
    (1 - \rho) \frac{(1 / \text{rank}_i)^{1 / \beta}}{\sum_j (1 / \text{rank}_j)^{1 / \beta}}
    + \rho \frac{\text{age}_i}{\sum_j \text{age}_j}

where members of equal score share what their ranks get.

*Candidates* are fresh levels, or mutations of members, that are played until they have a score; then the best
of them take the places of the worst members. Jiang et al. 2020 (arXiv:2010.03934), Jiang et al. 2021 (robust,
arXiv:2110.02439), Parker-Holder et al. 2022 (ACCEL, arXiv:2203.01302).
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

from purerl.curriculum.book import Book, no_evidence, promotions, replay_weights, sample, update_scores
from purerl.curriculum.options import CurriculumOptions, check_pool, num_candidates
from purerl.curriculum.outcome import LevelOutcome, level_outcome
from purerl.curriculum.pools import describe_draws, mean_of, quantile_metrics
from purerl.curriculum.scores import VALUE_SCORES
from purerl.types import Curriculum, LevelPool, Levels, Metrics, Need, PyTree


@struct.dataclass
class ReplayState:
    """The pool, and the book about its levels; members come first, candidates last."""

    pool: LevelPool
    book: Book


def write_rows(state: ReplayState, slot: jax.Array, rows: tuple[PyTree, PyTree, Book]) -> ReplayState:
    """Puts levels (observations, states, book; leaves [K, ...]) into slots, int32 [K]; slot P drops them."""
    held = (state.pool.observation, state.pool.env_state, state.book)
    put = jax.tree.map(lambda leaf, new: leaf.at[slot].set(new, mode="drop"), held, rows)
    return ReplayState(
        pool=dataclasses.replace(state.pool, observation=put[0], env_state=put[1]), book=put[2]
    )


def fill_draw(
    key: jax.Array, score: jax.Array, weights: jax.Array, num_levels: int, options: CurriculumOptions
) -> jax.Array:
    """Slots for resets to draw from, int32 [P]: members by their weights, and candidates in turn.

    Until half of the members have a score, candidates alone. Their turn begins at a random one each time, so
    that none waits for ever where there are fewer places than candidates.

    Args:
        key: used up here.
        score: of the members, float32 [M]; -inf where there is none.
        weights: of the members, float32 [M].
        num_levels: P.
        options: the share of the draws that replay.
    """
    replay_key, turn_key = jax.random.split(key)
    num_members = weights.shape[0]
    num_candidates = num_levels - num_members
    first = jax.random.randint(turn_key, (), 0, num_candidates)
    in_turn = num_members + (first + jnp.arange(num_levels, dtype=jnp.int32)) % num_candidates
    num_replays = round(options.replay_share * num_levels)
    mixed = in_turn.at[:num_replays].set(sample(replay_key, weights, num_replays))
    # By scores, not by weights: at low temperatures most weights underflow to zero.
    return jnp.where(jnp.mean(score > -jnp.inf) >= 0.5, mixed, in_turn)


def make_replay(levels: Levels, options: CurriculumOptions) -> Curriculum:
    """Prioritized level replay; with mutations where `options.name` is "accel"."""

    def fresh(key: jax.Array, params: PyTree, count: int) -> PyTree:
        hardness_key, level_key = jax.random.split(key)
        hardness = jax.random.uniform(hardness_key, (count,), minval=options.fresh_hardness, maxval=1.0)
        return levels.generate(level_key, params, hardness)

    def mutants(
        key: jax.Array, state: ReplayState, weights: jax.Array, params: PyTree, other: PyTree
    ) -> PyTree:
        """Mutations of replayed levels in place of a share of `other` levels, leaves [Q, ...]."""
        count = jax.tree.leaves(other)[0].shape[0]
        parent_key, mutate_key, choice_key = jax.random.split(key, 3)
        parents = sample(parent_key, weights, count)
        parents = jax.tree.map(lambda leaf: leaf[parents], state.pool.env_state)
        changed = levels.mutate(mutate_key, parents, params)  # type: ignore[misc]
        chosen = jax.random.bernoulli(choice_key, options.mutation_share, (count,)) & (weights.sum() > 0)

        def choose(new, old):
            return jnp.where(chosen.reshape(-1, *(1,) * (old.ndim - 1)), new, old)

        return jax.tree.map(choose, changed, other)

    def describe_rows(env_state: PyTree, params: PyTree) -> tuple[PyTree, PyTree, Book]:
        count = jax.tree.leaves(env_state)[0].shape[0]
        book = Book(
            evidence=no_evidence(count),
            score=jnp.full(count, -jnp.inf),
            age=jnp.zeros(count, jnp.int32),
            fingerprint=jax.vmap(levels.fingerprint)(env_state),
        )
        return jax.vmap(levels.observe, (0, None))(env_state, params), env_state, book

    def init(key: jax.Array, params: PyTree, num_levels: int) -> ReplayState:
        check_pool(options, num_levels)
        level_key, draw_key = jax.random.split(key)
        num_members = num_levels - num_candidates(options, num_levels)
        observation, env_state, book = describe_rows(fresh(level_key, params, num_levels), params)
        pool = LevelPool(
            observation=observation,
            env_state=env_state,
            draw=fill_draw(draw_key, book.score[:num_members], jnp.zeros(num_members), num_levels, options),
            learnable=(jnp.arange(num_levels) < num_members) | (not options.robust),
        )
        return ReplayState(pool=pool, book=book)

    def refresh(
        key: jax.Array, state: ReplayState, params: PyTree, outcome: LevelOutcome, progress: jax.Array
    ) -> tuple[ReplayState, jax.Array, Metrics]:
        fresh_key, mutant_key, draw_key = jax.random.split(key, 3)
        num_levels = state.book.score.shape[0]
        count = num_candidates(options, num_levels)
        num_members = num_levels - count
        # The best candidates become members.
        state = dataclasses.replace(state, book=update_scores(state.book, outcome, options))
        source, target = promotions(state.book, num_members)
        scored = state.book.score[num_members:] > -jnp.inf
        held = (state.pool.observation, state.pool.env_state, state.book)
        state = write_rows(state, target, jax.tree.map(lambda leaf: leaf[source], held))
        # New candidates follow all that have a score now.
        score, age = state.book.score[:num_members], state.book.age[:num_members]
        weights = replay_weights(score, age, options)
        candidates = fresh(fresh_key, params, count)
        if options.name == "accel":
            candidates = mutants(mutant_key, state, weights, params, candidates)
        free = jnp.where(scored, num_members + jnp.arange(count), num_levels)
        state = write_rows(state, free, describe_rows(candidates, params))
        # Resets draw anew.
        draw = fill_draw(draw_key, score, weights, num_levels, options)
        state = dataclasses.replace(state, pool=dataclasses.replace(state.pool, draw=draw))
        renewed = (
            jnp.zeros(num_levels, bool).at[target].set(True, mode="drop").at[free].set(True, mode="drop")
        )
        return state, renewed, describe_draws(levels, state.pool, params) | replay_metrics(state, num_members)

    needs: set[Need] = {"values"} if options.score in VALUE_SCORES else set()
    if options.robust:
        needs.add("learnable")
    return Curriculum(init=init, refresh=refresh, needs=frozenset(needs), tell=level_outcome)


def replay_metrics(state: ReplayState, num_members: int) -> Metrics:
    """Scores of the members that have one, how many do, and the share of draws that replay."""
    score = state.book.score[:num_members]
    scored = score > -jnp.inf
    return quantile_metrics("score", score, scored) | {
        "level_members_share": mean_of(scored.mean()),
        "level_replay_share": mean_of((state.pool.draw < num_members).mean()),
    }
