"""What mazes offer to a curriculum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from plain_mazes import search

from envs.maze import Maze, maze_levels
from envs.maze.held_out import is_held_out
from envs.maze.render import wall_grid
from purerl.rollout.levels import plain_pool
from purerl.rollout.unroll import draw_chance, init_actor, step_environments

ENV = Maze(trace=True, track_distances=True, track_visits=True)
LEVELS = maze_levels(ENV)
NUM = 512


@jax.jit
def generated(key, params, hardness):
    states = LEVELS.generate(key, params, hardness)
    described = jax.vmap(LEVELS.describe, (0, None))(states, params)
    return states, described, jax.vmap(LEVELS.fingerprint)(states)


@jax.jit
def mutated(key, states, params):
    states = LEVELS.mutate(key, states, params)
    return states, jax.vmap(LEVELS.fingerprint)(states)


@pytest.fixture(scope="module")
def params():
    return ENV.default_params


def test_hardness_leads_from_half_difficulty_and_quarter_distance_to_what_the_parameters_say(params):
    hardness = jnp.repeat(jnp.array([0.0, 0.5, 1.0]), NUM)
    _, described, _ = generated(jax.random.key(0), params, hardness)
    share = np.asarray(described["wall_share"]).reshape(3, NUM)
    # 18 walls can go, each with probability 1 - difficulty: standard error sqrt(0.25 / (18 * 512)) = 0.0052.
    np.testing.assert_allclose(share.mean(1), [0.5, 0.75, 1.0], atol=0.021)
    length = np.asarray(described["path_length"]).reshape(3, NUM)
    assert length[0].mean() < length[1].mean() < length[2].mean()
    easier = params.replace(difficulty=0.0, distance=0.0)
    _, described, _ = generated(jax.random.key(0), easier, jnp.ones(3 * NUM))
    np.testing.assert_allclose(described["wall_share"], 0.0, atol=1e-6)
    np.testing.assert_array_equal(described["path_length"], 1.0)


def test_levels_are_starts_of_episodes_that_can_be_solved_and_none_is_held_out(params):
    states, described, _ = generated(jax.random.key(1), params, jnp.linspace(0.0, 1.0, 3 * NUM))
    assert not np.asarray(is_held_out(states.walls.transpose(1, 2, 0))).any()
    for m in range(0, 3 * NUM, 64):
        state = jax.tree.map(lambda leaf, m=m: np.asarray(leaf[m]), states)
        distance = search(wall_grid(state), state.goal)
        assert distance[tuple(state.agent)] == state.shortest == described["path_length"][m] > 0
        np.testing.assert_array_equal(distance, state.distances)
        assert state.time == 0 and state.visits.sum() == state.scene[..., 3].sum() == 1
        assert state.visits[tuple(state.agent)] == 1 == state.scene[(*state.agent, 3)]


def test_the_fingerprint_tells_levels_apart_by_walls_start_and_goal(params):
    states, _, marks = generated(jax.random.key(2), params, jnp.ones(3 * NUM))
    parts = (states.walls[..., 0], states.goal, states.agent)
    rows = np.concatenate([np.asarray(part, np.int64) for part in parts], axis=1)
    assert len(np.unique(rows, axis=0)) == len(np.unique(marks)) > NUM
    mark = jax.jit(LEVELS.fingerprint)
    first = jax.tree.map(lambda leaf: leaf[0], states)
    assert mark(first) == mark(first.replace(time=jnp.int32(7)))
    assert mark(first) != mark(first.replace(goal=first.goal - 1))


def test_mutations_change_levels_and_leave_starts_of_episodes_that_can_be_solved(params):
    states, _, marks = generated(jax.random.key(3), params, jnp.ones(3 * NUM))
    children, child_marks = mutated(jax.random.key(4), states, params)
    assert np.mean(np.asarray(child_marks) != np.asarray(marks)) > 0.3
    assert (children.shortest > 0).all() and (children.time == 0).all()
    np.testing.assert_array_equal(children.goal, states.goal)
    for m in range(0, 3 * NUM, 128):
        child = jax.tree.map(lambda leaf, m=m: np.asarray(leaf[m]), children)
        np.testing.assert_array_equal(child.distances, search(wall_grid(child), child.goal))
        np.testing.assert_array_equal(child.scene[..., 0], wall_grid(child))


def test_resets_draw_what_the_curriculum_asked_for(params):
    """The pool of easy levels gives easy episodes, that of hard levels hard ones."""

    @jax.jit
    def starts(key, hardness):
        states = LEVELS.generate(key, params, jnp.full(64, hardness))
        pool = plain_pool(jax.vmap(LEVELS.observe, (0, None))(states, params), states)
        actor = init_actor(params, pool, key, 64, stagger=False)
        cut = params.replace(max_steps_in_episode=1)
        chance = draw_chance(key, 64)
        actor, _, _ = step_environments(ENV, cut, actor, pool, jnp.zeros(64, jnp.int32), chance)
        return actor

    easy, hard = (starts(jax.random.key(5), hardness) for hardness in (0.0, 1.0))
    assert (easy.env_state.time == 0).all() and (hard.env_state.time == 0).all()
    walls_of = [np.asarray(actor.observation[..., 0]).sum() for actor in (easy, hard)]
    # About 9 of 18 walls less, in each of 64 mazes.
    assert walls_of[1] - walls_of[0] > 64 * 6
    assert easy.env_state.shortest.mean() < hard.env_state.shortest.mean() / 2
