"""PPO on any registered environment.

    python experiments/ppo.py --env CartPole-v1

Names are PureRL's own (`Maze-v0`), gymnax's (`Pendulum-v1`, `Breakout-MinAtar`) and, with the extra `brax`,
Brax's (`brax/ant`).
"""

from dataclasses import dataclass, field

import purerl  # noqa: F401  sets XLA's flags before JAX starts
from envs.registry import make_environment, short_name
from purerl.algorithms.ppo import PPOConfig
from purerl.experiment import experiment
from purerl.networks import NetworkConfig, NetworkName, make_actor_critic
from purerl.ranges import Count
from purerl.run import cli
from purerl.run.experiment import Experiment, RunOptions, Steps


@dataclass(frozen=True)
class Config(RunOptions):
    """Train a policy on an environment with PPO, evaluate it, and report."""

    env: str = "CartPole-v1"
    """Name of the environment."""
    total_steps: Steps = 500_000
    """Environment steps for each seed; 2e6 is understood."""
    eval_episodes: Count = 200
    """Evaluation episodes for each seed."""
    network: NetworkName = "mlp"
    """Encoder of the observations."""
    ppo: PPOConfig = field(
        default_factory=lambda: PPOConfig(
            num_envs=32,
            num_steps=64,
            num_epochs=4,
            num_minibatches=4,
            microbatch_size=0,
            learning_rate=1e-3,
        )
    )
    net: NetworkConfig = field(
        default_factory=lambda: NetworkConfig(width=64, head_width=0, activation="tanh", shared_encoder=False)
    )


def build(config: Config) -> Experiment:
    """The experiment that a configuration describes; raises ValueError where it cannot be run."""
    env, params = make_environment(config.env)
    return experiment(
        f"ppo-{short_name(config.env)}",
        env,
        config.ppo,
        make_actor_critic(env, params, config.network, config.net),
        params=params,
        eval_episodes=config.eval_episodes,
        title=config.env,
    )


if __name__ == "__main__":
    cli.main(Config, build, description=__doc__)
