"""What level replay makes of play in mazes under a critic that is right: regret, whatever the rewards are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from plain_maze_world import play
from test_maze_rewards import LEFT, RIGHT, UP, corridor

from envs.maze import Maze, MazeParams
from purerl.curriculum.book import no_evidence, update_scores
from purerl.curriculum.options import CurriculumOptions
from purerl.curriculum.outcome import level_outcome
from purerl.curriculum.replay import Book
from purerl.types import Judgment, LevelTrace

GAMMA = 0.9
OPTIMAL = [RIGHT] * 4
DETOUR = [RIGHT, LEFT, UP, RIGHT, RIGHT, RIGHT, RIGHT]
PACING = [RIGHT, LEFT] * 3


def episode(actions, rest=0.0, **params):
    """One episode in the corridor as a trace and as a right critic sees it; `rest` is its value at a cut."""
    env = Maze(size=7, track_distances=True, track_visits=True)
    params = MazeParams(shaping_gamma=GAMMA, max_steps_in_episode=len(actions), **params)
    outcome = play(env, params, corridor(), jnp.array(actions)[:, None])
    reward, terminated, truncated, info = (jax.tree.map(np.asarray, outcome[at]) for at in (2, 3, 4, 5))
    truncated = truncated & ~terminated
    following = np.full(1, rest, np.float32)
    value = np.zeros((len(actions) + 1, 1), np.float32)
    value[-1] = following
    for t in reversed(range(len(actions))):
        value[t] = reward[t] + GAMMA * value[t + 1]
    trace = LevelTrace(
        slot=np.zeros_like(reward, int),
        learnable=np.ones_like(truncated),
        whole=np.ones_like(truncated),
        ended=terminated | truncated,
        truncated=truncated,
        solved=info["solved"],
        reward=reward,
    )
    advantage = np.zeros_like(reward)
    return trace, Judgment(value=value[:-1], next_value=value[1:], advantage=advantage)


def scores_of(*episodes):
    """The max Monte Carlo score of one level after each of some episodes."""
    book = Book(
        evidence=no_evidence(1),
        score=jnp.full(1, -jnp.inf),
        age=jnp.zeros(1, jnp.int32),
        fingerprint=jnp.zeros(1, jnp.uint32),
    )
    scores = []
    for trace, judgment in episodes:
        start = jnp.zeros(1), jnp.zeros(1, jnp.int32)
        outcome, _ = level_outcome(jax.tree.map(jnp.asarray, trace), 1, judgment, *start, GAMMA)
        book = update_scores(book, outcome, CurriculumOptions(score="max_monte_carlo"))
        scores.append(float(book.score[0]))
    return scores


@pytest.mark.parametrize("novelty", [0.0, 0.5])
@pytest.mark.parametrize("shaping", [0.0, 1.0, 20.0])
def test_optimal_play_has_no_regret_at_any_shaping_and_with_novelty(shaping, novelty):
    one = episode(OPTIMAL, shaping=shaping, novelty=novelty)
    np.testing.assert_allclose(scores_of(one, one), 0.0, atol=1e-5)
    # And none of it comes from the value at the goal: a sparse reward scores as little.
    sparse = episode(OPTIMAL, shaping=shaping, novelty=novelty, step_reward=0.0, goal_reward=0.0, sparse=1.0)
    np.testing.assert_allclose(scores_of(sparse), 0.0, atol=1e-5)


@pytest.mark.parametrize("shaping", [0.0, 1.0, 20.0])
def test_a_detour_is_regretted_by_what_it_costs_at_any_shaping(shaping):
    # Four steps bring -0.1 (1 + 0.9 + 0.81) + 0.4 * 0.729 = 0.0206, seven
    # -0.1 (1 - 0.9 ** 6) / 0.1 + 0.4 * 0.9 ** 6 = -0.2559826. The first is known when the second is played.
    first, second = scores_of(episode(OPTIMAL, shaping=shaping), episode(DETOUR, shaping=shaping))
    np.testing.assert_allclose([first, second], [0.0, 0.0206 + 0.2559826], atol=1e-5)


@pytest.mark.parametrize("shaping", [0.0, 3.0])
def test_a_cut_is_no_gain_on_a_level_where_nothing_is_better_than_to_go_on(shaping):
    # To walk for ever costs 0.1 / (1 - 0.9) = 1; cut after six steps it would seem to cost 0.47. Shaping
    # leaves the value at the start less its potential, -4 / 7.
    rest = -1.0 + shaping * 4 / 7
    np.testing.assert_allclose(scores_of(episode(PACING, rest=rest, shaping=shaping)), 0.0, atol=1e-5)
    np.testing.assert_allclose(episode(PACING, rest=rest, shaping=shaping)[1].value[0], rest, atol=1e-5)
