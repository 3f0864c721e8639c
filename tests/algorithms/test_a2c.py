"""A2C: the loss of the paper, with advantages as they are or standardized."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np

from purerl.algorithms.a2c import A2CConfig, a2c_loss
from purerl.algorithms.on_policy_parts import Samples
from purerl.functional.normalize import standardize


class Coin:
    """A network whose parameters are the logits of two actions and a value."""

    def apply(self, params, observation):
        policy = distrax.Categorical(logits=jnp.broadcast_to(params["logits"], (len(observation), 2)))
        return policy, jnp.full(len(observation), params["value"])


PARAMS = {"logits": jnp.zeros(2), "value": jnp.float32(1.0)}


def samples(weight):
    rest = {"log_prob": jnp.zeros(2), "value": jnp.zeros(2)}
    return Samples(
        observation=jnp.zeros((2, 1)),
        action=jnp.array([0, 1]),
        advantage=jnp.array([2.0, -1.0]),
        target=jnp.array([3.0, 1.0]),
        weight=jnp.array(weight),
        **rest,
    )


def test_the_loss_is_that_of_the_paper():
    # log pi = -log 2 for both actions; the value's errors are 2 and 0, the entropy is log 2.
    config = A2CConfig(value_coefficient=0.5, entropy_coefficient=0.1)
    loss, _ = a2c_loss(Coin(), PARAMS, samples([1.0, 1.0]), config)
    expected = np.log(2) * (2.0 - 1.0) / 2 + 0.5 * 0.5 * 4.0 / 2 - 0.1 * np.log(2)
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_actions_that_did_better_than_expected_become_likelier():
    gradient = jax.grad(lambda params: a2c_loss(Coin(), params, samples([1.0, 1.0]), A2CConfig())[0])(PARAMS)
    # d/dlogits of -A log pi: A (pi - one_hot), of both samples: 2 (1/2 - 1) - 1 (1/2) = -3/2 for the first.
    np.testing.assert_allclose(gradient["logits"], [-0.75, 0.75], rtol=1e-6)


def test_samples_without_weight_reach_nothing():
    whole, _ = a2c_loss(Coin(), PARAMS, samples([2.0, 0.0]), A2CConfig())
    first = np.log(2) * 2.0 + 0.5 * 0.5 * 4.0 - 0.01 * np.log(2)
    np.testing.assert_allclose(whole, first, rtol=1e-6)


def test_advantages_are_standardized_over_what_counts():
    # Of 1, 3 and 100 the first two count: mean 2, deviation 1.
    counts = jnp.array([[True], [True], [False]])
    found = standardize(jnp.array([[1.0], [3.0], [100.0]]), counts)
    np.testing.assert_allclose(found[:2, 0], [-1.0, 1.0], rtol=1e-5)
