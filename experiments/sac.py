"""SAC on any registered environment, with continuous actions or discrete ones.

    python experiments/sac.py --env Pendulum-v1

Names are PureRL's own (`Bikkle-v0`), gymnax's (`MountainCarContinuous-v0`, `CartPole-v1`) and, with the extra
`brax`, Brax's (`brax/ant`).
"""

from dataclasses import dataclass, field
from functools import partial

from any_environment import World, make_environment, short_name

import purerl  # noqa: F401  sets XLA's flags before JAX starts
from purerl import cli
from purerl.algorithms.sac import make_sac
from purerl.algorithms.sac_config import SACConfig, check_sac
from purerl.networks import NetworkName
from purerl.networks.soft_actor_critic import SoftNetworkConfig, make_soft_actor_critic
from purerl.runs import Experiment, RunOptions, Steps
from purerl.train import build_program, usable_devices


@dataclass(frozen=True)
class Config(RunOptions):
    """Train a policy on an environment with SAC, evaluate it, and report."""

    env: str = "Pendulum-v1"
    """Name of the environment."""
    total_steps: Steps = 20_000
    """Environment steps for each seed; 2e6 is understood."""
    eval_episodes: int = 200
    """Evaluation episodes for each seed."""
    network: NetworkName = "mlp"
    """Encoder of the observations."""
    sac: SACConfig = field(
        default_factory=lambda: SACConfig(
            num_envs=4, num_iterations=100, num_gradient_steps=4, learning_rate=1e-3, capacity=100_000
        )
    )
    net: SoftNetworkConfig = field(default_factory=lambda: SoftNetworkConfig(width=64, head_width=0))


def build(config: Config) -> Experiment:
    """The experiment that a configuration describes; raises ValueError where it cannot be run."""
    if config.eval_episodes < 1:
        raise ValueError(f"eval_episodes = {config.eval_episodes} must be at least 1")
    env, params = make_environment(config.env)
    network = make_soft_actor_critic(env, params, config.network, config.net)
    sac = config.sac.replace(env_params=params)
    check_sac(sac, env.action_space(params))
    algorithm = make_sac(env, network)
    world = World(config.env, env, params, algorithm.policy, config.eval_episodes)
    return Experiment(
        name=f"sac-{short_name(config.env)}",
        algorithm=algorithm,
        algorithm_config=sac,
        num_devices=usable_devices(sac.num_envs, sac.batch_size, 1),
        build_program=partial(build_program, partial(make_sac, env, network), sac),
        evaluate=world.evaluate,
        report=world.report,
    )


if __name__ == "__main__":
    cli.main(Config, build, description=__doc__)
