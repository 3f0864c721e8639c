"""Forms of the reward: sparse, shaped by the distance to the goal, with a bonus for novelty."""

import jax.numpy as jnp
import numpy as np
import pytest
from plain_maze_world import layouts_of, play, random_room
from plain_mazes import draw, search

from envs.maze import Maze, MazeParams, check

UP, DOWN, LEFT, RIGHT = range(4)
MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))


def corridor():
    """One free row of five cells: start on the left, goal on the right, four steps apart."""
    walls = np.ones((7, 7), bool)
    walls[3, 1:6] = False
    return layouts_of([(walls, np.array([3, 5]), np.array([3, 1]))])


def rewards_of(env, params, actions, layouts=None):
    actions = jnp.array(actions, jnp.int32)[:, None]
    return np.asarray(play(env, params, layouts or corridor(), actions)[2][:, 0])


def test_a_step_costs_a_tenth_and_the_goal_adds_a_half():
    env = Maze(size=7)
    rewards = rewards_of(env, env.default_params, [LEFT, RIGHT, RIGHT, RIGHT, RIGHT])
    np.testing.assert_allclose(rewards, [-0.1, -0.1, -0.1, -0.1, 0.4], atol=1e-6)


def test_the_sparse_reward_falls_from_its_weight_to_a_tenth_of_it_at_the_limit():
    env = Maze(size=7)
    params = MazeParams(step_reward=0.0, goal_reward=0.0, sparse=2.0, max_steps_in_episode=8)
    # At step 4 of 8: 2 (1 - 0.9 * 4 / 8) = 1.1. At step 8: 2 (1 - 0.9) = 0.2.
    np.testing.assert_allclose(rewards_of(env, params, [RIGHT] * 4), [0, 0, 0, 1.1], atol=1e-6)
    late = rewards_of(env, params, [LEFT] * 4 + [RIGHT] * 4)
    np.testing.assert_allclose(late, [0] * 7 + [0.2], atol=1e-6)


def test_novelty_pays_an_equal_share_for_the_first_visit_of_each_cell():
    env = Maze(size=7, track_visits=True)
    params = MazeParams(step_reward=0.0, goal_reward=0.0, novelty=1.0)
    # Of five free cells four are new. Against the wall, two new cells, back, one cell again, two new ones.
    rewards = rewards_of(env, params, [LEFT, RIGHT, RIGHT, LEFT, RIGHT, RIGHT, RIGHT])
    np.testing.assert_allclose(rewards, [0, 0.25, 0.25, 0, 0, 0.25, 0.25], rtol=1e-6)


@pytest.mark.parametrize("loop", [[RIGHT, LEFT], [UP], [RIGHT, RIGHT, LEFT, LEFT], [RIGHT, LEFT, LEFT]])
def test_a_closed_loop_earns_novelty_once_and_never_more_than_the_goal(loop):
    env = Maze(size=7, track_visits=True)
    params = MazeParams(step_reward=0.0, goal_reward=0.5, novelty=0.5)
    check(env, params)
    once = rewards_of(env, params, loop).sum()
    often = rewards_of(env, params, loop * 30).sum()
    solved = rewards_of(env, params, [RIGHT] * 4).sum()
    np.testing.assert_allclose(often, once, atol=1e-6)
    assert often <= 0.5 < solved


def test_a_closed_loop_earns_nothing_from_shaping_without_discount():
    env = Maze(size=7, track_distances=True)
    params = MazeParams(step_reward=0.0, goal_reward=0.0, shaping=3.0, shaping_gamma=1.0)
    back_and_forth = rewards_of(env, params, [RIGHT, RIGHT, LEFT, RIGHT, LEFT, LEFT])
    # One step nearer is worth 3 / 7.
    np.testing.assert_allclose(back_and_forth, 3 / 7 * np.array([1, 1, -1, 1, -1, -1]), rtol=1e-5)
    assert abs(back_and_forth.sum()) < 1e-5


def test_shaping_telescopes_to_the_potential_of_the_start():
    env = Maze(size=7, track_distances=True)
    params = MazeParams(step_reward=0.0, goal_reward=0.0, shaping=3.0, shaping_gamma=0.9)
    rewards = rewards_of(env, params, [RIGHT, UP, RIGHT, LEFT, RIGHT, RIGHT, RIGHT])
    # sum gamma^t (gamma phi_{t+1} - phi_t) = 0 - phi_0 = 4 / 7, times the coefficient.
    np.testing.assert_allclose((rewards * 0.9 ** np.arange(7)).sum(), 3 * 4 / 7, rtol=1e-5)


def test_where_no_way_leads_to_the_goal_shaping_pays_nothing():
    layouts = corridor()
    layouts = layouts.replace(distance_map=jnp.full_like(layouts.distance_map, -1), shortest=jnp.array([-1]))
    env, params = Maze(size=7, track_distances=True), MazeParams(shaping=3.0)
    np.testing.assert_allclose(rewards_of(env, params, [RIGHT, LEFT, LEFT], layouts), -0.1, atol=1e-6)


@pytest.mark.parametrize("gamma", [0.8, 0.99])
@pytest.mark.parametrize("kind", ["perfect", "open"])
def test_shaping_leaves_the_optimal_policy_as_it_is(kind, gamma):
    rng = np.random.default_rng(5)
    size = 7
    if kind == "perfect":
        walls, goal = draw("dfs", size, 0, 1)[0], (size - 2, size - 2)
    else:
        walls, goal, _ = random_room(rng, size, share=0.2)
    plain = optimal_actions(walls, goal, gamma, 0.0)
    shaped = optimal_actions(walls, goal, gamma, 20.0)
    np.testing.assert_array_equal(plain, shaped)
    # Every optimal action leads one step nearer, and each step that does is optimal.
    distance = search(walls, goal)
    for cell in np.argwhere(distance > 0):
        nearer = [distance[tuple(cell + move)] == distance[tuple(cell)] - 1 for move in MOVES]
        np.testing.assert_array_equal(plain[tuple(cell)], nearer)


def optimal_actions(walls, goal, gamma, shaping):
    """Value iteration on the rewards that the environment gives: which actions are best, bool [N, N, 4]."""
    distance = search(walls, goal)
    cells = np.argwhere(distance > 0)
    layouts = layouts_of([(walls, np.array(goal), cell) for cell in cells])
    env = Maze(size=len(walls), track_distances=True)
    params = MazeParams(shaping=shaping, shaping_gamma=gamma)
    reward, after, final = [], [], []
    for action in range(4):
        _, state, r, terminated, _, _ = play(env, params, layouts, jnp.full((1, len(cells)), action))
        reward.append(r[0])
        after.append(np.asarray(state.agent[0]))
        final.append(terminated[0])
    reward, after, final = (np.stack(part, axis=1) for part in (reward, after, final))
    value = np.zeros(walls.shape)
    for _ in range(400):
        q = reward + gamma * np.where(final, 0.0, value[after[..., 0], after[..., 1]])
        value[cells[:, 0], cells[:, 1]] = q.max(1)
    best = np.zeros((*walls.shape, 4), bool)
    best[cells[:, 0], cells[:, 1]] = q > q.max(1, keepdims=True) - 1e-4
    return best
