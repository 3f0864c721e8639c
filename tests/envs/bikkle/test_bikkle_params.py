"""Shaping, parameters that cannot be meant, protocols, and the arena under gymnax."""

import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs.bikkle import GAZES, PROTOCOLS, Bikkle, BikkleParams, check, protocol_params
from envs.bikkle.rewards import potential

reset = jax.jit(Bikkle.reset_env, static_argnums=0)


@partial(jax.jit, static_argnums=0)
def rewards_and_potentials(env, params, actions):
    """Rewards [T] and potentials [T + 1] of one episode."""
    _, state = env.reset_env(jax.random.key(0), params)

    def step(state, key_and_action):
        key, action = key_and_action
        _, after, reward, _, _ = env.step_env(key, state, action, params)
        return after, (reward, potential(after))

    keys = jax.random.split(jax.random.key(1), actions.shape[0])
    rewards, potentials = jax.lax.scan(step, state, (keys, actions))[1]
    return rewards, jnp.concatenate([potential(state)[None], potentials])


def test_shaping_telescopes_to_the_potentials_at_both_ends():
    env = Bikkle()
    plain = BikkleParams(continuing=True, shaping_gamma=0.9)
    actions = jax.random.uniform(jax.random.key(2), (200, 2), minval=-1, maxval=1)
    without, potentials = rewards_and_potentials(env, plain, actions)
    shaped, _ = rewards_and_potentials(env, plain.replace(shaping=3.0), actions)
    discounts = 0.9 ** np.arange(200)
    # sum gamma^t (gamma phi_{t+1} - phi_t) = gamma^T phi_T - phi_0
    expected = 3.0 * (0.9**200 * potentials[-1] - potentials[0])
    np.testing.assert_allclose((discounts * (shaped - without)).sum(), expected, rtol=1e-3)


def test_a_closed_loop_earns_nothing_from_shaping_without_discount():
    env = Bikkle()
    params = BikkleParams(continuing=True, blue_penalty=0.0, pink_reward=0.0, target_reward=0.0)
    params = params.replace(shaping=5.0, shaping_gamma=1.0)
    square = jnp.repeat(jnp.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]]), 3, axis=0)
    rewards, potentials = rewards_and_potentials(env, params, square)
    np.testing.assert_allclose(potentials[-1], potentials[0], atol=1e-5)
    assert abs(rewards.sum()) < 1e-4 < abs(rewards).max()


def test_shaping_counts_the_potential_after_a_termination_as_zero():
    env, params = Bikkle(max_pellets=2), BikkleParams(num_pellets=2, shaping=1.0, shaping_gamma=1.0)
    _, state = reset(env, jax.random.key(0), params)
    state = state.replace(
        agent=jnp.array([0.5, 0.5]), pellet_x=jnp.array([0.59, 0.9]), pellet_y=jnp.array([0.5, 0.9])
    )
    _, _, reward, terminated, _ = jax.jit(env.step_env)(
        jax.random.key(0), state, jnp.array([1.0, 0.0]), params
    )
    # 5 for the target, and 0 - (-0.09) for the way there.
    assert terminated
    np.testing.assert_allclose(reward, 5.09, rtol=1e-5)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"num_pellets": 3}, "num_pellets = 3 .* try 2 or 4"),
        ({"num_pellets": (2, 0)}, "num_pellets = 0 must lie between 2 and 32"),
        ({"num_pellets": 6}, r"num_pellets = 6 is above max_pellets = 4; try Bikkle\(max_pellets=6\)"),
        ({"pellet_size": 0.3}, r"pellet_size = 0.3 close .* try pellet_size <= 0\.0\d+"),
        ({"pellet_size": -0.1}, "pellet_size = -0.1 must be above 0"),
        ({"max_step": float("nan")}, "max_step = nan must be above 0"),
        ({"round_length": 0}, "round_length = 0 must be at least 1"),
        ({"gaze_presence": 1.5}, "gaze_presence = 1.5 must lie between 0 and 1"),
        ({"gaze_delay": 9}, "gaze_delay = 9 must lie between 0 and 8"),
        ({"gaze_lag": 1.0}, "gaze_lag = 1.0 must be at least 0 and below 1"),
        ({"gaze_std": -0.1}, "gaze_std = -0.1 must be at least 0"),
        ({"gaze_source": (0.5, 0.2, 0.0, 0.0)}, "sum to 1, not 0.7"),
        ({"gaze_source": (1.0, 0.0)}, "4 probabilities"),
    ],
)
def test_parameters_that_cannot_be_meant_are_refused_in_one_line_with_a_remedy(fields, words):
    with pytest.raises(ValueError, match=words) as caught:
        check(Bikkle(), BikkleParams(**fields))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [{"max_pellets": 3}, {"action": "yx"}, {"observation": "token"}, {"num_candidates": 4}],
)
def test_an_arena_that_cannot_be_meant_is_refused(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        Bikkle(**fields)


def test_every_protocol_passes_the_check_with_every_gaze():
    for name, protocol in PROTOCOLS.items():
        # More slots than needed, so that one compilation does for all.
        env, roomy = Bikkle(max_pellets=protocol.max_pellets), Bikkle(max_pellets=16)
        check(env, protocol.params)
        for gaze in GAZES:
            params = protocol_params(name, gaze)
            check(env, params)
            observation, _ = reset(roomy, jax.random.key(0), params)
            assert observation["gaze"].mask[0] == (gaze != "none")
    with pytest.raises(ValueError, match="record"):
        protocol_params("records", "none")
    with pytest.raises(ValueError, match="uniform"):
        protocol_params("record", "external")


def test_the_arena_runs_under_the_step_and_reset_of_gymnax():
    envs.register_gymnax()
    envs.register_gymnax()
    import gymnax  # noqa: PLC0415

    env, params = gymnax.make("Bikkle-v0", max_pellets=2)
    params = params.replace(max_steps_in_episode=5, continuing=True)
    observation, state = env.reset(jax.random.key(0), params)
    for i in range(5):
        action = env.action_space(params).sample(jax.random.key(i))
        key = jax.random.key(10 + i)
        observation, state, _, terminated, truncated, info = env.step(key, state, action, params)
        assert not terminated and truncated == (i == 4)
    assert state.time == 0
    assert env.observation_space(params).contains(observation)
    assert not jnp.array_equal(info["final_observation"]["agent"].values, observation["agent"].values)


def test_importing_the_arena_imports_neither_gymnax_nor_matplotlib():
    code = "import sys, envs.bikkle; print([m for m in ('gymnax', 'matplotlib') if m in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "[]"
