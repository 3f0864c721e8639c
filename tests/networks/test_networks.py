"""Set encoders do not care about order or padding, and what is absent has no influence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax.errors import FlaxError

from envs.bikkle import Bikkle
from purerl.networks import NetworkConfig, make_actor_critic
from purerl.networks.kernels.attention import attend, attention_pool
from purerl.networks.kernels.dense import add_bias, matmul
from purerl.networks.layers import Layer
from purerl.types import TokenGroup

CONFIGS = {
    "attention": NetworkConfig(width=16, num_heads=2),
    "self-attention": NetworkConfig(width=16, num_heads=2, num_self_layers=1, num_summary_layers=0),
    "deepsets": NetworkConfig(width=16),
}


def observe(key, num_pellets=4, batch=3):
    """A batch of observations as the arena makes them, with values that are not degenerate."""
    keys = jax.random.split(key, 5)
    ones = jnp.ones((batch, 1), bool)
    return {
        "agent": TokenGroup(jax.random.normal(keys[0], (batch, 1, 2)), ones, 0),
        "pellets": TokenGroup(
            jax.random.normal(keys[1], (batch, num_pellets, 3)), jnp.ones((batch, num_pellets), bool), 1
        ),
        "gaze": TokenGroup(jax.random.normal(keys[2], (batch, 1, 2)), ones, 2),
        "round": TokenGroup(jax.random.normal(keys[3], (batch, 1, 1)), ones, 3),
    }


def make(name):
    env = Bikkle(4)
    network = make_actor_critic(env, env.default_params, name.replace("self-", ""), CONFIGS[name])
    params = jax.jit(network.init)(jax.random.key(0), observe(jax.random.key(1)))
    # The policy head starts near zero; moved away from it, so that equality means something.
    params = jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(2), leaf.shape), params)
    return jax.jit(lambda params, observation: outputs(network, params, observation)), params


def outputs(network, params, observation):
    policy, value = network.apply(params, observation)
    return jnp.concatenate([policy.mode(), value[:, None]], axis=1)


@pytest.mark.parametrize("name", CONFIGS)
def test_permuting_the_members_of_the_set_changes_nothing(name):
    apply, params = make(name)
    observation = observe(jax.random.key(3))
    turned = observation | {"pellets": jax.tree.map(lambda leaf: leaf[:, ::-1], observation["pellets"])}
    np.testing.assert_allclose(apply(params, observation), apply(params, turned), atol=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_padding_the_set_changes_nothing_whatever_the_padding_holds(name):
    apply, params = make(name)
    observation = observe(jax.random.key(3))
    pellets = observation["pellets"]
    padded = TokenGroup(
        jnp.concatenate([pellets.values, jnp.full((3, 4, 3), 1e3)], axis=1),
        jnp.concatenate([pellets.mask, jnp.zeros((3, 4), bool)], axis=1),
        1,
    )
    np.testing.assert_allclose(
        apply(params, observation), apply(params, observation | {"pellets": padded}), atol=1e-5
    )


@pytest.mark.parametrize("name", CONFIGS)
def test_an_absent_gaze_has_no_influence_and_a_present_one_has(name):
    apply, params = make(name)
    observation = observe(jax.random.key(3))

    def total(gaze, present):
        group = TokenGroup(gaze, jnp.full((3, 1), present), 2)
        return apply(params, observation | {"gaze": group}).sum()

    gradient = jax.grad(total)
    assert (gradient(observation["gaze"].values, False) == 0).all()
    assert (gradient(observation["gaze"].values, True) != 0).any()


def test_the_mlp_does_not_see_the_values_of_absent_tokens_either():
    env = Bikkle(4)
    network = make_actor_critic(env, env.default_params, "mlp", NetworkConfig(width=16))
    observation = observe(jax.random.key(3))
    params = network.init(jax.random.key(0), observation)
    absent = TokenGroup(observation["gaze"].values, jnp.zeros((3, 1), bool), 2)
    moved = TokenGroup(absent.values + 5.0, absent.mask, 2)
    first, second = (outputs(network, params, observation | {"gaze": gaze}) for gaze in (absent, moved))
    assert (first == second).all()


def reference_attend(query, key, value, mask):
    """Multi-head attention as in the textbook, by einsum and softmax."""
    scores = jnp.einsum("hdqb,hdnb->hqnb", query, key)
    weights = jax.nn.softmax(jnp.where(mask[None, None], scores, -jnp.inf), axis=2)
    return jnp.einsum("hqnb,hdnb->hdqb", weights, value)


def reference_pool(query, tokens, mask, scale):
    scores = scale * jnp.einsum("hwb,wnb->hnb", query, tokens)
    weights = jax.nn.softmax(jnp.where(mask[None], scores, -jnp.inf), axis=1)
    return jnp.einsum("hnb,wnb->hwb", weights, tokens)


@pytest.mark.parametrize("kernel", ["attend", "attention_pool"])
def test_attention_and_its_gradients_equal_the_textbook(kernel):
    keys = jax.random.split(jax.random.key(0), 5)
    mask = jax.random.bernoulli(keys[3], 0.6, (6, 7)).at[0].set(True)
    if kernel == "attend":
        arguments = [
            jax.random.normal(k, shape)
            for k, shape in zip(keys, [(2, 4, 5, 7)] + 2 * [(2, 4, 6, 7)], strict=False)
        ]
        ours = lambda *xs: attend(*xs, mask)  # noqa: E731
        textbook = lambda *xs: reference_attend(*xs, mask)  # noqa: E731
    else:
        arguments = [jax.random.normal(keys[0], (3, 4, 7)), jax.random.normal(keys[1], (4, 6, 7))]
        ours = lambda *xs: attention_pool(*xs, mask, 0.7)  # noqa: E731
        textbook = lambda *xs: reference_pool(*xs, mask, 0.7)  # noqa: E731
    result, backward = jax.vjp(ours, *arguments)
    expected, expected_backward = jax.vjp(textbook, *arguments)
    cotangent = jax.random.normal(keys[4], result.shape)
    for a, b in zip((result, *backward(cotangent)), (expected, *expected_backward(cotangent)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("samples", [1, 2, 17])  # few columns are turned before the product
def test_an_affine_map_and_its_gradient_are_those_of_einsum(samples):
    kernel, bias = jax.random.normal(jax.random.key(0), (3, 5)), jnp.arange(5.0)
    x = jax.random.normal(jax.random.key(1), (3, 4, samples))
    result, backward = jax.vjp(lambda kernel, bias, x: add_bias(matmul(kernel, x), bias), kernel, bias, x)
    plain = lambda kernel, bias, x: jnp.einsum("fg,fnb->gnb", kernel, x) + bias[:, None, None]  # noqa: E731
    expected, expected_backward = jax.vjp(plain, kernel, bias, x)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)
    for a, b in zip(backward(result), expected_backward(result), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_parameters_are_initialized_once_and_looked_up_afterwards():
    drawn = []

    class Bias(Layer):
        @nn.compact
        def __call__(self, x):
            return x + self.param("bias", lambda key, shape: drawn.append(shape) or jnp.ones(shape), x.shape)

    params = Bias().init(jax.random.key(0), jnp.zeros(3))
    assert drawn == [(3,)]
    assert (Bias().apply(params, jnp.zeros(3)) == 1).all()
    assert drawn == [(3,)]
    with pytest.raises(FlaxError):
        Bias().apply({}, jnp.zeros(3))


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("attention", NetworkConfig(width=30, num_heads=4), "does not divide width = 30"),
        ("attention", NetworkConfig(num_self_layers=0, num_summary_layers=0), "at least one layer"),
        ("mlp", NetworkConfig(width=0), "width = 0 must be at least 1"),
        ("mlp", NetworkConfig(initial_std=-1.0), "initial_std = -1.0 must be above 0"),
    ],
)
def test_sizes_that_cannot_be_built_are_refused_with_the_numbers(name, config, message):
    env = Bikkle(4)
    with pytest.raises(ValueError, match=message):
        make_actor_critic(env, env.default_params, name, config)


def test_sets_need_tokens():
    env = Bikkle(4, observation="flat")
    with pytest.raises(ValueError, match="use network 'mlp'"):
        make_actor_critic(env, env.default_params, "attention")
