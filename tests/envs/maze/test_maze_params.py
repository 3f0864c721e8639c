"""Mazes and parameters that cannot be meant, time limits, and the environment under gymnax."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs.maze import Maze, MazeParams, check


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"size": 8}, "size = 8 must be odd and at least 5; try 9"),
        ({"size": 3}, "size = 3 .* try 5"),
        ({"size": -2}, "size = -2 .* try 5"),
        ({"style": "prim"}, "style = 'prim' is not one of"),
        ({"observation": "pixels"}, "observation = 'pixels' is not one of"),
        ({"observation": "patch", "patch_size": 4}, "patch_size = 4 must be odd .* try 5"),
        ({"observation": "patch", "patch_size": 19}, "patch_size = 19 is larger than useful: one of 17 "),
        ({"observation": "patch", "num_positions": -1}, "num_positions = -1 must be >= 0"),
        ({"num_positions": 4}, 'num_positions = 4 .* try observation = "patch", or trace = True'),
    ],
)
def test_a_maze_that_cannot_be_meant_is_refused_in_one_line(fields, words):
    with pytest.raises(ValueError, match=words) as caught:
        Maze(**fields)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"difficulty": 1.5}, "difficulty = 1.5 must lie between 0 and 1"),
        ({"difficulty": float("nan")}, "difficulty = nan"),
        ({"distance": -0.1}, "distance = -0.1 must lie between 0 and 1"),
        ({"shaping_gamma": 1.1}, "shaping_gamma = 1.1"),
        ({"sparse": -1.0}, "sparse = -1.0 must be at least 0"),
        ({"goal_reward": float("inf")}, "goal_reward = inf must be a finite number"),
        ({"max_steps_in_episode": 0}, "max_steps_in_episode = 0 must be at least 1"),
        ({"max_steps_in_episode": 2.5}, "max_steps_in_episode = 2.5 must be a whole number at least 1"),
        ({"shaping": 1.0}, r"shaping = 1 needs .* try Maze\(track_distances=True\) or shaping = 0"),
        ({"novelty": 0.1}, r"novelty = 0.1 needs .* try Maze\(track_visits=True\) or novelty = 0"),
    ],
)
def test_parameters_that_cannot_be_meant_are_refused_in_one_line_with_a_remedy(fields, words):
    with pytest.raises(ValueError, match=words) as caught:
        check(Maze(), MazeParams(**fields))
    assert "\n" not in str(caught.value)


def test_seeing_a_maze_may_not_pay_more_than_solving_it():
    env = Maze(track_visits=True)
    check(env, MazeParams(novelty=0.5))
    # At the time limit the goal pays 0.5 + 0.1 * 2.
    with pytest.raises(
        ValueError, match=r"novelty = 0.8 .* sparse = 0.7 at least; try novelty = 0.7"
    ) as caught:
        check(env, MazeParams(novelty=0.8, sparse=2.0))
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="try novelty = 0"):
        check(env, MazeParams(novelty=0.1, goal_reward=-1.0))


def test_what_the_maze_carries_may_be_paid_for():
    env = Maze(track_distances=True, track_visits=True)
    check(env, MazeParams(shaping=1.0, novelty=0.1, difficulty=0.0, distance=0.0, sparse=1.0))


def test_the_time_limit_is_that_of_record_or_three_steps_a_cell_and_every_perfect_maze_fits_into_it():
    limits = {size: Maze(size=size).default_params.max_steps_in_episode for size in (5, 9, 13, 15)}
    # (N - 1) / 2 squared cells: 4, 16, 36, 49.
    assert limits == {5: 12, 9: 50, 13: 108, 15: 147}
    # A path visits each cell at most once, with two steps from each to the next.
    assert all(limit > 2 * ((size - 1) // 2) ** 2 for size, limit in limits.items())


def test_a_reset_draws_another_maze_for_another_key():
    env = Maze(size=5)
    reset = jax.jit(jax.vmap(env.reset_env, (0, None)))
    _, state = reset(jax.random.split(jax.random.key(0), 64), env.default_params)
    assert len(np.unique(np.asarray(state.walls), axis=0)) > 1
    assert (state.goal == 3).all() and (state.time == 0).all()
    assert (state.shortest > 0).all()


def test_the_maze_runs_under_the_step_and_reset_of_gymnax():
    envs.register_gymnax()
    import gymnax  # noqa: PLC0415

    env, params = gymnax.make("Maze-v0", size=5, trace=True)
    params = params.replace(max_steps_in_episode=6)
    step, reset = jax.jit(env.step), jax.jit(env.reset)
    observation, state = reset(jax.random.key(0), params)
    ends = 0
    for i in range(30):
        action = env.action_space(params).sample(jax.random.key(i))
        time = int(state.time)
        observation, state, _, terminated, truncated, info = step(jax.random.key(i), state, action, params)
        assert bool(truncated) == (time == 5 and not terminated)
        ended = bool(terminated or truncated)
        assert int(state.time) == (0 if ended else time + 1)
        # What the reset has replaced is kept, and the trace of a new episode is the start alone.
        assert bool((info["final_observation"] != observation).any()) == ended
        assert not ended or observation[..., 3].sum() == 1
        ends += ended
    assert ends >= 5
    assert env.observation_space(params).contains(observation)


def test_the_rollout_of_gymnax_walks_cell_by_cell_and_sums_the_first_episode():
    envs.register_gymnax()
    from gymnax.experimental.rollout import RolloutWrapper  # noqa: PLC0415

    wrapper = RolloutWrapper(env_name="Maze-v0", env_kwargs={"size": 5})
    seen, _, reward, following, done, total = wrapper.batch_rollout(
        jax.random.split(jax.random.key(1), 6), None
    )
    assert seen.shape == (6, 12, 5, 5, 3)
    agent, goal = (np.argwhere(np.asarray(seen)[..., channel])[:, 2:].reshape(6, 12, 2) for channel in (1, 2))
    moved = np.abs(np.diff(agent, axis=1)).sum(2)
    same = ~np.asarray(done)[:, :-1]
    assert (moved[same] <= 1).all() and (moved[same] == 1).any()
    assert (goal == 3).all()
    np.testing.assert_array_equal(seen[:, 1:], following[:, :-1])
    for m in range(6):
        end = int(np.argmax(done[m])) + 1  # each ends after 12 steps at the latest
        np.testing.assert_allclose(total[m, 0], np.asarray(reward)[m, :end].sum(), rtol=1e-5)


def test_importing_mazes_imports_neither_gymnax_nor_what_draws():
    wanted = "('gymnax', 'matplotlib', 'PIL', 'imageio')"
    code = f"import sys, envs.maze; print([m for m in {wanted} if m in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "[]"


def test_parameters_may_be_traced_and_mapped():
    env = Maze(size=5)
    params = MazeParams(step_reward=jnp.array([-0.1, -0.3]), max_steps_in_episode=jnp.array([1, 2]))
    axes = jax.tree.map(lambda leaf: 0 if jnp.ndim(leaf) else None, params)

    def one_step(params):
        _, state = env.reset_env(jax.random.key(0), params)
        _, after, reward, _, _ = env.step_env(jax.random.key(0), state, jnp.int32(0), params)
        return reward, env.is_truncated(after, params)

    rewards, truncated = jax.jit(jax.vmap(one_step, (axes,)))(params)
    np.testing.assert_allclose(rewards[1] - rewards[0], -0.2, atol=1e-6)
    assert truncated.tolist() == [True, False]
