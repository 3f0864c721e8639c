"""Samples that are not learned from, of levels that are to be scored alone, count in nothing that learns."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import ActionFollowsCue

from purerl.algorithms.off_policy import importance_weights
from purerl.algorithms.on_policy import Training
from purerl.algorithms.on_policy_parts import OnPolicy, Samples
from purerl.algorithms.ppo import PPOConfig, follow_kl, make_ppo, ppo_loss
from purerl.algorithms.pqn import PQNConfig, make_pqn
from purerl.functional.losses import return_metrics
from purerl.functional.metrics import as_means, unpack
from purerl.networks import NetworkConfig, QNetworkConfig, make_actor_critic, make_q_network
from purerl.rollout.levels import fresh_levels, pool_size

ENV = ActionFollowsCue(num_actions=2)
PARAMS = ENV.default_params
NETWORK = make_actor_critic(
    ENV, PARAMS, "mlp", NetworkConfig(width=8, head_width=0, activation="tanh", shared_encoder=False)
)
CONFIG = PPOConfig(
    num_envs=4, num_steps=4, num_epochs=2, num_minibatches=2, env_params=PARAMS, kl_target=0.01
)


def batch_of(weight, log_prob=-0.7):
    """16 samples, leaves [4, 4, ...], of which those of the last two environments are as `log_prob` says."""
    random = np.random.default_rng(0)
    shape = 4, 4
    return Samples(
        observation=jnp.asarray(random.choice([-1.0, 1.0], (*shape, 2)), jnp.float32),
        action=jnp.asarray(random.integers(0, 2, shape)),
        log_prob=jnp.full(shape, -0.7).at[:, 2:].set(log_prob),
        value=jnp.asarray(random.normal(size=shape), jnp.float32),
        advantage=jnp.asarray(random.normal(size=shape), jnp.float32),
        target=jnp.asarray(random.normal(size=shape), jnp.float32),
        weight=jnp.broadcast_to(weight, shape).astype(jnp.float32),
    )


@pytest.fixture(scope="module")
def learner():
    state = make_ppo(ENV, NETWORK).init(jax.random.key(0), CONFIG)
    momentum = jax.tree.map(lambda leaf: leaf + 1, state.learner.optimizer)
    return state.learner.replace(optimizer=momentum)


def test_metrics_and_gradients_are_those_of_the_learned_samples_alone(learner):
    flat = lambda tree: jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), tree)  # noqa: E731
    some = batch_of(jnp.array([2.0, 2.0, 0.0, 0.0]), log_prob=-1e4)  # the ratio of the others is infinite
    alone = jax.tree.map(lambda leaf: leaf[:, :2], batch_of(1.0))
    grad = jax.jit(jax.grad(partial(ppo_loss, NETWORK, config=CONFIG), has_aux=True))
    (gradient, told), (gradient_alone, told_alone) = (
        grad(learner.params, flat(each)) for each in (some, alone)
    )
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), gradient, gradient_alone)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5), unpack(told), unpack(told_alone))
    assert told["approx_kl"].weight == 8


def test_a_rollout_without_a_sample_to_learn_from_moves_nothing(learner):
    parts = OnPolicy(name="PPO", loss=ppo_loss, targets=None, adapt=follow_kl)
    training = Training(ENV, NETWORK, parts, fresh_levels(ENV), axis_name=None)
    step = jax.jit(partial(training.learn, config=CONFIG))
    key, rate = jax.random.key(1), jnp.float32(1e-3)
    after, _ = step(learner, batch_of(0.0), key, rate)
    for before_leaf, after_leaf in zip(jax.tree.leaves(learner), jax.tree.leaves(after), strict=True):
        np.testing.assert_array_equal(before_leaf, after_leaf)
    moved, _ = step(learner, batch_of(1.0), key, rate)
    assert (
        max(jax.tree.leaves(jax.tree.map(lambda a, b: abs(a - b).max(), moved.params, learner.params))) > 1e-4
    )
    assert moved.rate != rate


def test_means_over_what_counts():
    # Of 1, 2, 6 and NaN the second and third count: 8 over 2; the variance of 2 and 6 is 4, and half the
    # values leave residuals of 1 and 3, whose variance is 1: three quarters are explained.
    values, counts = jnp.array([1.0, 2.0, 6.0, jnp.nan]), jnp.array([False, True, True, False])
    mean = as_means({"value": values}, counts)["value"]
    assert (mean.total, mean.weight) == (8.0, 2.0)
    told = return_metrics(values / 2, values, counts)
    assert told["return_variance"].total == 4.0
    assert told["explained_variance"].total == 0.75
    nothing = return_metrics(values, values, jnp.zeros(4, bool))
    assert (nothing["return_variance"].total, nothing["return_variance"].weight) == (0.0, 0.0)


def test_importance_weights_are_divided_by_the_highest_of_all_shards():
    # Exponent 1/2: roots of 1, 4, 16 and 0, over the highest, 4; a weight of 0 is no step at any exponent.
    weight = jnp.array([[1.0, 4.0], [16.0, 0.0]])
    sharded = jax.vmap(partial(importance_weights, axis_name="shard"), (0, None), axis_name="shard")
    np.testing.assert_allclose(sharded(weight, 0.5), [[0.25, 0.5], [1.0, 0.0]])
    np.testing.assert_allclose(sharded(weight, 0.0), [[1.0, 1.0], [1.0, 0.0]])
    whole = importance_weights(weight.ravel(), 0.5, None)
    np.testing.assert_array_equal(sharded(weight, 0.5).ravel(), whole)


def test_one_environment_has_a_pool_of_levels_to_go_through():
    # 64 at least where the number is left open, dealt out to shards; otherwise as many as are asked for.
    assert [pool_size(0, 1, 1), pool_size(0, 256, 2), pool_size(0, 1, 4)] == [64, 128, 16]
    assert [pool_size(3, 1, 1), pool_size(3, 8, 2), pool_size(1, 8, 2)] == [3, 1, 1]
    q_network = make_q_network(ENV, PARAMS, "mlp", QNetworkConfig(width=8, layer_norm=True))
    for algorithm, config in (
        (make_ppo(ENV, NETWORK), CONFIG),
        (make_pqn(ENV, q_network), PQNConfig(env_params=PARAMS)),
    ):
        init = lambda key: algorithm.init(key, config.replace(num_envs=1))  # noqa: B023, E731
        assert jax.eval_shape(init, jax.random.key(0)).curriculum.pool.learnable.shape == (64,)
