"""An algorithm of your own: actions are imitated the more, the better they turned out (arXiv:1910.00177).

python examples/own_algorithm.py
"""

from dataclasses import dataclass, field

import jax.numpy as jnp
from flax import struct

from envs.registry import make_environment
from purerl.algorithms import Registered, register
from purerl.algorithms.on_policy import make_on_policy
from purerl.algorithms.on_policy_parts import OnPolicy, OnPolicyConfig, Targets, judge
from purerl.algorithms.ppo import gae_advantage
from purerl.experiment import experiment
from purerl.functional.metrics import as_means
from purerl.functional.normalize import standardize
from purerl.ranges import Share
from purerl.run import cli
from purerl.run.experiment import Experiment, RunOptions


@struct.dataclass
class AWRConfig(OnPolicyConfig):
    gae_lambda: Share = 0.95


def targets(transitions, learnable, config, axis_name):  # of a rollout, leaves [T, E]
    found = gae_advantage(transitions, config)
    return Targets(standardize(found, learnable, axis_name), found + transitions.value, learnable)


def loss(network, params, samples, config):  # samples [B, ...] -> the mean loss, and metrics by name
    policy, value = judge(network, params, samples)
    weight = jnp.minimum(jnp.exp(2.0 * samples.advantage), 20.0)
    policy_loss = -weight * policy.log_prob(samples.action)
    value_loss = jnp.square(value - samples.target)
    return (policy_loss + value_loss).mean(), as_means({"policy_loss": policy_loss, "value_loss": value_loss})


def make_awr(env, network, axis_name=None, curriculum=None):
    return make_on_policy(env, network, OnPolicy("AWR", loss, targets), axis_name, curriculum)


register(Registered("awr", AWRConfig, make_awr, network="actor_critic"))


@dataclass(frozen=True)
class Config(RunOptions):
    awr: AWRConfig = field(default_factory=lambda: AWRConfig(num_envs=32, num_minibatches=4))


def build(config: Config) -> Experiment:
    env, params = make_environment("CartPole-v1")
    return experiment("own-algorithm", env, config.awr, params=params)


if __name__ == "__main__":
    cli.main(Config, build, description=__doc__)
