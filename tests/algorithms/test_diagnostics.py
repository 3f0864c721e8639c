"""Diagnostics against plain loops, and what each algorithm tells of itself."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from probes import ActionFollowsCue, ContinuousTarget

from envs.bikkle import Bikkle
from purerl.algorithms.diagnostics import (
    action_metrics,
    gradient_metrics,
    greedy_entropy,
    keep_gradient,
    look_inside,
    policy_metrics,
)
from purerl.algorithms.dqn import DQNConfig, make_dqn
from purerl.algorithms.ppo import PPOConfig, make_ppo
from purerl.algorithms.pqn import PQNConfig, make_pqn
from purerl.algorithms.sac import SACConfig, make_sac
from purerl.compile.program import build_program
from purerl.functional.metrics import unpack
from purerl.networks import NetworkConfig, QNetworkConfig, make_actor_critic, make_q_network
from purerl.networks.probing import attention_entropy, residual_ratio
from purerl.networks.soft_actor_critic import SoftNetworkConfig, make_soft_actor_critic

SMALL = NetworkConfig(width=16, num_heads=2, feed_forward=8, head_width=0)


def value_of(metrics, name):
    return float(metrics[name].total / metrics[name].weight)


def test_the_gradient_of_each_layer_is_measured_as_by_a_loop():
    params = {
        "params": {
            "trunk": {"first": {"bias": jnp.zeros(3), "kernel": jnp.zeros((2, 3))}, "gain": jnp.zeros(2)},
            "log_std": jnp.zeros(1),
        }
    }
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    gradient = jax.random.normal(jax.random.key(0), flat.shape)
    optimizer = optax.chain(keep_gradient(), optax.clip_by_global_norm(0.1), optax.scale_by_adam())
    updates, state = optimizer.update(gradient, optimizer.init(flat))
    plain = optax.chain(optax.clip_by_global_norm(0.1), optax.scale_by_adam())
    np.testing.assert_array_equal(updates, plain.update(gradient, plain.init(flat))[0])
    metrics = unpack(gradient_metrics(state, params))
    tree = unravel(gradient)["params"]
    layers = {
        "trunk/first": [tree["trunk"]["first"]["bias"], tree["trunk"]["first"]["kernel"]],
        "trunk": [tree["trunk"]["gain"]],
        "log_std": [tree["log_std"]],
    }
    for layer, leaves in layers.items():
        numbers = np.concatenate([np.ravel(leaf) for leaf in leaves])
        assert value_of(metrics, f"gradient_norm/{layer}") == pytest.approx(np.linalg.norm(numbers), rel=1e-5)
        assert value_of(metrics, f"gradient_max/{layer}") == pytest.approx(np.abs(numbers).max(), rel=1e-5)
    assert value_of(metrics, "gradient_max") == pytest.approx(float(jnp.abs(gradient).max()), rel=1e-5)
    assert len(metrics) == 2 * len(layers) + 1


def test_attention_entropy_is_one_where_all_present_tokens_count_alike_and_zero_where_one_does():
    mask = jnp.array([[True, True], [True, True], [True, False], [False, False]])  # [N, B]
    alike = mask / mask.sum(0)
    np.testing.assert_allclose(attention_entropy(alike[None], mask), [[1.0, 1.0]], rtol=1e-6)
    one = jnp.zeros((4, 2)).at[0].set(1.0)
    np.testing.assert_array_equal(attention_entropy(one[None], mask), [[0.0, 0.0]])
    assert jnp.isnan(attention_entropy(one[None], mask.at[1:].set(False))).all()


def test_the_residual_ratio_is_that_of_lengths():
    stream, branch = jnp.array([[3.0], [4.0]]), jnp.array([[0.0], [1.0]])
    np.testing.assert_allclose(residual_ratio(branch, stream), [0.2], rtol=1e-6)


def told_of(env, network, key):
    """Parameters, and what a network tells of itself on the first observations of an environment."""
    keys = jax.random.split(key, 8)
    observation, _ = jax.vmap(env.reset_env, (0, None))(keys, env.default_params)
    params = network.init(key, observation)
    return params, unpack(look_inside(network, params, observation)[1])


@pytest.mark.parametrize(("self_layers", "block"), [(0, "SummaryAttentionBlock"), (1, "SelfAttentionBlock")])
def test_a_network_of_attention_tells_of_each_layer(self_layers, block):
    env = Bikkle(4)
    config = SMALL.replace(num_self_layers=self_layers, num_summary_layers=1 - self_layers)
    network = make_actor_critic(env, env.default_params, "attention", config)
    params, told = jax.jit(partial(told_of, env, network))(jax.random.key(0))
    assert set(params) == {"params"}
    layer = f"actor_encoder/{block}_0"
    assert set(told) == {
        f"attention_entropy/{layer}",
        f"residual_ratio/{layer}/attention",
        f"residual_ratio/{layer}/feed_forward",
    }
    assert 0 < value_of(told, f"attention_entropy/{layer}") < 1
    assert value_of(told, f"residual_ratio/{layer}/attention") > 0.05


def test_a_policy_tells_its_deviation_and_a_value_learner_how_varied_its_choices_are():
    env = ContinuousTarget()
    network = make_actor_critic(env, env.default_params, "mlp", SMALL.replace(initial_std=0.7))
    params = network.init(jax.random.key(0), jnp.ones((3, 2)))
    assert value_of(
        policy_metrics(network.apply(params, jnp.ones((3, 2)))[0]), "action_std"
    ) == pytest.approx(0.7)
    value = jnp.array([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.5]])
    assert value_of(greedy_entropy(value), "greedy_entropy") == pytest.approx(np.log(2), rel=1e-6)
    assert value_of(greedy_entropy(value[:, ::2]), "greedy_entropy") == 0


COMMON = {"num_envs": 8, "learning_rate": 1e-2}
EVERY_ALGORITHM = {"gradient_norm", "gradient_max", "explained_variance", "return_mean", "return_variance"}
EVERY_ALGORITHM |= {"learning_rate"}


def program_of(make, env, network, config, num_devices=1):
    config = config.replace(env_params=env.default_params)
    return build_program(
        partial(make, env, network), config, seed=0, num_seeds=2, total_steps=64, num_devices=num_devices
    )


def last_metrics(program):
    return unpack(jax.device_get(program.chunk(program.init())[1]))


@pytest.mark.parametrize("num_devices", [1, 2])
def test_ppo_tells_everything_and_its_layers_add_up_to_the_norm(num_devices):
    if len(jax.local_devices()) < num_devices:
        pytest.skip("one device only")
    env = ContinuousTarget()
    network = make_actor_critic(env, env.default_params, "mlp", SMALL)
    config = PPOConfig(num_steps=8, num_epochs=1, num_minibatches=1, microbatch_size=0, **COMMON)
    found = last_metrics(program_of(make_ppo, env, network, config, num_devices))
    policy = {"entropy", "action_std", "action_mean", "saturated_share", "approx_kl", "clip_fraction"}
    assert set(found) >= EVERY_ALGORITHM | policy | {"value_loss"}
    assert not [name for name in found if name.startswith(("attention_entropy", "residual_ratio"))]
    # One gradient step: what the step told is what the state kept.
    layers = [found[name] for name in found if name.startswith("gradient_norm/")]
    total = np.sqrt(sum(np.square(layer.total / layer.weight) for layer in layers))
    norm = found["gradient_norm"]
    np.testing.assert_allclose(total, norm.total / norm.weight, rtol=1e-4)
    assert total.shape == (2,)


@pytest.mark.parametrize("make", [make_pqn, make_dqn])
def test_learners_of_values_tell_what_applies_to_them(make):
    env = ActionFollowsCue(num_actions=2)
    network = make_q_network(env, env.default_params, "mlp", QNetworkConfig(width=16, head_width=0))
    config: PQNConfig | DQNConfig = PQNConfig(num_steps=8, num_epochs=1, num_minibatches=1, **COMMON)
    if make is make_dqn:
        config = DQNConfig(num_steps=8, batch_size=16, buffer_size=64, warmup_steps=8, **COMMON)
    found = last_metrics(program_of(make, env, network, config))
    assert set(found) >= EVERY_ALGORITHM | {"greedy_entropy", "loss"}
    assert {name for name in found if "/" in name} == {
        f"gradient_{kind}/{layer}"
        for kind in ("norm", "max")
        for layer in ("advantage_out", "encoder/MLP_0/Dense_0")
    }


def test_sac_tells_what_applies_to_it():
    env = ContinuousTarget()
    network = make_soft_actor_critic(env, env.default_params, "mlp", SoftNetworkConfig(width=16))
    config = SACConfig(num_steps=8, batch_size=16, buffer_size=64, warmup_steps=8, **COMMON)
    found = last_metrics(program_of(make_sac, env, network, config))
    policy = {"entropy", "action_std", "action_mean", "saturated_share", "value_loss"}
    assert set(found) >= EVERY_ALGORITHM | policy
    assert "gradient_norm/actor_out" in found


@pytest.mark.parametrize(("action", "outside"), [("xy", 0.5), ("angle", 0.0)])
def test_actions_stray_beyond_bounds_and_not_beyond_ends_that_meet(action, outside):
    # 1.5 lies beyond the bound of a step, 1; as an angle it is the direction of 0.5.
    space = Bikkle(action=action).action_space()
    actions = jnp.tile(jnp.array([[0.5], [1.5]]), space.shape)
    assert value_of(unpack(action_metrics(actions, space)), "saturated_share") == outside
