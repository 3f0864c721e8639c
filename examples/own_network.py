"""A network of your own for PPO: a policy and a critic in plain flax.

python examples/own_network.py
"""

from dataclasses import dataclass, field

import distrax
from flax import linen as nn

from envs.registry import make_environment
from purerl.algorithms.ppo import PPOConfig
from purerl.experiment import experiment
from purerl.run import cli
from purerl.run.experiment import Experiment, RunOptions, Steps


class Network(nn.Module):
    num_actions: int
    width: int

    def setup(self):
        self.actor = nn.Sequential([nn.Dense(self.width), nn.tanh, nn.Dense(self.num_actions)])
        self.critic = nn.Sequential([nn.Dense(self.width), nn.tanh, nn.Dense(1)])

    def __call__(self, observation):  # [B, F] -> a batch of B policies, values [B]
        return distrax.Categorical(logits=self.actor(observation)), self.critic(observation)[:, 0]

    @nn.nowrap
    def initial_carry(self, batch):  # it remembers nothing
        return None

    def step(self, carry, observation, is_first):  # in the rollout
        return carry, *self(observation)

    def next_value(self, carry, observation):  # what follows a step
        return self.critic(observation)[:, 0]


@dataclass(frozen=True)
class Config(RunOptions):
    total_steps: Steps = 100_000
    width: int = 64
    ppo: PPOConfig = field(
        default_factory=lambda: PPOConfig(num_envs=32, num_steps=64, num_minibatches=4, microbatch_size=0)
    )


def build(config: Config) -> Experiment:
    env, params = make_environment("CartPole-v1")
    network = Network(env.action_space(params).n, config.width)
    return experiment("own-network", env, config.ppo, network, params=params)


if __name__ == "__main__":
    cli.main(Config, build, description=__doc__)
