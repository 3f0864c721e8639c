"""Squashed Gaussians against numerical integration and where float32 loses digits; noise drawn ahead."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax.environments import spaces

from purerl.functional.distributions import (
    TanhNormal,
    act_with,
    draw_noise,
    entropy_of,
    log_derivative_of_tanh,
)


def test_the_logarithm_of_the_derivative_keeps_its_digits():
    x = np.array([-40.0, -12.0, -1.0, 0.0, 0.5, 9.0, 40.0])
    # log(1 - tanh^2 x) = -2 log cosh x, and cosh x is e^|x| / 2 where |x| is large.
    expected = [-2.0 * (40.0 - np.log(2.0)), *(-2.0 * np.log(np.cosh(x[1:-1]))), -2.0 * (40.0 - np.log(2.0))]
    np.testing.assert_allclose(log_derivative_of_tanh(jnp.float32(x)), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.5), (1.0, 1.5), (-2.0, 0.3)])
def test_the_density_integrates_to_one_and_has_the_entropy_of_its_samples(mean, std):
    policy = TanhNormal(mean=jnp.array([mean]), log_std=jnp.log(jnp.array([std])))
    # Evenly spaced before the squashing, where the density is smooth: da = (1 - tanh^2 u) du.
    u = mean + std * np.linspace(-8.0, 8.0, 4001)
    u = u[np.abs(u) < 8.0]  # beyond, float32 rounds the action to 1
    log_prob = np.asarray(policy.log_prob(jnp.tanh(jnp.float32(u))[:, None]), np.float64)
    density = np.exp(log_prob) * (1.0 - np.tanh(u) ** 2)
    spacing = u[1] - u[0]
    np.testing.assert_allclose(density.sum() * spacing, 1.0, atol=5e-3)
    entropy = -(density * log_prob).sum() * spacing
    many = TanhNormal(mean=jnp.full((100_000, 1), mean), log_std=jnp.full((100_000, 1), np.log(std)))
    _, sampled = many.sample_and_log_prob(jax.random.key(0))
    np.testing.assert_allclose(-sampled.mean(), entropy, atol=0.02)


def test_samples_come_with_the_density_that_they_have():
    policy = TanhNormal(
        mean=jnp.array([[0.3, -0.2], [0.0, 1.0]]), log_std=jnp.array([[-0.5, 0.1], [0.0, -2.0]])
    )
    action, log_prob = policy.sample_and_log_prob(jax.random.key(1))
    np.testing.assert_allclose(log_prob, policy.log_prob(action), rtol=1e-4)
    np.testing.assert_array_equal(action, policy.sample(jax.random.key(1)))
    assert log_prob.shape == (2,)


def test_far_outside_the_density_and_its_gradient_stay_finite():
    def log_prob(mean):
        policy = TanhNormal(mean=mean, log_std=jnp.zeros((1, 1)))
        return policy.sample_and_log_prob(jax.random.key(0))[1].sum()

    value, gradient = jax.value_and_grad(log_prob)(jnp.full((1, 1), 60.0))
    assert jnp.isfinite(value)
    # log pi grows by 2 for each unit of the mean: the squashing packs actions e^2 times as densely.
    np.testing.assert_allclose(gradient, 2.0, atol=1e-4)


def test_the_standard_deviation_is_never_clamped():
    def log_prob(log_std):
        policy = TanhNormal(mean=jnp.zeros(1), log_std=log_std)
        return policy.sample_and_log_prob(jax.random.key(3))[1]

    for log_std in (-25.0, 8.0):
        assert jax.grad(log_prob)(jnp.array([log_std]))[0] != 0.0


@pytest.mark.parametrize("discrete", [True, False])
def test_noise_that_is_drawn_ahead_gives_what_the_policy_draws_itself(discrete):
    values = jax.random.normal(jax.random.key(0), (5, 3))
    if discrete:
        space, policy = spaces.Discrete(3), distrax.Categorical(logits=values)
    else:
        space, policy = (
            spaces.Box(-1.0, 1.0, (3,)),
            distrax.MultivariateNormalDiag(values, jnp.exp(values - 1.0)),
        )
    for seed in range(20):
        key = jax.random.key(seed)
        expected, expected_log_prob = policy.sample_and_log_prob(seed=key)
        action, log_prob = act_with(policy, draw_noise(key, space, 5))
        np.testing.assert_allclose(action, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(log_prob, expected_log_prob, rtol=1e-5, atol=1e-5)


def test_entropy_and_its_gradient_are_those_of_distrax():
    logits = 3.0 * jax.random.normal(jax.random.key(0), (5, 4))

    def of(entropy):
        return lambda logits: entropy(distrax.Categorical(logits=logits)).sum()

    ours, theirs = of(entropy_of), of(lambda policy: policy.entropy())
    np.testing.assert_allclose(ours(logits), theirs(logits), rtol=1e-6)
    np.testing.assert_allclose(jax.grad(ours)(logits), jax.grad(theirs)(logits), atol=1e-6)
    never = entropy_of(distrax.Categorical(logits=jnp.array([0.0, 0.0, -jnp.inf])))
    np.testing.assert_allclose(never, jnp.log(2.0), rtol=1e-6)
    gaussian = distrax.MultivariateNormalDiag(jnp.zeros((5, 2)), jnp.ones((5, 2)))
    np.testing.assert_array_equal(entropy_of(gaussian), gaussian.entropy())
