"""What a population cannot do, said in one line before anything is compiled."""

import numpy as np

from purerl.host import limits
from purerl.host.errors import UserError
from purerl.population.evolution import PopulationOptions
from purerl.run import experiment
from purerl.run.experiment import RunOptions
from purerl.sweep.settings import Member, buckets, varied_leaves
from purerl.sweep.space import Choice, Space


def check_options(options: PopulationOptions, config: RunOptions) -> None:
    """Raises UserError where a population cannot be trained so."""
    limits.check(options)
    experiment.check_options(config)
    experiment.check_seeds(config.seed, options.num_members, "--num-members")
    if config.num_seeds != 1:
        raise UserError(
            "--num-seeds has no meaning here: each member has a seed of its own; use --num-members"
        )
    if config.shard == "seeds":
        raise UserError("--shard seeds is not for populations, whose members copy each other; leave it out")


def check_space(space: Space) -> None:
    """Raises UserError where there is nothing that a population can explore."""
    if not space:
        raise UserError(
            "there is nothing to explore; say so with --sweep.OPTION, as --sweep.ppo.gamma uniform:0.9:1"
        )
    for name, values in space.items():
        if isinstance(values, Choice):
            raise UserError(
                f"--sweep.{name} must be a range, log:LOW:HIGH or uniform:LOW:HIGH, to be explored"
            )


def leaves_of(members: list[Member], space: Space) -> dict[str, str]:
    """The option behind each leaf of the configuration that varies.

    Raises:
        UserError: an option cannot change while the program runs.
    """
    varied = varied_leaves(members) if len(buckets(members)) == 1 else {}
    found = {}
    for name in space:
        path = name.rpartition(".")[2]
        asked = np.array([member.setting[name] for member in members])
        if (
            path not in varied
            or not np.issubdtype(varied[path].dtype, np.floating)
            or (varied[path] != asked).any()
        ):
            raise UserError(f"--sweep.{name} cannot change while the program runs; sweep it instead")
        found[path] = name
    others = sorted(set(varied) - set(found))
    if others:
        raise UserError(
            f"what is explored also changes {', '.join(others)}, which cannot follow; sweep it instead"
        )
    return found
