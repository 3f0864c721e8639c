import jax
import jax.numpy as jnp
import numpy as np

from purerl.functional import losses


def test_the_surrogate_stops_pulling_beyond_the_clip_but_never_stops_pulling_back():
    # clip 0.2. Advantage 1: gradient of the loss in the log-ratio is -ratio below 1.2 and 0 above.
    # Advantage -1: it is +ratio above 0.8 and 0 below.
    slope = jax.vmap(jax.grad(lambda x, a: losses.clipped_surrogate(x, a, 0.2)))
    log_ratio = jnp.log(jnp.array([0.5, 1.1, 1.5, 0.5, 1.1, 1.5]))
    advantage = jnp.array([1.0, 1.0, 1.0, -1.0, -1.0, -1.0])
    np.testing.assert_allclose(slope(log_ratio, advantage), [-0.5, -1.1, 0.0, 0.0, 1.1, 1.5], rtol=1e-6)


def test_an_infinite_value_clip_leaves_half_the_squared_error():
    loss = losses.clipped_value_loss(jnp.float32(3.0), jnp.float32(0.0), jnp.float32(1.0), jnp.inf)
    assert loss == 2.0


def test_a_value_clip_punishes_moving_further_than_allowed():
    # Old 0, new 3, target 2, clip 0.5: the clipped estimate 0.5 is further off: (0.5 - 2)^2 / 2 = 1.125.
    loss = losses.clipped_value_loss(jnp.float32(3.0), jnp.float32(0.0), jnp.float32(2.0), 0.5)
    assert loss == 1.125


def test_the_kl_estimate_has_the_mean_of_the_true_divergence():
    # Two categorical distributions, expectation under the old one in closed form.
    old, new = jnp.array([0.2, 0.5, 0.3]), jnp.array([0.4, 0.4, 0.2])
    estimate = (old * losses.approximate_kl(jnp.log(new / old))).sum()
    np.testing.assert_allclose(estimate, (old * jnp.log(old / new)).sum(), rtol=1e-5)


def test_explained_variance_is_one_for_a_perfect_critic_and_zero_for_a_constant_one():
    target = jnp.array([1.0, 2.0, 4.0])
    assert losses.explained_variance(target, target) == 1.0
    assert losses.explained_variance(jnp.zeros(3), target) == 0.0
    assert losses.explained_variance(jnp.zeros(3), jnp.ones(3)) == 0.0


def test_the_huber_loss_keeps_its_slope_at_any_delta():
    # Error 3: half the square has slope 3; with delta 1 the slope is 1; so it is with 1e30 as with inf.
    slope = jax.grad(losses.huber)
    assert [slope(3.0, delta) for delta in (jnp.inf, 1e30, 1.0)] == [3.0, 3.0, 1.0]
