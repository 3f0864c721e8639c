"""Level replay's bookkeeping against plain Python."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from purerl.curriculum.book import (
    Book,
    is_duplicate,
    no_evidence,
    promotions,
    rank_weights,
    replay_weights,
    sample,
    update_scores,
)
from purerl.curriculum.options import CurriculumOptions
from purerl.curriculum.outcome import LevelOutcome
from purerl.curriculum.scores import learnability

NUM_LEVELS = 4


def random_outcome(random):
    """A rollout's outcome for four levels and the rest, with levels that were not played."""
    steps = random.integers(0, 4, NUM_LEVELS + 1).astype(np.float32)
    episodes = np.minimum(steps, random.integers(0, 3, NUM_LEVELS + 1)).astype(np.float32)
    return LevelOutcome(
        num_episodes=episodes,
        num_solved=np.minimum(episodes, random.integers(0, 2, NUM_LEVELS + 1)).astype(np.float32),
        num_steps=steps,
        expected_sum=(steps * random.normal(size=NUM_LEVELS + 1)).astype(np.float32),
        positive_advantage=(steps * random.random(NUM_LEVELS + 1)).astype(np.float32),
        best_return=np.where(episodes > 0, random.normal(size=NUM_LEVELS + 1), -np.inf).astype(np.float32),
    )


def empty_book(count=NUM_LEVELS):
    return Book(
        evidence=no_evidence(count),
        score=jnp.full(count, -jnp.inf),
        age=jnp.zeros(count, jnp.int32),
        fingerprint=jnp.arange(count, dtype=jnp.uint32),
    )


class PlainLevel:
    """One level's record, in plain Python."""

    def __init__(self):
        self.best, self.score, self.age = -np.inf, -np.inf, 0
        self.forget()

    def forget(self):
        self.episodes = self.solved = self.steps = self.values = self.advantages = 0.0

    def see(self, episodes, solved, steps, values, advantages, best, least, score):
        self.episodes, self.solved, self.steps = (
            self.episodes + episodes,
            self.solved + solved,
            self.steps + steps,
        )
        self.values, self.advantages = self.values + values, self.advantages + advantages
        self.best = max(self.best, best)
        self.age = 0 if steps else self.age + 1
        if self.episodes >= least:
            solved, count = self.solved, self.episodes
            self.score = {
                "max_monte_carlo": self.best - self.values / self.steps,
                "positive_value_loss": self.advantages / self.steps,
                "learnability": solved * (count - solved) / (count * (count - 1)),
            }[score]
            self.forget()


@pytest.mark.parametrize("score", ["max_monte_carlo", "positive_value_loss", "learnability"])
@pytest.mark.parametrize("seed", range(3))
def test_scores_and_ages_are_those_of_a_plain_record(score, seed):
    random, options = np.random.default_rng(seed), CurriculumOptions(score=score, episodes_per_score=2)
    book, plain = empty_book(), [PlainLevel() for _ in range(NUM_LEVELS)]
    for _ in range(12):
        outcome = random_outcome(random)
        book = update_scores(book, jax.tree.map(jnp.asarray, outcome), options)
        for level, record in enumerate(plain):
            fields = [getattr(outcome, field.name)[level] for field in dataclasses.fields(outcome)]
            record.see(*map(float, fields), least=2, score=score)
        np.testing.assert_allclose(book.score, [record.score for record in plain], atol=1e-5)
        np.testing.assert_array_equal(book.age, [record.age for record in plain])


@pytest.mark.parametrize("count", [2, 3, 8])
def test_learnability_is_the_variance_of_success_on_average_however_many_episodes_tell(count):
    # A level that is solved three times in four: 3/4 * 1/4 = 0.1875. The chance of k of n is binomial.
    solved = np.arange(count + 1.0)
    chance = np.array([math.comb(count, k) * 0.75**k * 0.25 ** (count - k) for k in range(count + 1)])
    evidence = dataclasses.replace(
        no_evidence(count + 1), num_episodes=jnp.full(count + 1, float(count)), num_solved=jnp.array(solved)
    )
    np.testing.assert_allclose((chance * np.asarray(learnability(evidence))).sum(), 0.1875, rtol=1e-5)


