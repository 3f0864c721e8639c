"""Networks of SAC: what reads what, and what learns from what."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import ActionFollowsCue, ContinuousTarget

from envs.bikkle import Bikkle
from purerl.networks.soft_actor_critic import SoftNetworkConfig, make_soft_actor_critic

KEYS = jax.random.split(jax.random.key(0), 3)


@pytest.mark.parametrize("shared", [False, True])
def test_attention_reads_tokens_and_a_shared_encoder_learns_from_the_critics_alone(shared):
    env = Bikkle(2)
    config = SoftNetworkConfig(width=8, num_heads=2, head_width=16, shared_encoder=shared, layer_norm=True)
    network = make_soft_actor_critic(env, env.default_params, "attention", config)

    @jax.jit
    def start_and_slope(keys):
        observation = jax.vmap(env.reset_env, (0, None))(keys, env.default_params)[0]
        params = network.init(jax.random.key(0), observation, jnp.zeros((3, 2)))
        mean = lambda params: network.apply(params, observation, method="policy").mean.sum()  # noqa: E731
        return params, jax.grad(mean)(params)

    params, gradient = start_and_slope(KEYS)
    moved = {name for name, part in gradient["params"].items() if any(map(jnp.any, jax.tree.leaves(part)))}
    assert moved == {"actor_out", "actor_hidden"} | (set() if shared else {"actor_encoder"})
    assert ("actor_encoder" in params["params"]) != shared


def test_the_target_of_one_critic_is_not_that_of_the_other():
    env = ContinuousTarget()
    network = make_soft_actor_critic(env, env.default_params, "mlp", SoftNetworkConfig(num_critics=3))
    observation, action = jnp.ones((4, 2)), jnp.ones((4, 1))
    params = network.init(jax.random.key(0), observation, action)
    _, value = network.apply(params, observation, action)
    assert value.shape == (3, 4)
    assert len(np.unique(np.asarray(value[:, 0]))) == 3


def test_discrete_critics_value_every_action():
    env = ActionFollowsCue(num_actions=5)
    network = make_soft_actor_critic(env, env.default_params, "mlp", SoftNetworkConfig())
    observation, action = jnp.ones((4, 2)), jnp.zeros(4, jnp.int32)
    policy, value = network.apply(network.init(jax.random.key(0), observation, action), observation, action)
    assert value.shape == (2, 4, 5)
    assert policy.logits.shape == (4, 5)


def test_a_head_that_cannot_join_action_and_features_is_refused():
    env = Bikkle(2)
    with pytest.raises(ValueError, match="head_width = 0 leaves critics no layer"):
        make_soft_actor_critic(env, env.default_params, "attention", SoftNetworkConfig(head_width=0))
