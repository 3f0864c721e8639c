"""The environment in lock step with its rules, written once more in plain Python."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from plain_maze_world import PlainMaze, begin, layouts_of, play, random_room

from envs.maze import Maze, MazeParams

# The last two have rows of two words, and a window wider than the maze.
WORLDS = {
    "grid": Maze(size=5),
    "trace": Maze(size=9, trace=True, track_distances=True, track_visits=True),
    "patch": Maze(size=7, observation="patch", patch_size=5, num_positions=3, trace=True),
    "two words": Maze(size=35, trace=True, track_distances=True),
    "wide patch": Maze(size=7, observation="patch", patch_size=13, num_positions=1),
}


@pytest.mark.parametrize("name", WORLDS)
def test_every_step_agrees_with_the_plain_rules(name):
    env, num_mazes, num_steps = WORLDS[name], 12, 40
    params = MazeParams(sparse=0.7, max_steps_in_episode=30, shaping_gamma=0.9)
    params = params.replace(shaping=2.0 * env.track_distances, novelty=0.3 * env.track_visits)
    rng = np.random.default_rng(len(name))
    rooms = [random_room(rng, env.size) for _ in range(num_mazes)]
    layouts = layouts_of(rooms)
    # Each third maze is walked through on a shortest path first, so that goals are reached.
    actions = rng.integers(0, 4, (num_steps, num_mazes))
    for m in range(0, num_mazes, 3):
        way = shortest_actions(np.asarray(layouts.distance_map[m]), rooms[m][2])
        actions[: min(len(way), num_steps), m] = way[:num_steps]
    _, start_views = begin(env, params, layouts)
    outcome = jax.device_get(play(env, params, layouts, jnp.asarray(actions, jnp.int32)))
    views, states, rewards, terminated, truncated, info = outcome
    for m, (walls, goal, start) in enumerate(rooms):
        plain = PlainMaze(walls, tuple(goal), tuple(start), params)
        np.testing.assert_allclose(start_views[m], view(env, plain), atol=1e-6)
        for t in range(num_steps):
            reward, unshaped, reached, cut = plain.step(actions[t, m])
            assert tuple(states.agent[t, m]) == plain.agent
            assert (terminated[t, m], truncated[t, m]) == (reached, cut)
            assert info["solved"][t, m] == reached
            np.testing.assert_allclose(rewards[t, m], reward, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(info["unshaped_reward"][t, m], unshaped, rtol=1e-5, atol=1e-6)
            optimality = plain.distance[tuple(start)] / (t + 1) if reached else 0.0
            np.testing.assert_allclose(info["optimality"][t, m], optimality, rtol=1e-6)
            np.testing.assert_allclose(views[t, m], view(env, plain), atol=1e-6)
    assert terminated.any() and truncated.any()


def view(env, plain):
    if env.observation == "grid":
        return plain.grid(env.trace)
    return plain.patch(env.patch_size, env.trace, env.num_positions)


def shortest_actions(distance, start):
    place, actions = tuple(start), []
    while distance[place] > 0:
        beside = [(place[0] + r, place[1] + c) for r, c in ((-1, 0), (1, 0), (0, -1), (0, 1))]
        actions.append(next(a for a, cell in enumerate(beside) if distance[cell] == distance[place] - 1))
        place = beside[actions[-1]]
    return actions


@pytest.mark.parametrize("name", WORLDS)
def test_observations_are_members_of_their_space_and_keep_their_types(name):
    env, params = WORLDS[name], WORLDS[name].default_params
    layouts = layouts_of([random_room(np.random.default_rng(3), env.size)])
    first, start_view = jax.tree.map(lambda leaf: leaf[0], begin(env, params, layouts))
    step_env = jax.jit(env.step_env)
    seen, state, reward, terminated, info = step_env(jax.random.key(0), first, jnp.int32(1), params)
    space = env.observation_space(params)
    assert space.contains(seen) and space.contains(start_view)
    assert (seen.shape, seen.dtype) == (space.shape, space.dtype)
    assert jax.tree.map(jnp.result_type, first) == jax.tree.map(jnp.result_type, state)
    assert not any(leaf.weak_type for leaf in jax.tree.leaves((seen, state, reward, info)))
    assert reward.dtype == jnp.float32 and terminated.dtype == bool
    assert env.action_space(params).n == env.num_actions == 4


def test_a_state_holds_what_was_asked_for_and_nothing_else():
    layouts = layouts_of([random_room(np.random.default_rng(0), 9)])
    optional = {"visits", "earlier", "distances"}

    def held(env):
        state, _ = begin(env, env.default_params, layouts)
        return {field.name for field in dataclasses.fields(state) if getattr(state, field.name) is not None}

    assert held(Maze()) & optional == set()
    assert held(Maze(track_visits=True)) & optional == {"visits"}
    assert held(Maze(track_distances=True)) & optional == {"distances"}
    assert held(Maze(observation="patch", num_positions=2)) & optional == {"earlier"}
