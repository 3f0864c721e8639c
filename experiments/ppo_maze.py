"""PPO on generated mazes, with a curriculum.

    python experiments/ppo_maze.py

An agent that sees a maze learns to reach its goal by a shortest path, and is evaluated on mazes that no
training draws; networks that read grids of any size also on larger ones and on those of the literature.
Goals are anywhere in training; in evaluation they are where the suite has them, by default bottom right.
"""

from dataclasses import dataclass, field
from functools import partial

import purerl  # noqa: F401  sets XLA's flags before JAX starts
from envs.experiments.maze import WorldOptions, Worlds, make_world
from envs.experiments.maze_report import report
from envs.maze import maze_levels
from purerl.algorithms.ppo import PPOConfig
from purerl.curriculum import CurriculumOptions
from purerl.experiment import experiment
from purerl.networks import GridNetworkName, NetworkConfig, make_actor_critic
from purerl.ranges import Count
from purerl.run import cli
from purerl.run.experiment import Experiment, RunOptions, Steps


@dataclass(frozen=True)
class Config(RunOptions):
    """Train a policy on generated mazes with PPO, evaluate it on mazes it has not seen, and report."""

    total_steps: Steps = 4_000_000
    """Environment steps for each seed; 2e6 is understood."""
    eval_mazes: Count = 2000
    """Held-out mazes in each suite."""
    network: GridNetworkName = "recurrent"
    """Encoder of the observations."""
    num_edits: Count = 4
    """Changes of a mutation, for the curriculum accel."""
    keep_solvable: bool = True
    """Give up mutations that cut the start off from the goal, for the curriculum accel."""
    ppo: PPOConfig = field(
        default_factory=lambda: PPOConfig(
            num_envs=1024,
            num_steps=16,
            num_epochs=2,
            num_minibatches=16,
            learning_rate=3e-3,
            gamma=0.97,
            gae_lambda=0.95,
            entropy_coefficient=0.01,
        )
    )
    curriculum: CurriculumOptions = field(default_factory=CurriculumOptions)
    env: WorldOptions = field(default_factory=lambda: WorldOptions(random_goal=True))
    net: NetworkConfig = field(default_factory=lambda: NetworkConfig(channels=4, head_width=0))


def build(config: Config) -> Experiment:
    """The experiment that a configuration describes; raises ValueError where it cannot be run."""
    env, params = make_world(config.env, config.ppo.gamma)
    # An MLP, or a readout of every cell, has parameters for one size of grid alone.
    transfers = config.network != "mlp" and config.net.readout == "agent"
    worlds = Worlds(env, transfers, config.eval_mazes)
    return experiment(
        "ppo-maze",
        env,
        config.ppo,
        make_actor_critic(env, params, config.network, config.net),
        params=params,
        curriculum=config.curriculum,
        levels=maze_levels(env, config.num_edits, config.keep_solvable),
        evaluate=worlds.evaluate,
        scored=worlds.scored,
        score=worlds.score,
        report=partial(report, worlds),
        return_metric="solve_rate",
    )


if __name__ == "__main__":
    cli.main(Config, build, description=__doc__)
