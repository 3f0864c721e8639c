"""Aids to training: a step size that follows the KL, precision, residual streams."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import ActionFollowsCue

from purerl import ranges
from purerl.algorithms.ppo import PPOConfig, adapted_rate, make_ppo
from purerl.compile.program import train
from purerl.networks import NetworkConfig, make_actor_critic
from purerl.networks.kernels.dense import matmul
from purerl.networks.sets import SetAttentionEncoder
from purerl.types import TokenGroup

ENV = ActionFollowsCue(num_actions=2)
NETWORK = make_actor_critic(
    ENV,
    ENV.default_params,
    "mlp",
    NetworkConfig(width=16, head_width=0, activation="tanh", shared_encoder=False),
)
CONFIG = PPOConfig(
    num_envs=16,
    num_steps=8,
    num_epochs=2,
    num_minibatches=2,
    microbatch_size=0,
    learning_rate=1e-2,
    gamma=0.5,
    normalize_rewards=False,
    stagger=False,
    env_params=ENV.default_params,
)


def learn(num_updates, **changes):
    config = CONFIG.replace(total_updates=num_updates, **changes)
    return jax.jit(partial(train, make_ppo(ENV, NETWORK), config, num_updates=num_updates))(jax.random.key(0))


def mean(metrics, name):
    return np.asarray(metrics[name])


def test_the_step_size_falls_above_twice_the_target_and_rises_below_half_of_it():
    kl = jnp.array([0.0201, 0.0199, 0.0051, 0.0049])
    np.testing.assert_allclose(adapted_rate(3e-3, kl, 0.01), [2e-3, 3e-3, 3e-3, 4.5e-3], rtol=1e-6)
    np.testing.assert_allclose(adapted_rate(1.2e-5, kl[:1], 0.01), 1e-5, rtol=1e-6)
    np.testing.assert_allclose(adapted_rate(9e-3, kl[-1:], 0.01), 1e-2, rtol=1e-6)


def test_the_step_size_in_force_follows_the_kl_of_each_update():
    state, metrics = learn(12, kl_target=0.01, learning_rate=1e-4)
    rate, kl = mean(metrics, "learning_rate"), mean(metrics, "approx_kl")
    expected = [1e-4]
    for each in kl:
        expected.append(float(adapted_rate(jnp.float32(expected[-1]), each, 0.01)))
    np.testing.assert_allclose(rate, expected[:-1], rtol=1e-5)
    np.testing.assert_allclose(state.learner.rate, expected[-1], rtol=1e-5)
    assert len(set(rate)) > 3
    assert jax.eval_shape(make_ppo(ENV, NETWORK).init, jax.random.key(0), CONFIG).learner.rate is None


def test_products_are_rounded_to_bfloat16_and_summed_in_float32():
    kernel, x = jax.random.normal(jax.random.key(0), (2, 64, 512))
    product = lambda: jax.vjp(matmul, kernel, x)  # noqa: E731
    exact, exact_back = product()
    with jax.default_matmul_precision("bfloat16"):
        rounded, rounded_back = product()
    half = lambda array: np.asarray(array.astype(jnp.bfloat16), np.float32)  # noqa: E731
    np.testing.assert_allclose(rounded, half(kernel).T @ half(x), rtol=1e-4, atol=1e-4)
    assert rounded.dtype == jnp.float32 and abs(rounded - exact).max() > 1e-3
    for a, b in zip(rounded_back(exact), exact_back(exact), strict=True):
        assert a.dtype == jnp.float32
        np.testing.assert_allclose(a, b, rtol=0.05, atol=0.02 * float(jnp.abs(b).max()))


def test_a_policy_of_bfloat16_products_has_float32_parameters_and_a_ratio_of_one():
    state, metrics = learn(2, precision="bfloat16", num_epochs=1, num_minibatches=1)
    assert {leaf.dtype for leaf in jax.tree.leaves(state.learner.params)} == {jnp.dtype("float32")}
    assert (mean(metrics, "approx_kl") < 1e-10).all()
    exact, _ = learn(2, num_epochs=1, num_minibatches=1)
    spread = jax.tree.map(lambda a, b: abs(a - b).max(), state.learner.params, exact.learner.params)
    assert 0 < max(jax.tree.leaves(spread)) < 0.1


def tokens(key):
    values = jax.random.normal(key, (4, 3, 2))
    here = jnp.ones((4, 1), bool)
    return {
        "agent": TokenGroup(values=jnp.ones((4, 1, 2)), mask=here, kind=0),
        "others": TokenGroup(values=values, mask=jnp.ones((4, 3), bool), kind=1),
    }


def encode(observation, **options):
    encoder = SetAttentionEncoder(width=8, num_heads=2, feed_forward=8, **options)
    params = jax.jit(encoder.init)(jax.random.key(0), observation)
    return np.asarray(jax.jit(encoder.apply)(params, observation)), params["params"]


@pytest.mark.parametrize(
    "layers", [{"num_summary_layers": 2}, {"num_self_layers": 2, "num_summary_layers": 0}]
)
def test_where_a_network_normalizes(layers):
    observation = tokens(jax.random.key(1))
    norms = {}
    for where in ("pre", "post", "none"):
        out, params = encode(observation, normalization=where, **layers)
        paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(params)[0]]
        norms[where] = sum("LayerNorm" in path for path in paths) // 2
        centered = abs(out.mean(1)).max() < 1e-5
        assert centered == (where != "none")
    assert norms == {"pre": 5, "post": 4, "none": 0}


def test_residual_branches_that_start_at_zero_add_nothing():
    one, other = tokens(jax.random.key(1)), tokens(jax.random.key(2))
    np.testing.assert_array_equal(*(encode(each, residual_start="zero")[0] for each in (one, other)))
    assert abs(encode(one)[0] - encode(other)[0]).max() > 0.01


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kl_target": -0.01}, "kl_target = -0.01 must be at least 0"),
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        ranges.check(CONFIG.replace(**changes))
