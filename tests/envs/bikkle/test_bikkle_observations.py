"""What the agent sees, in three forms, and the spaces that say so."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs.bikkle import Bikkle, BikkleParams

reset = jax.jit(Bikkle.reset_env, static_argnums=0)
step = jax.jit(Bikkle.step_env, static_argnums=0)


@pytest.mark.parametrize(("observation", "action"), [("tokens", "xy"), ("flat", "angle"), ("image", "xy")])
def test_observations_and_actions_are_members_of_their_spaces(observation, action):
    env = Bikkle(max_pellets=8, observation=observation, action=action, image_size=16)
    params = BikkleParams(num_pellets=(2, 8), gaze_presence=0.5)
    seen, state = reset(env, jax.random.key(0), params)
    for i in range(5):
        assert env.observation_space(params).contains(seen)
        chosen = env.action_space(params).sample(jax.random.key(i))
        assert env.action_space(params).contains(chosen)
        seen, state, _, _, _ = step(env, jax.random.key(i), state, chosen, params)
    drawn = env.observation_space(params).sample(jax.random.key(9))
    assert env.observation_space(params).contains(drawn)
    assert jax.tree.map(jnp.shape, drawn) == jax.tree.map(jnp.shape, seen)
    assert jax.tree.map(jnp.result_type, drawn) == jax.tree.map(jnp.result_type, seen)


def arranged(env, params):
    """Agent (0.5, 0.25); pink at offsets (.2, .1) and (0, .1), blue at (-.4, 0) and (.1, .1)."""
    _, state = reset(env, jax.random.key(0), params)
    return state.replace(
        agent=jnp.array([0.5, 0.25]),
        pellet_x=jnp.array([0.7, 0.1, 0.5, 0.6]),
        pellet_y=jnp.array([0.35, 0.25, 0.35, 0.35]),
        round_step=jnp.int32(25),
        gaze=state.gaze.replace(point=jnp.array([1.0, 0.5])),
    )


def test_tokens_are_in_units_of_half_the_arena():
    env, params = Bikkle(), BikkleParams()
    tokens = env.observe_state(arranged(env, params), params)
    assert [group.kind for group in tokens.values()] == [0, 1, 2, 3]
    np.testing.assert_allclose(tokens["agent"].values, [[0.0, -0.5]], atol=1e-6)
    offsets = [[0.4, 0.2, 0], [-0.8, 0, 1], [0, 0.2, 0], [0.2, 0.2, 1]]
    np.testing.assert_allclose(tokens["pellets"].values, offsets, atol=1e-6)
    np.testing.assert_allclose(tokens["gaze"].values, [[1.0, 0.0]], atol=1e-6)
    # 25 of 100 steps: 2 * 0.25 - 1 = -0.5.
    np.testing.assert_allclose(tokens["round"].values, [[-0.5]], atol=1e-6)


def test_the_flat_vector_sorts_each_kind_by_distance_and_puts_the_absent_far_away():
    env, params = Bikkle(observation="flat"), BikkleParams()
    state = arranged(env, params)
    vector = env.observe_state(state, params)
    expected = [0, -0.5, 0.2, 0.2, -0.8, 0, 0, 0.2, 0.4, 0.2, 1, 0, 1, -0.5, 1]
    np.testing.assert_allclose(vector, expected, atol=1e-6)
    fewer = state.replace(num_pellets=jnp.int32(2), gaze=state.gaze.replace(present=jnp.array(False)))
    expected = [0, -0.5, -0.8, 0, 2, 2, 0.4, 0.2, 2, 2, 0, 0, 0, 0, 0]
    np.testing.assert_allclose(env.observe_state(fewer, params), expected, atol=1e-6)


def test_each_channel_of_the_image_shows_its_own_discs_where_they_are():
    env, params = Bikkle(observation="image"), BikkleParams()
    image = np.asarray(env.observe_state(arranged(env, params), params))
    assert image.shape == (64, 64, 4) and image.dtype == np.float32
    # Two discs of radius 0.04 cover 2 * pi * (0.04 * 64)^2 = 41.2 pixels; one, half outside, 10.3.
    np.testing.assert_allclose(image.sum(axis=(0, 1)), [20.6, 41.2, 41.2, 10.3], rtol=0.02)
    rows, columns = np.indices((64, 64))
    agent = image[..., 0] / image[..., 0].sum()
    # y = 0.25 is three quarters down: row 48 - 0.5.
    np.testing.assert_allclose([(agent * rows).sum(), (agent * columns).sum()], [47.5, 31.5], atol=0.01)
    assert image[..., 1][:, :32].sum() == pytest.approx(image[..., 1][:, 32:].sum(), rel=0.05)


def test_the_shapes_are_the_same_for_every_number_of_pellets():
    for observation in ("tokens", "flat", "image"):
        env = Bikkle(max_pellets=8, observation=observation, image_size=8)
        shapes = []
        for count in (2, 8):
            params = BikkleParams(num_pellets=count)
            shapes.append(jax.eval_shape(env.reset_env, jax.random.key(0), params)[0])
        assert shapes[0] == shapes[1]
