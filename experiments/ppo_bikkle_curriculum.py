"""PPO on Bikkle arenas that a curriculum chooses.

    python experiments/ppo_bikkle_curriculum.py

Each episode brings its own number of pellets, size, penalty and gaze noise; the curriculum decides which,
and the policy is evaluated on every protocol of the plain arena.
"""

from dataclasses import dataclass, field

import purerl  # noqa: F401  sets XLA's flags before JAX starts
from envs.bikkle.levels import BikkleLevels, bikkle_levels
from envs.experiments.bikkle import Arena, ArenaOptions, ProtocolName, make_arena
from purerl.algorithms.ppo import PPOConfig
from purerl.curriculum import CurriculumOptions
from purerl.experiment import experiment
from purerl.networks import NetworkConfig, SetNetworkName, make_actor_critic
from purerl.ranges import Count, Number
from purerl.run import cli
from purerl.run.experiment import Experiment, RunOptions, Steps


@dataclass(frozen=True)
class Config(RunOptions):
    """Train a policy on Bikkle arenas that a curriculum chooses, evaluate it, and report."""

    total_steps: Steps = 6_000_000
    """Environment steps for each seed; 2e6 is understood."""
    eval_episodes: Count = 2000
    """Evaluation episodes for each seed, protocol and gaze."""
    protocol: ProtocolName = "mixture"
    """Arena to train on."""
    network: SetNetworkName = "attention"
    """Encoder of the observations."""
    ppo: PPOConfig = field(
        default_factory=lambda: PPOConfig(
            num_envs=512,
            num_steps=32,
            num_epochs=3,
            num_minibatches=16,
            learning_rate=2e-3,
            gamma=0.99,
            gae_lambda=0.95,
            value_coefficient=2.0,
            entropy_coefficient=0.015,
            max_grad_norm=3.0,
        )
    )
    env: ArenaOptions = field(default_factory=ArenaOptions)
    net: NetworkConfig = field(default_factory=lambda: NetworkConfig(initial_std=0.8))
    success_return: Number = 15.0
    """An episode is solved where its return reaches this; adaptive and learnability need it."""
    curriculum: CurriculumOptions = field(default_factory=CurriculumOptions)


def build(config: Config) -> Experiment:
    """The experiment that a configuration describes; raises ValueError where it cannot be run."""
    plain, params = make_arena(config.protocol, config.env, config.ppo.gamma)
    env, arena = BikkleLevels(plain, config.success_return), Arena(config.env.action, config.eval_episodes)
    return experiment(
        "ppo-bikkle-curriculum",
        env,
        config.ppo,
        make_actor_critic(plain, params, config.network, config.net),
        params=params,
        curriculum=config.curriculum,
        levels=bikkle_levels(env),
        evaluate=arena.evaluate,
        score=arena.score,
        report=arena.report,
    )


if __name__ == "__main__":
    cli.main(Config, build, description=__doc__)
