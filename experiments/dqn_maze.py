"""PQN or DQN on generated mazes, with a curriculum.

    python experiments/dqn_maze.py

    python experiments/dqn_maze.py --algorithm dqn

The same mazes, suites of held-out mazes and report as those of `ppo_maze.py`.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import purerl  # noqa: F401  sets XLA's flags before JAX starts
from envs.experiments.maze import WorldOptions, Worlds, make_world
from envs.experiments.maze_report import report
from envs.maze import maze_levels
from purerl.algorithms.dqn import DQNConfig
from purerl.algorithms.pqn import PQNConfig
from purerl.curriculum import CurriculumOptions
from purerl.experiment import experiment
from purerl.networks import GridNetworkName, QNetworkConfig, make_q_network
from purerl.ranges import Count
from purerl.run import cli
from purerl.run.experiment import Experiment, RunOptions, Steps


@dataclass(frozen=True)
class Config(RunOptions):
    """Train action values on generated mazes, evaluate them on mazes they have not seen, and report."""

    algorithm: Literal["dqn", "pqn"] = "pqn"
    """With a replay and a target network, or with neither and many environments."""
    total_steps: Steps = 3_000_000
    """Environment steps for each seed; 2e6 is understood."""
    eval_mazes: Count = 2000
    """Held-out mazes in each suite."""
    network: GridNetworkName = "recurrent"
    """Encoder of the observations."""
    num_edits: Count = 4
    """Changes of a mutation, for the curriculum accel."""
    keep_solvable: bool = True
    """Give up mutations that cut the start off from the goal, for the curriculum accel."""
    pqn: PQNConfig = field(
        default_factory=lambda: PQNConfig(
            num_envs=1024,
            num_steps=16,
            num_epochs=2,
            num_minibatches=16,
            num_levels=1024,
            learning_rate=3e-3,
            gamma=0.97,
            return_lambda=0.9,
        )
    )
    dqn: DQNConfig = field(
        default_factory=lambda: DQNConfig(
            num_envs=512,
            num_steps=32,
            num_gradient_steps=2,
            batch_size=512,
            buffer_size=50_000,
            num_return_steps=5,
            num_levels=1024,
            warmup_steps=20_000,
            learning_rate=2e-3,
            gamma=0.97,
            target_every=20,
            epsilon=0.3,
        )
    )
    curriculum: CurriculumOptions = field(default_factory=CurriculumOptions)
    env: WorldOptions = field(default_factory=lambda: WorldOptions(random_goal=True))
    net: QNetworkConfig = field(
        default_factory=lambda: QNetworkConfig(width=64, channels=4, head_width=0, layer_norm=True)
    )

    def unread(self) -> dict[str, str]:
        """Options without effect here, and why."""
        return {"pqn" if self.algorithm == "dqn" else "dqn": f"--algorithm {self.algorithm}"}


def build(config: Config) -> Experiment:
    """The experiment that a configuration describes; raises ValueError where it cannot be run."""
    chosen = config.dqn if config.algorithm == "dqn" else config.pqn
    env, params = make_world(config.env, chosen.gamma)
    # An MLP, or a readout of every cell, has parameters for one size of grid alone.
    transfers = config.network != "mlp" and config.net.readout == "agent"
    worlds = Worlds(env, transfers, config.eval_mazes)
    return experiment(
        f"{config.algorithm}-maze",
        env,
        chosen,
        make_q_network(env, params, config.network, config.net),
        params=params,
        curriculum=config.curriculum,
        levels=maze_levels(env, config.num_edits, config.keep_solvable),
        evaluate=worlds.evaluate,
        scored=worlds.scored,
        score=worlds.score,
        report=partial(report, worlds),
        return_metric="solve_rate",
        num_seeds=config.num_seeds,
    )


if __name__ == "__main__":
    cli.main(Config, build, description=__doc__)
