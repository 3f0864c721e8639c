"""What is PPO's own; what all algorithms keep is in `test_contract.py`."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import ContinuousTarget, RewardIsCue

from envs.bikkle import Bikkle
from purerl.algorithms.epochs import num_microbatches
from purerl.algorithms.ppo import PPOConfig, make_ppo
from purerl.compile.program import sweep, train
from purerl.networks import NetworkConfig, make_actor_critic

SMALL = NetworkConfig(width=16, head_width=0, activation="tanh", shared_encoder=False)
CONFIG = PPOConfig(
    num_envs=16,
    num_steps=8,
    num_epochs=4,
    num_minibatches=4,
    microbatch_size=0,
    learning_rate=1e-2,
    gamma=0.5,
    normalize_rewards=False,
    stagger=False,
)
SEEDS = jax.vmap(jax.random.key)(jnp.arange(5))


def learn(env, num_updates=60, **changes):
    """Trained learners of five seeds, the network and the metrics."""
    params = env.default_params
    network = make_actor_critic(env, params, "mlp", SMALL)
    config = CONFIG.replace(env_params=params, total_updates=num_updates, **changes)
    algorithm = make_ppo(env, network)
    state, metrics = jax.jit(lambda keys: sweep(algorithm, config, keys, num_updates))(SEEDS)
    return state.learner, network, metrics


def outputs(network, learner, observation):
    """The most likely actions [S, B, ...] and the values [S, B] of all seeds."""

    def apply(params):
        policy, value = network.apply(params, observation)
        return policy.mode(), value

    return jax.vmap(apply)(learner.params)


def test_a_continuous_policy_learns_where_to_go():
    learner, network, _ = learn(ContinuousTarget(), num_updates=150)
    action, _ = outputs(network, learner, jnp.array([[1.0, 1.0], [-1.0, 1.0]]))
    np.testing.assert_allclose(action[..., 0], np.tile([0.5, -0.5], (5, 1)), atol=0.15)


@pytest.mark.parametrize(("name", "normalized"), [("deepsets", False), ("attention", True)])
def test_the_ratio_is_one_before_the_first_gradient_step(name, normalized):
    # One minibatch, one epoch: everything measured in an update is measured before its only step. In the
    # second update, the moments of the observations have moved.
    env = Bikkle(4)
    network = make_actor_critic(env, env.default_params, name, NetworkConfig(width=16))
    config = CONFIG.replace(env_params=env.default_params, num_epochs=1, num_minibatches=1)
    config = config.replace(normalize_observations=normalized)
    _, metrics = jax.jit(partial(train, make_ppo(env, network), num_updates=2))(config, jax.random.key(0))
    assert (metrics["approx_kl"] < 1e-10).all()
    assert (metrics["clip_fraction"] == 0).all()


def test_microbatches_change_nothing_but_the_speed():
    env = RewardIsCue()
    network = make_actor_critic(env, env.default_params, "mlp", SMALL)

    def params(microbatch_size):
        config = CONFIG.replace(
            num_epochs=1, env_params=env.default_params, microbatch_size=microbatch_size, learning_rate=1e-3
        )
        state, _ = jax.jit(partial(train, make_ppo(env, network), num_updates=1))(config, jax.random.key(0))
        return state.learner.params

    jax.tree.map(partial(np.testing.assert_allclose, atol=2e-5), params(0), params(8))


def test_a_minibatch_is_cut_into_the_fewest_equal_parts():
    assert num_microbatches(1024, 128) == 8
    assert num_microbatches(100, 30) == 4  # 4 x 25; 100 does not go into 3
    assert num_microbatches(7, 3) == 7  # a prime number
    assert num_microbatches(64, 0) == 1
