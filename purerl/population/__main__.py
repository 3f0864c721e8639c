"""Train a population: the worst members copy the best, and change their hyperparameters.

    python -m purerl.population experiments/ppo.py --sweep.ppo.learning-rate log:1e-4:1e-2 --num-members 16

The first argument is the file of an experiment, whose own options follow; --sweep.OPTION takes log:LOW:HIGH
or uniform:LOW:HIGH. Population-based training, Jaderberg et al. 2017.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import tyro

from purerl.population.evolution import PopulationOptions
from purerl.population.training import resume, train_population
from purerl.run import cli
from purerl.sweep.command import check_resumed, read_command


@dataclass(frozen=True)
class Options(PopulationOptions):
    """How a population is trained."""

    resume: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Go on with the population in this directory, exactly where its newest checkpoint is."""


def _main() -> None:
    command = read_command(Options, __doc__ or "")
    if command.options.resume is not None:
        check_resumed(command)
        resume(command.options.resume, type(command.config), command.build, script=str(command.script))
        return
    options = PopulationOptions(
        **{field.name: getattr(command.options, field.name) for field in fields(PopulationOptions)}
    )
    train_population(command.config, command.build, command.space, options, script=str(command.script))


if __name__ == "__main__":
    cli.answer(_main)
