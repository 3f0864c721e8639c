"""Small learners of every algorithm, on an environment whose last observations may be NaN."""

import jax.numpy as jnp
from probes import LastLook

from purerl import spaces
from purerl.algorithms.c51 import C51Config, make_c51
from purerl.algorithms.dqn import DQNConfig, make_dqn
from purerl.algorithms.ppo import PPOConfig, make_ppo
from purerl.algorithms.pqn import PQNConfig, make_pqn
from purerl.algorithms.sac import SACConfig, make_sac
from purerl.algorithms.td3 import TD3Config, make_td3
from purerl.networks import (
    MemoryConfig,
    NetworkConfig,
    QNetworkConfig,
    make_actor_critic,
    make_memory_actor_critic,
    make_q_network,
)
from purerl.networks.soft_actor_critic import SoftNetworkConfig, make_soft_actor_critic


class Steered(LastLook):
    """As `LastLook`, with one number as an action: the nearer to half the cue, the better."""

    def reward(self, state, action):
        return -jnp.square(action[0] - 0.5 * state.cue)

    def action_space(self, params):
        return spaces.Box(-1.0, 1.0, (1,))


PARAMS = LastLook().default_params
SMALL = NetworkConfig(width=8, head_width=0, activation="tanh", shared_encoder=False)
MEMORY = MemoryConfig(width=8, num_heads=2, num_layers=1, length=3, feed_forward=8)
# 7 steps: with episodes of three steps and of two, rollouts end at ends of episodes, and between them.
ROLLOUT = {"num_steps": 7, "num_epochs": 2, "num_minibatches": 2, "microbatch_size": 0}
PPO = PPOConfig(num_envs=16, normalize_observations=True, env_params=PARAMS, **ROLLOUT)
DQN = DQNConfig(
    num_envs=4, num_iterations=16, num_gradient_steps=2, batch_size=16, capacity=120, warmup_steps=8,
    target_every=5, env_params=PARAMS,
)  # fmt: skip
SAC = SACConfig(
    final_learning_rate=0.0,
    num_envs=4, num_iterations=16, num_gradient_steps=2, batch_size=16, capacity=120, warmup_steps=8,
    env_params=PARAMS,
)  # fmt: skip
C51 = C51Config(
    num_envs=4, num_iterations=16, num_gradient_steps=2, batch_size=16, capacity=120, warmup_steps=8,
    num_atoms=5, value_min=-3.0, value_max=3.0, target_every=5, env_params=PARAMS,
)  # fmt: skip
TD3 = TD3Config(
    final_learning_rate=0.0,
    num_envs=4, num_iterations=16, num_gradient_steps=3, batch_size=16, capacity=120, warmup_steps=8,
    env_params=PARAMS,
)  # fmt: skip


def ppo(env):
    return make_ppo(env, make_actor_critic(env, PARAMS, "mlp", SMALL))


def ppo_with(memory):
    def make(env):
        return make_ppo(env, make_memory_actor_critic(env, PARAMS, "mlp", SMALL, memory, MEMORY))

    return make


def pqn(env):
    network = make_q_network(env, PARAMS, "mlp", QNetworkConfig(width=8, head_width=0, layer_norm=True))
    return make_pqn(env, network)


def dqn(env):
    return make_dqn(env, make_q_network(env, PARAMS, "mlp", QNetworkConfig(width=8, head_width=8)))


def sac(env):
    return make_sac(env, make_soft_actor_critic(env, PARAMS, "mlp", SoftNetworkConfig(width=8, head_width=0)))


def c51(env):
    return make_c51(env, make_q_network(env, PARAMS, "mlp", QNetworkConfig(width=8, head_width=8)))


def td3(_):
    env = Steered()
    return make_td3(env, make_soft_actor_critic(env, PARAMS, "mlp", SoftNetworkConfig(width=8, head_width=0)))


LEARNERS = {
    "ppo": (ppo, PPO),
    "ppo, many environments": (ppo, PPO.replace(num_envs=96, num_steps=4)),
    "ppo with a gru": (ppo_with("gru"), PPO),
    "grpo": (ppo, PPO.replace(group_size=4)),
    "pqn": (pqn, PQNConfig(num_envs=16, env_params=PARAMS, **ROLLOUT)),
    "dqn": (dqn, DQN),
    "dqn, prioritized, three steps": (dqn, DQN.replace(prioritized=True, num_return_steps=3)),
    "sac, three steps": (sac, SAC.replace(num_return_steps=3, event_share=0.25)),
    "c51": (c51, C51),
    "td3": (td3, TD3.replace(num_return_steps=3)),
}
