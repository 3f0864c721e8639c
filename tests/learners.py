"""The algorithms, as `algorithms/test_contract.py` and others take them: a new one enters by one line.

`LEARNERS` is the table. An entry says how to make the algorithm and how large, what it must learn, which
configurations it must refuse, and which cases do not apply to it and why.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from probes import Ruled, Rules

from purerl.algorithms import c51 as distributional
from purerl.algorithms.a2c import A2CConfig, make_a2c
from purerl.algorithms.c51 import C51Config, make_c51
from purerl.algorithms.dqn import DQNConfig, make_dqn
from purerl.algorithms.grpo import GRPOConfig, make_grpo
from purerl.algorithms.ppo import PPOConfig, make_ppo
from purerl.algorithms.pqn import PQNConfig, make_pqn
from purerl.algorithms.reinforce import ReinforceConfig, make_reinforce
from purerl.algorithms.sac import SACConfig, make_sac
from purerl.algorithms.td3 import TD3Config, make_td3
from purerl.functional.normalize import normalize_observation
from purerl.networks import (
    MemoryConfig,
    NetworkConfig,
    QNetworkConfig,
    make_actor_critic,
    make_memory_actor_critic,
    make_q_network,
)
from purerl.networks.soft_actor_critic import SoftNetworkConfig, make_soft_actor_critic

PARAMS = Rules()
CUES = jnp.array([[1.0, 1.0], [-1.0, 1.0]])
"""What is seen where the cue is 1, and where it is -1."""

# 7 steps: with episodes of three steps and of two, rollouts end at ends of episodes, and between them.
ROLLOUT = {
    "num_envs": 16, "num_steps": 7, "num_epochs": 2, "num_minibatches": 4, "microbatch_size": 0,
    "learning_rate": 1e-2, "gamma": 0.5, "env_params": PARAMS,
}  # fmt: skip
PPO = PPOConfig(normalize_rewards=False, **ROLLOUT)
REPLAY = {
    "num_envs": 16, "num_steps": 16, "num_gradient_steps": 4, "batch_size": 32, "buffer_size": 800,
    "warmup_steps": 32, "learning_rate": 1e-2, "gamma": 0.5, "env_params": PARAMS,
}  # fmt: skip
TRIES = {"final_epsilon": 0.5}
"""Every action often enough to learn its value."""
DQN = DQNConfig(target_every=10, **TRIES, **REPLAY)
C51 = C51Config(target_every=10, num_atoms=31, value_min=-5.0, value_max=5.0, **TRIES, **REPLAY)
TD3 = TD3Config(tau=0.05, final_learning_rate=0.0, exploration_noise=0.3, **REPLAY)
SAC = SACConfig(
    tau=0.05, temperature_learning_rate=1e-2, initial_temperature=0.1, final_learning_rate=0.0,
    entropy_per_dimension=-3.0, entropy_share=0.1, num_return_steps=3, event_share=0.25, **REPLAY,
)  # fmt: skip


def actor_critic(env):
    net = NetworkConfig(width=16, head_width=0, activation="tanh", shared_encoder=False)
    return make_actor_critic(env, env.default_params, "mlp", net)


def gru(env):
    net = NetworkConfig(width=16, head_width=0, activation="tanh", shared_encoder=False)
    memory = MemoryConfig(width=16, num_heads=2, num_layers=1, length=3, feed_forward=8)
    return make_memory_actor_critic(env, env.default_params, "mlp", net, "gru", memory)


def q_network(env):
    config = QNetworkConfig(width=16, head_width=16, layer_norm=True)
    return make_q_network(env, env.default_params, "mlp", config)


def soft_actor_critic(env):
    config = SoftNetworkConfig(width=16, head_width=0, activation="tanh")
    return make_soft_actor_critic(env, env.default_params, "mlp", config)


def state_value(network, learner, observation):
    """Of the states, [B], at the beginning of an episode."""
    if learner.observation_moments is not None:
        observation = normalize_observation(learner.observation_moments, observation)
    carry, is_first = network.initial_carry(len(observation)), jnp.ones(len(observation), bool)
    return network.apply(learner.params, carry, observation, is_first, method="step")[2]


def action_values(network, learner, observation):
    """Of all actions, [A, B]."""
    return network.apply(learner.params, observation)


def expected_values(network, learner, observation):
    """Of all actions, [A, B], as means of the distributions that are learned."""
    count = len(learner.support)
    out = distributional.widened(network, count).apply(learner.params, observation)
    return distributional.expected(distributional.by_atom(out, count), learner.support)


def critics_values(network, learner, observation):
    """Of both critics, [K, B] for an action of 0, or [A, K, B] of all."""
    features = network.apply(learner.params, observation, method="features")
    action = jnp.zeros((len(observation), network.action_size))
    return jnp.moveaxis(network.apply(learner.params, features, action, method="values"), 1, -1)


# What metrics tell before a step has moved anything, where every episode is one step with a reward of 1, and
# what they tell where it is one of 3.


def ratio_is_one(one, three):
    for told in (one, three):
        np.testing.assert_allclose(told["approx_kl"], 0.0, atol=1e-10)
        np.testing.assert_array_equal(told["clip_fraction"], 0.0)


def error_is_reward_less_value(one, three):
    """With values below 1, as they are at first."""
    np.testing.assert_allclose(one["td_error"], 1.0 - one["q_value"], rtol=1e-5)
    np.testing.assert_allclose(three["td_error"], 3.0 - three["q_value"], rtol=1e-5)


def returns_are_rewards(one, three):
    np.testing.assert_allclose(one["return_mean"], 1.0, rtol=1e-5)
    np.testing.assert_allclose(three["return_mean"], 3.0, rtol=1e-5)


def loss_of_critics_is_half_the_squared_error(one, three):
    """Two critics: (3 - q)^2 / 2 - (1 - q)^2 / 2 = 4 - 2 q for each, 8 - 4 q for both."""
    gap = three["value_loss"] - one["value_loss"]
    np.testing.assert_allclose(gap, 8.0 - 4.0 * one["action_value"], rtol=1e-5)


@dataclass(frozen=True)
class Learner:
    """One algorithm of the table.

    Attributes:
        make: `(env, network, axis_name) -> Algorithm`.
        network: `(env) -> network`.
        config: small sizes, and numbers with which it learns quickly.
        first_step: what metrics must tell before the first step; see above.
        values: what is expected to be worth what; see above. None where there is no critic.
        continuous: whether its actions are numbers.
        still: what else keeps it from moving, beside a learning rate of 0.
        relations: changes that break what options must keep together, and the message.
        any_number: numeric fields of which nothing is refused.
        num_updates: in which it learns what it must.
        rounds: parts of an update, each with a learning rate of its own.
        skips: cases that do not apply, and why.
    """

    make: Callable[..., Any]
    network: Callable[[Any], Any]
    config: Any
    first_step: Callable[[Mapping[str, np.ndarray], Mapping[str, np.ndarray]], None]
    values: Callable[..., jax.Array] | None
    continuous: bool = False
    still: Mapping[str, float] = field(default_factory=dict)
    relations: tuple[tuple[Mapping[str, Any], str], ...] = ()
    any_number: frozenset[str] = frozenset()
    num_updates: int = 60
    rounds: int = 1
    skips: Mapping[str, str] = field(default_factory=dict)

    def env(self, flags="bool"):
        """Its probe environment; `flags` is the dtype in which that says that an episode ends."""
        return Ruled(continuous=self.continuous, flags=flags)

    def check(self, config):
        """Refuses a configuration by a ValueError."""
        self.on(self.env()).check(config, 1)

    def on(self, env, axis_name=None):
        """The algorithm on an environment."""
        return self.make(env, self.network(env), axis_name)


EPOCHS = (({"num_minibatches": 3}, r"num_envs \* num_steps = 112 is not divisible by num_minibatches = 3"),)
EVENTS = (
    ({"event_share": 0.0, "event_size": 0.5}, r"event_size = 0\.5 has no meaning without event_share"),
    # 0.01 of 32 samples are 0.32, which no batch can have; 1 / 32 = 0.031 is one sample.
    ({"event_share": 0.01}, r"less than one sample; try event_share = 0\.04"),
)


def on_policy(make, config, network=actor_critic, first_step=ratio_is_one, values=state_value, **more):
    relations = more.pop("relations", EPOCHS)
    return Learner(make, network, config, first_step, values, relations=relations, **more)


def off_policy(make, network, config, first_step, values, **more):
    return Learner(make, network, config, first_step, values, num_updates=24, rounds=16, **more)


NO_CRITIC = {"values": "nobody asks a critic"}
WARMUP = (({"warmup_steps": 5000}, "warmup_steps = 5000 is more than the replay holds"),)
ONE_PASS = ROLLOUT | {"num_epochs": 1, "num_minibatches": 1}
LEARNERS = {
    # 96 environments: the critic judges successors in parts.
    "ppo": on_policy(make_ppo, PPO.replace(num_envs=96, num_steps=4), relations=()),
    "ppo with a gru": on_policy(
        make_ppo,
        PPO.replace(normalize_observations=True),
        gru,
        relations=(({"num_minibatches": 3}, "num_envs = 16 is not divisible by num_minibatches = 3"),),
    ),
    "grpo": on_policy(
        make_grpo,
        GRPOConfig(group_size=4, normalize_rewards=True, **ROLLOUT),
        values=None,
        relations=(
            *EPOCHS,
            ({"group_size": 3}, "num_envs = 16 is not divisible by group_size = 3; try num_envs = 18"),
        ),
        skips=NO_CRITIC,
    ),
    "a2c": on_policy(make_a2c, A2CConfig(**ONE_PASS), first_step=returns_are_rewards, num_updates=240),
    "reinforce": on_policy(
        make_reinforce,
        ReinforceConfig(**ONE_PASS),
        first_step=returns_are_rewards,
        values=None,
        num_updates=240,
        skips=NO_CRITIC,
    ),
    "pqn": on_policy(
        make_pqn, PQNConfig(**TRIES, **ROLLOUT), q_network, error_is_reward_less_value, action_values
    ),
    "dqn": off_policy(
        make_dqn,
        q_network,
        DQN,
        error_is_reward_less_value,
        action_values,
        relations=(
            (
                {"learn_every": 3},
                "num_steps = 16 is not divisible by learn_every = 3; try num_steps = 18",
            ),
            *WARMUP,
            *EVENTS,
        ),
    ),
    "dqn, prioritized": off_policy(
        make_dqn,
        q_network,
        DQN.replace(prioritized=True, num_return_steps=3),
        error_is_reward_less_value,
        action_values,
        relations=(({"event_share": 0.5}, "event_share has no meaning with prioritized replay"),),
    ),
    "c51": off_policy(
        make_c51,
        q_network,
        C51,
        error_is_reward_less_value,
        expected_values,
        relations=(
            ({"num_atoms": 1}, "num_atoms = 1 "),
            ({"value_min": 9.0}, r"value_min = 9\.0 must be below value_max = 5\.0"),
        ),
    ),
    "sac": off_policy(
        make_sac,
        soft_actor_critic,
        SAC,
        loss_of_critics_is_half_the_squared_error,
        critics_values,
        continuous=True,
        still={"temperature_learning_rate": 0.0},
        relations=(*WARMUP, *EVENTS),
    ),
    "sac with choices": off_policy(
        make_sac,
        soft_actor_critic,
        SAC,
        loss_of_critics_is_half_the_squared_error,
        critics_values,
        still={"temperature_learning_rate": 0.0},
    ),
    "td3": off_policy(
        make_td3,
        soft_actor_critic,
        TD3,
        loss_of_critics_is_half_the_squared_error,
        critics_values,
        continuous=True,
    ),
}
