"""DQN or PQN on any registered environment with discrete actions.

    python experiments/dqn.py --env CartPole-v1

    python experiments/dqn.py --env Breakout-MinAtar --algorithm pqn --network image --total-steps 1e6

Names are PureRL's own (`Maze-v0`) and gymnax's. Parts of Rainbow are switches: `--dqn.double`,
`--dqn.prioritized`, `--dqn.num-return-steps 3`, `--net.dueling`. PQN always normalizes layers.
"""

from dataclasses import dataclass, field
from typing import Literal

import purerl  # noqa: F401  sets XLA's flags before JAX starts
from envs.registry import make_environment, short_name
from purerl.algorithms.dqn import DQNConfig
from purerl.algorithms.pqn import PQNConfig
from purerl.experiment import experiment
from purerl.networks import NetworkName, QNetworkConfig, make_q_network
from purerl.ranges import Count
from purerl.run import cli
from purerl.run.experiment import Experiment, RunOptions, Steps


@dataclass(frozen=True)
class Config(RunOptions):
    """Train action values on an environment with DQN or PQN, evaluate the greedy policy, and report."""

    env: str = "CartPole-v1"
    """Name of the environment."""
    algorithm: Literal["dqn", "pqn"] = "dqn"
    """With a replay and a target network, or with neither and many environments."""
    total_steps: Steps = 100_000
    """Environment steps for each seed; 2e6 is understood."""
    eval_episodes: Count = 200
    """Evaluation episodes for each seed."""
    network: NetworkName = "mlp"
    """Encoder of the observations."""
    dqn: DQNConfig = field(
        default_factory=lambda: DQNConfig(
            num_gradient_steps=5,
            num_return_steps=3,
            learning_rate=1e-3,
            huber_delta=float("inf"),
            exploration_share=0.5,
        )
    )
    pqn: PQNConfig = field(default_factory=PQNConfig)
    net: QNetworkConfig = field(default_factory=QNetworkConfig)

    def unread(self) -> dict[str, str]:
        """Options without effect here, and why."""
        return {"pqn" if self.algorithm == "dqn" else "dqn": f"--algorithm {self.algorithm}"}


def build(config: Config) -> Experiment:
    """The experiment that a configuration describes; raises ValueError where it cannot be run."""
    env, params = make_environment(config.env)
    layer_norm = config.net.layer_norm or config.algorithm == "pqn"
    return experiment(
        f"{config.algorithm}-{short_name(config.env)}",
        env,
        config.dqn if config.algorithm == "dqn" else config.pqn,
        make_q_network(env, params, config.network, config.net.replace(layer_norm=layer_norm)),
        params=params,
        eval_episodes=config.eval_episodes,
        title=config.env,
        num_seeds=config.num_seeds,
    )


if __name__ == "__main__":
    cli.main(Config, build, description=__doc__)
