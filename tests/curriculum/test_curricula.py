"""Each curriculum on levels that are numbers: what resets draw, and what moves it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from purerl.curriculum import CurriculumOptions, make_curriculum
from purerl.curriculum.book import no_evidence
from purerl.types import Levels


@struct.dataclass
class Number:
    """A level: how hard it is, and a name of its own."""

    hardness: jax.Array
    name: jax.Array


def generate(key, params, hardness):
    return Number(hardness=hardness, name=jax.random.bits(key, hardness.shape) >> 1)


def mutate(key, states, params):
    return dataclasses.replace(states, hardness=states.hardness + 10.0, name=states.name + jnp.uint32(2**31))


LEVELS = Levels(
    generate=generate,
    observe=lambda state, params: state.hardness[None],
    describe=lambda state, params: {"hardness_drawn": state.hardness},
    fingerprint=lambda state: state.name,
    mutate=mutate,
)
COUNT = 16


def played(num_levels, episodes=0.0, solved=0.0, advantage=0.0):
    """An outcome: every level of the pool played alike, or as arrays [P] say."""
    everywhere = lambda value: jnp.append(jnp.broadcast_to(jnp.float32(value), (num_levels,)), 0.0)  # noqa: E731
    return dataclasses.replace(
        no_evidence(num_levels + 1),
        num_episodes=everywhere(episodes),
        num_solved=everywhere(solved),
        num_steps=everywhere(episodes),
        positive_advantage=everywhere(advantage),
        best_return=everywhere(0.0),
    )


def start(**options):
    options = CurriculumOptions(**options)
    curriculum = make_curriculum(LEVELS, options, COUNT)
    return jax.jit(curriculum.refresh), curriculum.init(jax.random.key(0), None, COUNT)


def drawn(state):
    """Levels that resets draw."""
    return jax.tree.map(lambda leaf: np.asarray(leaf[state.pool.draw]), state.pool.env_state)


def test_a_fixed_curriculum_keeps_its_levels():
    refresh, state = start(name="fixed")
    after, renewed, _ = refresh(jax.random.key(1), state, None, played(COUNT, 1), 0.5)
    np.testing.assert_array_equal(drawn(after).name, drawn(state).name)
    assert not renewed.any()
    assert (drawn(after).hardness == 1.0).all()


def test_random_levels_are_new_and_of_full_hardness_each_time():
    refresh, state = start(name="random")
    after, renewed, _ = refresh(jax.random.key(1), state, None, played(COUNT, 1), 0.5)
    assert not set(drawn(after).name) & set(drawn(state).name)
    assert renewed.all()
    assert (drawn(after).hardness == 1.0).all()


@pytest.mark.parametrize(("progress", "hardness"), [(0.0, 0.2), (0.125, 0.6), (0.5, 1.0), (0.9, 1.0)])
def test_a_schedule_rises_with_the_square_root_of_progress(progress, hardness):
    # From 0.2 to 1 within half of the training: 0.2 + 0.8 * sqrt(progress / 0.5).
    refresh, state = start(name="schedule", ramp=0.5, initial_hardness=0.2)
    assert (drawn(state).hardness == np.float32(0.2)).all()
    after, _, metrics = refresh(jax.random.key(1), state, None, played(COUNT), progress)
    np.testing.assert_allclose(drawn(after).hardness, hardness, rtol=1e-6)
    np.testing.assert_allclose(metrics["level_hardness"].total, hardness, rtol=1e-6)


@pytest.mark.parametrize(("solved", "hardness"), [(1.0, 0.6), (0.65, 0.5), (0.2, 0.4)])
def test_an_adaptive_curriculum_follows_the_solve_rate(solved, hardness):
    refresh, state = start(
        name="adaptive",
        initial_hardness=0.5,
        hardness_step=0.1,
        solve_rate_low=0.5,
        solve_rate_high=0.8,
        window=20,
    )
    after, _, _ = refresh(jax.random.key(1), state, None, played(COUNT, 1, solved), 0.0)
    np.testing.assert_allclose(after.hardness, 0.5)  # 16 episodes: the window is not full
    after, _, _ = refresh(jax.random.key(2), after, None, played(COUNT, 1, solved), 0.0)
    np.testing.assert_allclose(drawn(after).hardness, hardness, rtol=1e-6)
    assert after.num_episodes == 0


def test_episodes_on_levels_that_are_gone_count_for_the_solve_rate():
    refresh, state = start(name="adaptive", initial_hardness=0.5, hardness_step=0.1, window=5)
    gone = played(COUNT)
    gone = dataclasses.replace(
        gone, num_episodes=gone.num_episodes.at[-1].set(5), num_solved=gone.num_solved.at[-1].set(5)
    )
    after, _, _ = refresh(jax.random.key(1), state, None, gone, 0.0)
    np.testing.assert_allclose(after.hardness, 0.6, rtol=1e-6)


def replay(rounds, advantage=None, **options):
    """Refreshes a replay curriculum; the advantage on a level is what `advantage` makes of its name."""
    refresh, state = start(**options)
    history = [state]
    for index in range(rounds):
        named = state.pool.env_state.name.astype(jnp.float32)
        outcome = played(COUNT, 1, 0, named if advantage is None else advantage(state))
        state, renewed, _ = refresh(jax.random.key(index), state, None, outcome, 0.0)
        history.append(state)
    return history, renewed


def test_replay_keeps_the_best_levels_that_were_ever_scored():
    # A level's score is its name; the pool has 12 members and 4 candidates a round.
    history, _ = replay(8, name="plr", candidate_share=0.25)
    seen = np.concatenate([np.asarray(state.pool.env_state.name[12:]) for state in history[:-1]])
    # Members that are empty at the start are played here too, and keep the score they get.
    seen = np.unique(np.concatenate([seen, np.asarray(history[0].pool.env_state.name[:12])]))
    best = np.sort(seen.astype(np.float32))[-12:]
    np.testing.assert_array_equal(np.sort(history[-1].pool.env_state.name[:12].astype(np.float32)), best)


def test_candidates_are_replaced_once_they_have_a_score():
    history, renewed = replay(2, name="plr")
    assert renewed[12:].all()
    before, after = (set(np.asarray(state.pool.env_state.name[12:])) for state in history[-2:])
    assert not before & after


def test_candidates_wait_until_they_were_played_often_enough():
    history, renewed = replay(1, name="plr", episodes_per_score=2)
    np.testing.assert_array_equal(history[1].pool.env_state.name, history[0].pool.env_state.name)
    assert not renewed.any()


def test_resets_draw_replayed_levels_and_candidates_in_their_shares():
    history, _ = replay(3, name="plr", replay_share=0.5)
    assert (history[0].pool.draw >= 12).all()  # nothing has a score yet
    assert (history[-1].pool.draw < 12).sum() == 8
    assert set(np.asarray(history[-1].pool.draw)) >= {12, 13, 14, 15}


@pytest.mark.parametrize("temperature", [1.0, 0.01, 1e-3])
def test_replay_goes_on_at_low_temperatures(temperature):
    history, _ = replay(3, name="plr", temperature=temperature)
    draw, names = np.asarray(history[-1].pool.draw), np.asarray(history[-1].pool.env_state.name)
    assert (draw < 12).sum() == 8
    if temperature < 1:  # and all of it goes to the level of the highest score, which is its name
        assert set(draw[draw < 12]) == {names[:12].argmax()}


def test_no_candidate_waits_for_ever_where_replay_leaves_few_places():
    # 16 places, 14 of them for replay: two of four candidates are drawn at a time.
    advantage = lambda state: jnp.zeros(COUNT)  # noqa: E731
    history, _ = replay(20, advantage, name="plr", replay_share=0.875, episodes_per_score=2)
    assert all(len(set(np.asarray(state.pool.draw[14:]))) == 2 for state in history)
    assert {int(slot) for state in history for slot in state.pool.draw[14:]} == {12, 13, 14, 15}


@pytest.mark.parametrize(
    ("name", "count"), [("random", 1), ("schedule", 1), ("adaptive", 1), ("plr", 2), ("plr", 3), ("accel", 2)]
)
def test_the_smallest_pools_work(name, count):
    options = CurriculumOptions(name=name, candidate_share=0.5, window=1)
    curriculum = make_curriculum(LEVELS, options, count)
    state, refresh = curriculum.init(jax.random.key(0), None, count), jax.jit(curriculum.refresh)
    seen, slots = set(), set()
    for index in range(8):
        seen |= set(np.asarray(state.pool.env_state.name).tolist())
        slots |= set(np.asarray(state.pool.draw).tolist())
        outcome = played(count, 1, 1, state.pool.env_state.name.astype(jnp.float32))
        state, renewed, metrics = refresh(jax.random.key(index + 1), state, None, outcome, 0.5)
        assert renewed.any()
        assert all(np.isfinite(metric.total) for metric in metrics.values())
    assert len(seen) > count + 1  # levels go on to come in
    assert slots == set(range(count))  # and all places are drawn, members and candidates


def test_the_scores_that_are_told_are_those_of_members_that_have_one():
    # Four candidates come in a round: their names, and nothing of the eight members without a score.
    refresh, state = start(name="plr")
    names = state.pool.env_state.name.astype(jnp.float32)
    outcome = played(COUNT, jnp.where(jnp.arange(COUNT) < 12, 0.0, 1.0), 0, names)
    _, _, metrics = refresh(jax.random.key(0), state, None, outcome, 0.0)
    low, middle, high = np.sort(names[12:])[[0, 2, 3]]  # places 0.3, 1.5 and 2.7 of 0 to 3
    for label, value in {"q10": low, "q50": middle, "q90": high}.items():
        assert metrics[f"level_score_{label}"].total == value
    _, _, metrics = refresh(jax.random.key(0), state, None, played(COUNT), 0.0)
    assert metrics["level_score_q50"].weight == metrics["level_score_q50"].total == 0


def test_the_robust_variant_learns_from_replayed_levels_only():
    robust, _ = replay(1, name="plr", robust=True)
    np.testing.assert_array_equal(robust[-1].pool.learnable, np.arange(COUNT) < 12)
    plain, _ = replay(1, name="plr")
    assert plain[-1].pool.learnable.all()


def test_accel_mutates_levels_that_are_replayed():
    # Levels are scored by hardness, so the members of most hardness are replayed; mutations add ten.
    by_hardness = lambda state: state.pool.env_state.hardness  # noqa: E731
    history, _ = replay(6, by_hardness, name="accel", mutation_share=1.0)
    assert history[-1].pool.env_state.hardness.max() > 20.0
    none, _ = replay(6, by_hardness, name="accel", mutation_share=0.0)
    assert none[-1].pool.env_state.hardness.max() <= 1.0


def test_changing_the_curriculum_changes_what_resets_draw():
    hardness = {}
    for name in ("random", "schedule", "plr"):
        refresh, state = start(name=name)
        state, _, _ = refresh(jax.random.key(1), state, None, played(COUNT, 1), 0.1)
        hardness[name] = drawn(state).hardness
    assert (hardness["random"] == 1.0).all()
    assert (hardness["schedule"] < 0.5).all()
    assert len(set(hardness["plr"])) > 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "plr", "score": "learnability"}, "episodes_per_score to 4"),
        ({"name": "plr", "candidate_share": 0.0}, "leaves 0 of 16 levels to candidates"),
        ({"name": "plr", "candidate_share": 1.0}, "leaves 16 of 16 levels to candidates"),
        ({"temperature": 0.0}, "temperature = 0.0 must be above 0"),
        ({"initial_hardness": 1.5}, "initial_hardness = 1.5 must lie between 0 and 1"),
        ({"solve_rate_low": 0.9, "solve_rate_high": 0.6}, "solve_rate_low = 0.9 is above"),
        ({"window": 0}, "window = 0 must be at least 1"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(options, message):
    with pytest.raises(ValueError, match=message) as caught:
        make_curriculum(LEVELS, CurriculumOptions(**options), COUNT)
    assert "\n" not in str(caught.value)


def test_accel_needs_levels_that_can_be_mutated():
    with pytest.raises(ValueError, match="use 'plr' here"):
        make_curriculum(LEVELS._replace(mutate=None), CurriculumOptions(name="accel"))


def test_a_pool_without_a_place_for_candidates_is_refused_when_it_is_made():
    # a quarter of one level is none
    curriculum = make_curriculum(LEVELS, CurriculumOptions(name="plr"))
    with pytest.raises(ValueError, match="leaves 0 of 1 levels to candidates"):
        curriculum.init(jax.random.key(0), None, 1)
