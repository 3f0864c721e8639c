"""SAC with set attention on the Bikkle arena.

    python experiments/sac_bikkle.py
    python experiments/sac_bikkle.py --env.action angle

One policy is trained off-policy on the arena of the record protocol, and evaluated on every protocol.
"""

from dataclasses import dataclass, field

import purerl  # noqa: F401  sets XLA's flags before JAX starts
from envs.experiments.bikkle import Arena, ArenaOptions, ProtocolName, make_arena
from purerl.algorithms.sac import SACConfig
from purerl.experiment import experiment
from purerl.networks import SetNetworkName
from purerl.networks.soft_actor_critic import SoftNetworkConfig, make_soft_actor_critic
from purerl.ranges import Count, CountOrZero
from purerl.run import cli
from purerl.run.experiment import Experiment, RunOptions, Steps


@dataclass(frozen=True)
class Config(RunOptions):
    """Train a policy on the Bikkle arena with SAC, evaluate it on every protocol, and report."""

    total_steps: Steps = 3_000_000
    """Environment steps for each seed; 2e6 is understood."""
    eval_episodes: Count = 2000
    """Evaluation episodes for each seed, protocol and gaze."""
    protocol: ProtocolName = "record"
    """Arena to train on."""
    network: SetNetworkName = "attention"
    """Encoder of the observations."""
    max_devices: CountOrZero = 0
    """Over how many devices environments and batches are spread at most; 0 for all there are."""
    sac: SACConfig = field(
        default_factory=lambda: SACConfig(
            num_envs=64,
            num_steps=64,
            num_gradient_steps=4,
            batch_size=256,
            buffer_size=500_000,
            warmup_steps=10_000,
            num_return_steps=5,
            learning_rate=1e-3,
            final_learning_rate=1e-4,
            temperature_learning_rate=1e-3,
            initial_temperature=0.1,
            gamma=0.95,
            tau=0.01,
        )
    )
    env: ArenaOptions = field(default_factory=ArenaOptions)
    net: SoftNetworkConfig = field(default_factory=SoftNetworkConfig)


def build(config: Config) -> Experiment:
    """The experiment that a configuration describes; raises ValueError where it cannot be run."""
    env, params = make_arena(config.protocol, config.env, config.sac.gamma)
    arena, periodic = Arena(config.env.action, config.eval_episodes), config.env.action == "angle"
    return experiment(
        "sac-bikkle",
        env,
        config.sac,
        make_soft_actor_critic(env, params, config.network, config.net, periodic=periodic),
        params=params,
        evaluate=arena.evaluate,
        score=arena.score,
        report=arena.report,
        num_seeds=config.num_seeds,
        max_devices=config.max_devices,
    )


if __name__ == "__main__":
    cli.main(Config, build, description=__doc__)
