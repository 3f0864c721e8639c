"""PPO on Bikkle arenas that a curriculum chooses.

    python experiments/ppo_bikkle_curriculum.py

Each episode brings its own number of pellets, size, penalty and gaze noise; the curriculum decides which,
and the policy is evaluated on every protocol of the plain arena.
"""

from dataclasses import dataclass, field
from functools import partial

import ppo_bikkle
from bikkle_arena import make_arena

from envs.bikkle.levels import BikkleLevels, bikkle_levels
from purerl.algorithms.ppo import make_ppo
from purerl.compile.program import build_program
from purerl.curriculum import CurriculumOptions, make_curriculum
from purerl.networks import make_actor_critic
from purerl.ranges import Number
from purerl.rollout.levels import pool_size
from purerl.run import cli
from purerl.run.experiment import Experiment


@dataclass(frozen=True)
class Config(ppo_bikkle.Config):
    """Train a policy on Bikkle arenas that a curriculum chooses, evaluate it, and report."""

    success_return: Number = 15.0
    """An episode is solved where its return reaches this; adaptive and learnability need it."""
    curriculum: CurriculumOptions = field(default_factory=CurriculumOptions)


def build(config: Config) -> Experiment:
    """The experiment that a configuration describes; raises ValueError where it cannot be run."""
    plain = ppo_bikkle.build(config)
    arena, params = make_arena(config.protocol, config.env, config.ppo.gamma)
    network = make_actor_critic(arena, params, config.network, config.net)
    env = BikkleLevels(arena, config.success_return)
    levels = bikkle_levels(env)
    num_levels = pool_size(config.ppo.num_levels, config.ppo.num_envs, plain.num_devices)
    curriculum = make_curriculum(levels, config.curriculum, num_levels)
    make = partial(make_ppo, env, network, curriculum=curriculum)
    return plain._replace(
        name="ppo-bikkle-curriculum",
        algorithm=make(),
        build_program=partial(build_program, make, plain.algorithm_config),
    )


if __name__ == "__main__":
    cli.main(Config, build, description=__doc__)
