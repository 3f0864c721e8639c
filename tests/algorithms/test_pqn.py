"""What is PQN's own: its return against a plain loop, and its pictures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import RewardOne

from purerl.algorithms.pqn import PQNConfig
from purerl.functional.returns import gae
from purerl.networks import QNetworkConfig, make_q_network

SMALL = QNetworkConfig(width=16, head_width=0, layer_norm=True)
CONFIG = PQNConfig(
    num_envs=16,
    num_steps=8,
    num_epochs=2,
    num_minibatches=4,
    microbatch_size=0,
    learning_rate=1e-2,
    gamma=0.5,
    stagger=False,
)
SEEDS = jax.vmap(jax.random.key)(jnp.arange(5))


def test_advantages_over_the_highest_value_are_the_lambda_return():
    random = np.random.default_rng(0)
    reward, value, next_value = random.normal(size=(3, 9, 2)).astype(np.float32)
    terminated, truncated = random.random((2, 9, 2)) < 0.2
    gamma, decay = 0.9, 0.65
    expected = np.zeros_like(reward)
    for env in range(2):
        for t in reversed(range(9)):
            at = (t, env)
            goes_on = not (terminated[at] or truncated[at])
            following = expected[t + 1, env] if t < 8 and goes_on else next_value[at]
            # Where the episode goes on, the next step's value is what this step's successor was worth.
            bootstrap = value[t + 1, env] if t < 8 and goes_on else next_value[at]
            mixed = (1 - decay) * bootstrap + decay * following
            expected[at] = reward[at] + (0.0 if terminated[at] else gamma * mixed)
    after = np.roll(value, -1, axis=0)
    cut = terminated | truncated | (np.arange(9)[:, None] == 8)
    found = gae(reward, value, np.where(cut, next_value, after), terminated, truncated, gamma, decay) + value
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_picture_becomes_one_vector_however_its_pixels_are_typed():
    class Pictures(RewardOne):
        def observation_space(self, params):
            return jax.ShapeDtypeStruct((10, 10, 4), bool)

    env = Pictures()
    network = make_q_network(
        env, env.default_params, "image", QNetworkConfig(channels=4, width=8, layer_norm=True)
    )
    pixels = jax.random.bernoulli(jax.random.key(0), shape=(5, 10, 10, 4))
    params = network.init(jax.random.key(1), pixels)
    assert network.apply(params, pixels).shape == (1, 5)
    np.testing.assert_array_equal(
        network.apply(params, pixels), network.apply(params, 255 * pixels.astype(jnp.uint8))
    )
    # 3 x 3 windows of 4 channels without padding leave 8 x 8 pixels of 4 features: 256 inputs of the layer.
    assert params["params"]["encoder"]["MLP_0"]["Dense_0"]["kernel"].shape == (256, 8)
    with pytest.raises(ValueError, match="use network 'mlp'"):
        make_q_network(RewardOne(), RewardOne().default_params, "image")
