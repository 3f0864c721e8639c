"""DQN or PQN on any registered environment with discrete actions.

    python experiments/dqn.py --env CartPole-v1

    python experiments/dqn.py --env Breakout-MinAtar --algorithm pqn --network image --total-steps 1e6

Names are PureRL's own (`Maze-v0`) and gymnax's. Parts of Rainbow are switches: `--dqn.double`,
`--dqn.prioritized`, `--dqn.num-return-steps 3`, `--net.dueling`. PQN always normalizes layers.
"""

from dataclasses import dataclass, field

from any_environment import experiment_in, make_environment, short_name
from value_learners import AlgorithmName, make_dqn_learner, make_pqn_learner, unread_learner

import purerl  # noqa: F401  sets XLA's flags before JAX starts
from purerl.algorithms.dqn import DQNConfig
from purerl.algorithms.pqn import PQNConfig
from purerl.networks import NetworkName, QNetworkConfig, make_q_network
from purerl.ranges import Count
from purerl.run import cli
from purerl.run.experiment import Experiment, RunOptions, Steps


@dataclass(frozen=True)
class Config(RunOptions):
    """Train action values on an environment with DQN or PQN, evaluate the greedy policy, and report."""

    env: str = "CartPole-v1"
    """Name of the environment."""
    algorithm: AlgorithmName = "dqn"
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
        return unread_learner(self.algorithm)


def build(config: Config) -> Experiment:
    """The experiment that a configuration describes; raises ValueError where it cannot be run."""
    env, params = make_environment(config.env)
    layer_norm = config.net.layer_norm or config.algorithm == "pqn"
    network = make_q_network(env, params, config.network, config.net.replace(layer_norm=layer_norm))
    if config.algorithm == "dqn":
        learner = make_dqn_learner(env, network, config.dqn.replace(env_params=params), config.num_seeds)
    else:
        learner = make_pqn_learner(env, network, config.pqn.replace(env_params=params))
    return experiment_in(
        config.env,
        env,
        params,
        config.eval_episodes,
        name=f"{config.algorithm}-{short_name(config.env)}",
        algorithm=learner.make(),
        algorithm_config=learner.config,
        num_devices=learner.num_devices,
        build_program=learner.build_program,
    )


if __name__ == "__main__":
    cli.main(Config, build, description=__doc__)
