"""SAC on any registered environment, with continuous actions or discrete ones.

    python experiments/sac.py --env Pendulum-v1

Names are PureRL's own (`Bikkle-v0`), gymnax's (`MountainCarContinuous-v0`, `CartPole-v1`) and, with the extra
`brax`, Brax's (`brax/ant`).
"""

from dataclasses import dataclass, field

import purerl  # noqa: F401  sets XLA's flags before JAX starts
from envs.registry import make_environment, short_name
from purerl.algorithms.sac import SACConfig
from purerl.experiment import experiment
from purerl.networks import NetworkName
from purerl.networks.soft_actor_critic import SoftNetworkConfig, make_soft_actor_critic
from purerl.ranges import Count, CountOrZero
from purerl.run import cli
from purerl.run.experiment import Experiment, RunOptions, Steps


@dataclass(frozen=True)
class Config(RunOptions):
    """Train a policy on an environment with SAC, evaluate it, and report."""

    env: str = "Pendulum-v1"
    """Name of the environment."""
    total_steps: Steps = 20_000
    """Environment steps for each seed; 2e6 is understood."""
    eval_episodes: Count = 200
    """Evaluation episodes for each seed."""
    network: NetworkName = "mlp"
    """Encoder of the observations."""
    max_devices: CountOrZero = 0
    """Over how many devices environments and batches are spread at most; 0 for all there are."""
    sac: SACConfig = field(
        default_factory=lambda: SACConfig(
            num_envs=4,
            num_steps=100,
            num_gradient_steps=4,
            learning_rate=1e-3,
            final_learning_rate=3e-4,
            temperature_learning_rate=1e-3,
            tau=0.01,
        )
    )
    net: SoftNetworkConfig = field(default_factory=lambda: SoftNetworkConfig(width=64, head_width=0))


def build(config: Config) -> Experiment:
    """The experiment that a configuration describes; raises ValueError where it cannot be run."""
    env, params = make_environment(config.env)
    return experiment(
        f"sac-{short_name(config.env)}",
        env,
        config.sac,
        make_soft_actor_critic(env, params, config.network, config.net),
        params=params,
        eval_episodes=config.eval_episodes,
        title=config.env,
        num_seeds=config.num_seeds,
        max_devices=config.max_devices,
    )


if __name__ == "__main__":
    cli.main(Config, build, description=__doc__)
