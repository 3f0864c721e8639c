"""Where the gaze comes from, when it is there, and what makes it less than perfect."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs.bikkle import Bikkle, BikkleParams, protocol_params
from envs.bikkle.state import target_position

ENV = Bikkle(max_pellets=4)
RESET = jax.jit(ENV.reset_env)
NUM_EPISODES, NUM_STEPS = 200, 100
STILL = {"num_pellets": 4, "continuing": True, "gaze_std": 0.0}


@partial(jax.jit, static_argnums=1)
def watch(params, swing=1.0):
    """Gaze point, presence and target, [E, T + 1, ...] each, of episodes with random actions."""

    def episode(key):
        key_reset, key_steps = jax.random.split(key)
        _, state = ENV.reset_env(key_reset, params)

        def step(state, key):
            key_act, key_step = jax.random.split(key)
            action = jax.random.uniform(key_act, (2,), minval=-swing, maxval=swing)
            _, after, _, _, _ = ENV.step_env(key_step, state, action, params)
            return after, after

        history = jax.lax.scan(step, state, jax.random.split(key_steps, NUM_STEPS))[1]
        states = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), state, history)
        return states.gaze.point, states.gaze.present, jax.vmap(target_position)(states)

    return jax.vmap(episode)(jax.random.split(jax.random.key(0), NUM_EPISODES))


def numbers(params, swing=1.0):
    traced = jax.tree.map(jnp.asarray, params)
    return tuple(np.asarray(leaf) for leaf in watch(traced, swing))


def test_a_gaze_without_noise_is_the_target_itself():
    gaze, present, target = numbers(BikkleParams(**STILL))
    np.testing.assert_allclose(gaze, target, atol=1e-6)
    assert present.all()


def test_the_noise_has_the_deviation_asked_for_and_stays_within_the_square():
    gaze, _, target = numbers(BikkleParams(num_pellets=4, continuing=True, gaze_std=0.05))
    assert ((gaze >= 0) & (gaze <= 1)).all()
    inside = ((target > 0.25) & (target < 0.75)).all(axis=-1)
    error = (gaze - target)[inside]
    # About 5,000 pairs: relative standard error of a deviation 1 / sqrt(2 * 10000) = 0.007.
    assert inside.sum() > 2000
    np.testing.assert_allclose(error.std(), 0.05, rtol=0.05)
    assert abs(error.mean()) < 0.004


def test_uniform_gaze_covers_the_square_and_knows_nothing_of_the_target():
    gaze, present, target = numbers(protocol_params("continuing_4", "uniform"))
    assert present.all()
    gaze, target = gaze.reshape(-1, 2), target.reshape(-1, 2)
    # Targets change every few dozen steps: some 600 independent ones, standard error 0.04.
    assert np.abs(np.corrcoef(gaze.T, target.T)[:2, 2:]).max() < 0.16
    np.testing.assert_allclose(gaze.mean(axis=0), 0.5, atol=0.01)
    # Variance of a uniform is 1/12; noise and clipping change it by less than 0.003.
    np.testing.assert_allclose(gaze.var(axis=0), 1 / 12, atol=0.005)


def test_no_gaze_means_neither_gaze_nor_round():
    params = protocol_params("continuing_4", "none")
    _, present, _ = numbers(params)
    assert not present.any()
    observation, _ = RESET(jax.random.key(0), params)
    for name in ("gaze", "round"):
        assert not observation[name].mask.any()
        assert (observation[name].values == 0).all()


def test_sources_are_drawn_per_episode_with_their_probabilities():
    params = BikkleParams(gaze_source=(0.5, 0.2, 0.3, 0.0))
    _, states = jax.jit(jax.vmap(ENV.reset_env, (0, None)))(jax.random.split(jax.random.key(2), 4000), params)
    share = np.bincount(np.asarray(states.gaze.source), minlength=4) / 4000
    # Standard error at most 0.5 / sqrt(4000) = 0.008; four of them.
    np.testing.assert_allclose(share, [0.5, 0.2, 0.3, 0.0], atol=0.032)
    assert share[3] == 0.0


def test_presence_is_drawn_per_episode_or_per_step():
    _, per_episode, _ = numbers(BikkleParams(**STILL, gaze_presence=0.3))
    assert (per_episode == per_episode[:, :1]).all()
    # Standard error sqrt(0.21 / 200) = 0.032; four of them.
    assert abs(per_episode[:, 0].mean() - 0.3) < 0.13
    _, per_step, _ = numbers(BikkleParams(**STILL, gaze_presence=0.3, gaze_presence_per_episode=False))
    # Standard error sqrt(0.21 / 20200) = 0.0032; four of them.
    assert abs(per_step.mean() - 0.3) < 0.013
    assert (per_step.any(axis=1) & ~per_step.all(axis=1)).all()


@pytest.mark.parametrize("delay", [1, 5, 8])
def test_a_delayed_gaze_is_where_the_target_was(delay):
    gaze, _, target = numbers(BikkleParams(**STILL, gaze_delay=delay))
    np.testing.assert_allclose(gaze[:, delay:], target[:, :-delay], atol=1e-6)
    np.testing.assert_allclose(gaze[:, :delay], np.repeat(target[:, :1], delay, axis=1), atol=1e-6)
    assert not np.allclose(gaze, target)


def test_an_offset_stays_for_the_episode_and_differs_between_episodes():
    gaze, _, target = numbers(BikkleParams(**STILL, gaze_offset_std=0.02))
    inside = ((gaze > 0) & (gaze < 1)).all(axis=(1, 2))
    offset = (gaze - target)[inside]
    assert inside.sum() > 100
    np.testing.assert_allclose(offset, np.repeat(offset[:, :1], NUM_STEPS + 1, axis=1), atol=1e-6)
    # Relative standard error of the deviation 1 / sqrt(2 * 200) = 0.05; four of them.
    np.testing.assert_allclose(offset[:, 0].std(), 0.02, rtol=0.2)


def test_a_lagging_gaze_goes_a_share_of_its_way_at_each_step():
    gaze, _, target = numbers(BikkleParams(**STILL, gaze_lag=0.75))
    expected = gaze[:, :-1] + 0.25 * (target[:, 1:] - gaze[:, :-1])
    np.testing.assert_allclose(gaze[:, 1:], expected, atol=1e-5)


def test_dropouts_come_in_bursts_of_their_length():
    _, present, _ = numbers(BikkleParams(**STILL, gaze_dropout_rate=0.05, gaze_dropout_length=6))
    lengths = []
    for row in present:
        runs = np.flatnonzero(np.diff(np.concatenate([[True], row, [True]]).astype(int)))
        lengths += [b - a for a, b in zip(runs[::2], runs[1::2], strict=True) if b <= NUM_STEPS]
    # A burst may begin in the step after another ended; otherwise each is 6 long.
    assert len(lengths) > 300
    assert set(np.array(lengths) % 6) == {0}
    # One burst takes 6 steps after a wait of 1 / 0.05 = 20 on average, of which the last is in the burst.
    assert abs((~present).mean() - 6 / 25) < 0.03


def test_an_external_gaze_is_seen_as_it_is_handed_in():
    params = BikkleParams(gaze_source=(0.0, 0.0, 0.0, 1.0), gaze_presence=0.0, gaze_delay=3)
    observation, state = RESET(jax.random.key(0), params)
    assert not observation["gaze"].mask.any()
    given = state.replace(external_gaze=jnp.array([0.25, 1.0]), external_gaze_present=jnp.array(True))
    observation, _, _, _, _ = jax.jit(ENV.step_env)(jax.random.key(1), given, jnp.zeros(2), params)
    assert observation["gaze"].mask.all() and observation["round"].mask.all()
    # From [0, 1] to [-1, 1]: 2 * 0.25 - 1 = -0.5 and 2 * 1 - 1 = 1.
    np.testing.assert_allclose(observation["gaze"].values, [[-0.5, 1.0]])
