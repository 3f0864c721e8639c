"""A network that breaks its contract is refused in one line, before anything is compiled."""

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from probes import ActionFollowsCue, ContinuousTarget

from purerl.contracts import check_network
from purerl.networks import (
    MemoryConfig,
    NetworkConfig,
    QNetworkConfig,
    make_actor_critic,
    make_memory_actor_critic,
    make_q_network,
)
from purerl.networks.soft_actor_critic import SoftNetworkConfig, make_soft_actor_critic

CHOICE, NUMBER = ActionFollowsCue(num_actions=2), ContinuousTarget()
PARAMS = CHOICE.default_params
SMALL = NetworkConfig(width=8, head_width=0)


def unchanged(part):
    return part


class Mine(nn.Module):
    """As somebody would write one, batch first, in plain flax; what it changes breaks it in one place."""

    num_actions: int = 2
    carry: object = unchanged
    policy: object = unchanged
    value: object = unchanged
    start: object = unchanged
    returns: object = unchanged
    features: int = 0

    @nn.nowrap
    def initial_carry(self, batch):
        return self.start({"last": jnp.zeros((batch, 2))})

    @nn.compact
    def step(self, carry, observation, is_first):
        if self.features:
            observation = observation.reshape(-1, self.features)
        logits = nn.Dense(self.num_actions, name="logits")(observation)
        value = nn.Dense(1, name="value")(observation)[..., 0]
        out = (
            self.carry({"last": observation}),
            self.policy(distrax.Categorical(logits=logits)),
            self.value(value),
        )
        return self.returns(out)

    def next_value(self, carry, observation):
        return self.step(carry, observation, None)[2]

    def __call__(self, observation, carry, is_first):
        return self.step(carry, observation, is_first)[1:]


class Values(nn.Module):
    """Action values, batch first: the axes are the wrong way round."""

    @nn.compact
    def __call__(self, observation):
        return nn.Dense(2)(observation)


class NoSamples:
    def mode(self):
        return 0


@pytest.mark.parametrize("memory", ["none", "gru", "lstm", "transformer", "lru"])
@pytest.mark.parametrize("env", [CHOICE, NUMBER])
def test_our_networks_keep_it_with_every_memory(env, memory):
    sizes = MemoryConfig(width=8, num_heads=2, num_layers=1, length=3, feed_forward=8)
    check_network(make_memory_actor_critic(env, PARAMS, "mlp", SMALL, memory, sizes), env, PARAMS)


@pytest.mark.parametrize("env", [CHOICE, NUMBER])
def test_the_networks_of_the_other_algorithms_keep_theirs(env):
    network = make_soft_actor_critic(env, PARAMS, "mlp", SoftNetworkConfig(width=8))
    check_network(network, env, PARAMS, "soft_actor_critic")
    values = make_q_network(CHOICE, PARAMS, "mlp", QNetworkConfig(width=8))
    check_network(values, CHOICE, PARAMS, "action_values")


def refusal(network, env=CHOICE, kind="actor_critic"):
    with pytest.raises(ValueError) as refused:
        check_network(network, env, PARAMS, kind)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(type(network).__name__)
    return str(refused.value)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (
            {"value": lambda value: value[:, None]},
            "values of step are float32[5,1]; they have to be float32[5]",
        ),
        ({"value": lambda value: value.astype(jnp.float16)}, "are float16[5]; they have to be float32[5]"),
        ({"value": lambda value: value.mean()}, "values of step are float32[]"),
        ({"value": str}, "step fails with TypeError"),
        ({"carry": lambda carry: None}, "the carry of step has another structure than that of initial_carry"),
        (
            {"carry": lambda carry: {"last": carry["last"].astype(jnp.bfloat16)}},
            "the carry['last'] is float32[5,2] after initial_carry and bfloat16[5,2] after step",
        ),
        (
            {"start": lambda carry: {"last": jnp.zeros(2)}},
            "is float32[2]; its first axis has to be the batch",
        ),
        ({"policy": lambda policy: policy.logits}, "policy of step is an array without sample()"),
        ({"policy": lambda policy: NoSamples()}, "policy of step is a NoSamples without sample()"),
        ({"num_actions": 3}, "policy of step chooses among 3 actions, and the environment has 2"),
        (
            {"policy": lambda policy: distrax.Categorical(logits=policy.logits[:, None])},
            "a sample of the policy of step is int32[5,1]; the actions of the environment make it int32[5]",
        ),
        (
            {"policy": lambda policy: distrax.Normal(policy.logits[:, 0], 1.0)},
            "a sample of the policy of step is float32[5]; the actions of the environment make it int32[5]",
        ),
        ({"returns": lambda out: out[:2]}, "step returns 2 values; it has to return carry, policy, values"),
        ({"features": 3}, "init of step fails with TypeError"),
    ],
)
def test_what_is_broken_is_said_in_one_line(changed, sentence):
    check_network(Mine(), CHOICE, PARAMS)
    assert sentence in refusal(Mine(**changed))


def test_numbers_need_a_log_probability_for_each_sample_not_for_each_number():
    def normal(policy):  # one log-probability for each number instead of their sum
        return distrax.Normal(policy.logits, 1.0)

    sentence = "log_prob of the policy of step is float32[5,1]; it has to be one number for each sample"
    assert sentence in refusal(Mine(num_actions=1, policy=normal), NUMBER)


def test_an_encoder_that_rejects_the_observation_is_named_with_its_error():
    network = make_actor_critic(CHOICE, PARAMS, "mlp", SMALL)

    class Reader(nn.Module):
        @nn.compact
        def __call__(self, observation):
            return nn.Dense(8)(observation["agent"])

    assert "init of step fails with TypeError" in refusal(network.clone(encoder=Reader))


def test_a_plain_flax_module_is_an_encoder_of_ones_own():
    class Reader(nn.Module):
        @nn.compact
        def __call__(self, observation):
            return nn.tanh(nn.Dense(8)(observation))  # batch first, [5, 2] -> [5, 8]

    network = make_actor_critic(CHOICE, PARAMS, "mlp", SMALL).clone(encoder=Reader)
    check_network(network, CHOICE, PARAMS)
    shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((3, 2)))["params"]
    assert shapes["actor_encoder"]["Dense_0"]["kernel"].shape == (2, 8)
    assert shapes["actor_out"]["kernel"].shape == (8, 2)


def test_other_kinds_of_networks_are_refused_by_what_they_lack():
    assert "Values has no method initial_carry; see purerl.types.ActorCriticNetwork" in refusal(Values())
    assert "values of a call are float32[5,2]; they have to be float32[2,5]" in refusal(
        Values(), kind="action_values"
    )
    assert "action values need a choice of actions" in refusal(Values(), NUMBER, "action_values")
    assert "has no method policy" in refusal(Values(), kind="soft_actor_critic")
    of_numbers = make_soft_actor_critic(NUMBER, PARAMS, "mlp", SoftNetworkConfig(width=8))
    assert "do not fit the actions of the environment, a choice of 2" in refusal(
        of_numbers, kind="soft_actor_critic"
    )