@given(
    members=st.lists(st.integers(-3, 9), min_size=1, max_size=6),
    candidates=st.lists(st.integers(-3, 9), min_size=1, max_size=6),
)
@settings(max_examples=60, deadline=None)
def test_the_best_of_members_and_candidates_stay(members, candidates):
    # -3 stands for a level without a score.
    to_score = lambda values: np.where(np.array(values) == -3, -np.inf, values)  # noqa: E731
    score = np.concatenate([to_score(members), to_score(candidates)]).astype(np.float32)
    book = dataclasses.replace(empty_book(len(score)), score=jnp.array(score))
    source, target = promotions(book, len(members))
    after = list(score[: len(members)])
    for one, other in zip(np.asarray(source), np.asarray(target), strict=True):
        if other < len(score):
            after[other] = score[one]
    # Every candidate that is better than the worst member took its place, best first.
    expected = sorted(score[: len(members)])
    for candidate in sorted(score[len(members) :], reverse=True)[: len(members)]:
        if candidate > expected[0]:
            expected = sorted([*expected[1:], candidate])
    np.testing.assert_array_equal(sorted(after), expected)


def test_a_candidate_that_is_known_does_not_come_in():
    # 7 is a member; the second 5 equals a candidate before it; 9 equals a slot that holds no member.
    duplicate = is_duplicate(
        jnp.array([7, 8, 9], jnp.uint32),
        jnp.array([True, True, False]),
        jnp.array([5, 7, 5, 9, 6], jnp.uint32),
    )
    np.testing.assert_array_equal(duplicate, [False, True, True, False, False])


def test_replay_is_by_rank_and_by_age():
    # Ranks 2, 1, 3 of scores 1, 4, 0 at temperature 1: weights 1/2, 1, 1/3 over 11/6; ages 0, 1, 3 over 4;
    # mixed 0.8 to 0.2; the fourth level has no score.
    options = CurriculumOptions(temperature=1.0, staleness=0.2)
    weights = replay_weights(jnp.array([1.0, 4.0, 0.0, -jnp.inf]), jnp.array([0, 1, 3, 9]), options)
    by_score, by_age = np.array([1 / 2, 1, 1 / 3, 0]) / (11 / 6), np.array([0, 1, 3, 0]) / 4
    np.testing.assert_allclose(weights, 0.8 * by_score + 0.2 * by_age, rtol=1e-5)


def test_without_any_age_replay_is_by_rank_alone():
    options = CurriculumOptions(temperature=0.5, staleness=0.2)
    weights = replay_weights(jnp.array([2.0, 1.0]), jnp.zeros(2, jnp.int32), options)
    # (1 / rank) ** 2: 1 and 1/4.
    np.testing.assert_allclose(weights, [0.8, 0.2], rtol=1e-5)


def test_levels_of_equal_score_are_replayed_alike():
    # Ranks 1, 2, 3 and 4 get 12, 6, 4 and 3 of 25 parts. The two best tie, so each gets half of 12 + 6.
    weights = rank_weights(jnp.array([1.0, 4.0, -jnp.inf, 4.0, 0.0]), temperature=1.0)
    np.testing.assert_allclose(weights, np.array([4, 9, 0, 9, 3]) / 25, rtol=1e-6)
    # Where nothing tells levels apart, none comes first because of its slot.
    np.testing.assert_allclose(rank_weights(jnp.zeros(5), temperature=0.3), 0.2, rtol=1e-6)


@pytest.mark.parametrize("temperature", [0.01, 1e-3, 1e-40])
def test_low_temperatures_replay_the_best_level_and_keep_their_share_for_age(temperature):
    # The second of ranks gets 2 ** -100 of what the first gets, or nothing that a float32 could hold.
    score = jnp.array([3.0, 5.0, 1.0, -jnp.inf])
    np.testing.assert_allclose(rank_weights(score, temperature), [0, 1, 0, 0], atol=1e-20)
    options = CurriculumOptions(temperature=temperature, staleness=0.2)
    weights = replay_weights(score, jnp.array([1, 0, 3, 9]), options)
    np.testing.assert_allclose(weights, [0.2 / 4, 0.8, 0.2 * 3 / 4, 0], rtol=1e-6)


def test_the_last_point_of_a_draw_does_not_fall_behind_the_last_level_with_weight(monkeypatch):
    # (511 + 0.9999999) / 512 rounds to 1, which would be the last index, whatever its weight.
    monkeypatch.setattr(jax.random, "uniform", lambda key: jnp.float32(0.9999999))
    drawn = sample(jax.random.key(0), jnp.array([0.5, 0.5, 0.0]), 512)
    assert drawn[-1] == 1
    np.testing.assert_array_equal(np.bincount(drawn), [255, 257])


@given(seed=st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_draws_are_as_frequent_as_their_weights_say_to_within_one(seed):
    weights = np.random.default_rng(seed).random(5) * np.array([1, 1, 0, 1, 1])
    drawn = np.bincount(sample(jax.random.key(seed), jnp.array(weights), 40), minlength=5)
    assert np.abs(drawn - 40 * weights / weights.sum()).max() <= 1.001
    assert drawn[2] == 0
