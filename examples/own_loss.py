"""A loss of your own in PPO: nothing is clipped; instead, going far from the old policy costs something.

python examples/own_loss.py
"""

from dataclasses import dataclass, field

import jax.numpy as jnp

from envs.registry import make_environment
from purerl.algorithms.on_policy_parts import judge
from purerl.algorithms.ppo import PPOConfig
from purerl.experiment import experiment
from purerl.functional.distributions import entropy_of
from purerl.functional.losses import approximate_kl
from purerl.functional.metrics import as_means
from purerl.run import cli
from purerl.run.experiment import Experiment, RunOptions, Steps

PRICE = 3.0


def loss(network, params, samples, config):  # samples [B, ...] -> the mean loss, and metrics by name
    policy, value = judge(network, params, samples)
    log_ratio = policy.log_prob(samples.action) - samples.log_prob
    divergence = approximate_kl(log_ratio)  # 0 where the ratio is 1, else above
    policy_loss = PRICE * divergence - jnp.exp(log_ratio) * samples.advantage
    value_loss = jnp.square(value - samples.target)
    metrics = {
        "policy_loss": policy_loss,
        "value_loss": value_loss,
        "approx_kl": divergence,
        "entropy": entropy_of(policy),
    }
    return (policy_loss + config.value_coefficient * value_loss).mean(), as_means(metrics)


@dataclass(frozen=True)
class Config(RunOptions):
    total_steps: Steps = 100_000
    ppo: PPOConfig = field(
        default_factory=lambda: PPOConfig(num_envs=32, num_steps=64, num_minibatches=4, microbatch_size=0)
    )


def build(config: Config) -> Experiment:
    env, params = make_environment("CartPole-v1")
    return experiment("own-loss", env, config.ppo, params=params, loss=loss)


if __name__ == "__main__":
    cli.main(Config, build, description=__doc__)
