"""Scripted players against what they are known to reach, and the pictures of what they do."""

import jax
import numpy as np
import pytest

from envs.bikkle import PROTOCOLS, Bikkle
from envs.bikkle.render import render_episode, render_frame, save_gif
from envs.bikkle.scripted import best, evaluate_controller, nearest_pink, random, target_seeker

NUM_EPISODES = 512


def mean_return(controller, name):
    # 16 slots for every protocol: the number of pellets is data, and one compilation does for all.
    env, params = Bikkle(max_pellets=16), PROTOCOLS[name].params
    returns = evaluate_controller(controller, env, params, jax.random.key(0), NUM_EPISODES)
    return float(returns.mean())


# From a separate simulation of the original, float64; its standard error is about 0.14. Ours, of 512 episodes
# with a deviation of about 7 (10 on 16 pellets), is 0.3 (0.45). Three of both together: 1.0 (1.4); how a
# player goes round blue pellets is left open there, and here it is by the full speed per axis.
@pytest.mark.parametrize(
    ("controller", "name", "expected", "tolerance"),
    [
        (random, "record", -0.60, 0.6),
        (random, "continuing_4", -1.44, 0.7),
        (random, "continuing_16", -6.0, 1.3),
        (random, "first_touch_4", -1.10, 0.65),
        (nearest_pink, "continuing_4", 21.6, 1.0),
        (nearest_pink, "continuing_16", 21.9, 1.5),
        (nearest_pink, "first_touch_4", 2.68, 0.3),
        (target_seeker, "record", 24.8, 1.0),
        (target_seeker, "continuing_4", 24.0, 1.0),
        (target_seeker, "continuing_16", 22.3, 1.4),
        (target_seeker, "first_touch_4", 4.01, 0.3),
        (best, "record", 27.0, 1.0),
        (best, "continuing_4", 25.0, 1.0),
    ],
)
def test_a_scripted_player_reaches_what_it_is_known_to_reach(controller, name, expected, tolerance):
    assert abs(mean_return(controller, name) - expected) < tolerance


def test_the_best_script_on_16_pellets_is_at_least_as_good_as_the_best_known():
    assert mean_return(best, "continuing_16") > 26.3 - 1.4


@pytest.fixture(scope="module")
def episode():
    env, params = Bikkle(), PROTOCOLS["continuing_4"].params
    _, first = jax.jit(env.reset_env)(jax.random.key(0), params)

    def step(state, key):
        _, after, reward, _, _ = env.step_env(key, state, best(state, key, params), params)
        return after, (after, reward)

    return jax.jit(lambda keys: jax.lax.scan(step, first, keys))(jax.random.split(jax.random.key(1), 6))[1]


def test_a_frame_shows_pink_and_blue_pellets_the_target_and_the_gaze(episode):
    state = jax.tree.map(lambda leaf: leaf[0], episode[0])
    frame = render_frame(state, size=200)
    assert frame.dtype == np.uint8 and frame.shape == (217, 200, 3)
    for color in ((255, 107, 160), (72, 132, 255), (255, 203, 92)):
        assert (np.abs(frame.astype(int) - color).sum(axis=-1) < 60).sum() > 10
    unseen = state.replace(gaze=state.gaze.replace(present=np.array(False)))
    assert (render_frame(unseen, size=200) != frame).any()


def test_an_episode_becomes_frames_and_an_animation(episode, tmp_path):
    states, rewards = episode
    frames = render_episode(states, rewards, size=96)
    assert len(frames) == 6
    assert (frames[0] != frames[-1]).any()
    path = tmp_path / "episode.gif"
    save_gif(path, frames, fps=10)
    assert path.read_bytes()[:3] == b"GIF"
