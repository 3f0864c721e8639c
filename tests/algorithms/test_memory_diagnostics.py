"""What networks with a memory tell of themselves, one step at a time."""

import jax
import jax.numpy as jnp
import pytest
from probes import ContinuousTarget
from test_diagnostics import SMALL, value_of

from purerl.algorithms.diagnostics import look_inside
from purerl.algorithms.ppo import PPOConfig, make_ppo
from purerl.functional.metrics import unpack
from purerl.networks import MemoryConfig, make_memory_actor_critic, memory_transformer
from purerl.networks.memory import make_memory


@pytest.fixture(scope="module")
def steps_of_a_transformer():
    """What a gated transformer tells in a step: as it starts, or with some of its parameters changed.

    Of six environments two have nothing to look back at, the others two steps.
    """
    module = make_memory("transformer", MemoryConfig(width=8, num_heads=2, length=4, feed_forward=8))()
    x = jax.random.normal(jax.random.key(0), (3, 8, 6))
    is_first = jnp.zeros((3, 6), bool).at[2, :2].set(True)

    def params_and_carry():
        params = module.init(jax.random.key(1), module.initial(6), x[0], is_first[0], method="step")
        carry = module.initial(6)
        for inputs in zip(x[:2], is_first[:2], strict=True):
            carry, _ = module.apply(params, carry, *inputs, method="step")
        return params, carry

    params, carry = jax.jit(params_and_carry)()

    @jax.jit
    def tell_all(params):
        return unpack(look_inside(module, params, carry, x[2], is_first[2], method="step")[1])

    def tell(**changes):
        """`changes`: what becomes of leaves of that name."""
        change = lambda path, leaf: changes.get(path[-1].key, jnp.asarray)(leaf)  # noqa: E731
        return tell_all(jax.tree_util.tree_map_with_path(change, params))

    return tell, lambda: module.apply(params, carry, x[2], is_first[2], method="step")


def test_a_gated_transformer_tells_of_each_layer(steps_of_a_transformer):
    told = steps_of_a_transformer[0]()
    layers = ("layers_0", "layers_1")
    parts = [f"{layer}/{part}" for layer in layers for part in ("attention", "feed_forward")]
    assert set(told) == {
        *(f"attention_entropy/{layer}" for layer in layers),
        *(f"residual_ratio/{part}" for part in parts),
    }
    assert all(0.1 < value_of(told, f"attention_entropy/{layer}") < 1 for layer in layers)
    assert all(0.01 < value_of(told, f"residual_ratio/{part}") < 1 for part in parts)


def test_a_gated_transformer_that_cannot_tell_steps_apart_attends_to_all_of_them_alike(
    steps_of_a_transformer,
):
    # Keys and positions of 0: all scores are 0. Those who have no past do not count.
    told = steps_of_a_transformer[0](key=jnp.zeros_like, position=jnp.zeros_like)
    assert value_of(told, "attention_entropy/layers_1") == pytest.approx(1.0, abs=1e-6)
    loud = steps_of_a_transformer[0](key=lambda kernel: 1e3 * kernel)
    assert value_of(loud, "attention_entropy/layers_1") < 0.01


def test_a_closed_gate_adds_nothing_to_the_stream(steps_of_a_transformer):
    # The biases of other layers move, too, but no gate lets them through.
    told = steps_of_a_transformer[0](bias=lambda bias: bias - 30.0)
    assert value_of(told, "residual_ratio/layers_0/attention") < 1e-6
    assert value_of(told, "residual_ratio/layers_1/feed_forward") < 1e-6


def test_nothing_is_computed_where_nobody_asks(steps_of_a_transformer, monkeypatch):
    def fail(*_):
        raise AssertionError("computed")

    for name in ("attention_entropy", "residual_ratio"):
        monkeypatch.setattr(memory_transformer, name, fail)
    steps_of_a_transformer[1]()


def test_ppo_with_a_memory_tells_of_its_trunk():
    env = ContinuousTarget()
    memory = MemoryConfig(width=8, num_heads=2, num_layers=1, length=4, feed_forward=8)
    network = make_memory_actor_critic(env, env.default_params, "mlp", SMALL, "transformer", memory)
    algorithm = make_ppo(env, network)
    config = PPOConfig(num_envs=8, num_steps=8, microbatch_size=0, env_params=env.default_params)
    state = jax.eval_shape(algorithm.init, jax.random.key(0), config)
    told = jax.eval_shape(algorithm.diagnose, state, config)
    assert {name for name in told.names if name.startswith(("attention", "residual"))} == {
        "attention_entropy/actor_trunk/remember/layers_0",
        "residual_ratio/actor_trunk/remember/layers_0/attention",
        "residual_ratio/actor_trunk/remember/layers_0/feed_forward",
    }
