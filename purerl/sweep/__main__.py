"""Train an experiment with many settings of its hyperparameters, each with several seeds.

    python -m purerl.sweep experiments/ppo.py --sweep.ppo.learning-rate log:1e-4:1e-2 --num-members 16

    python -m purerl.sweep experiments/ppo.py --sweep.ppo.gamma 0.9,0.99 --sweep.ppo.num-epochs 2,4

The first argument is the file of an experiment, whose own options follow; --sweep.OPTION takes log:LOW:HIGH,
uniform:LOW:HIGH (either with a number of points behind it, for a grid) or VALUE,VALUE,... for any of them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from purerl.run import cli
from purerl.sweep.command import check_resumed, read_command
from purerl.sweep.settings import SweepOptions
from purerl.sweep.training import resume, sweep


@dataclass(frozen=True)
class Options(SweepOptions):
    """How a sweep is made."""

    resume: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Go on with the sweep in this directory, exactly where its newest checkpoints are."""


def _main() -> None:
    command = read_command(Options, __doc__ or "")
    if command.options.resume is not None:
        check_resumed(command)
        resume(command.options.resume, type(command.config), command.build, script=str(command.script))
    else:
        options = SweepOptions(
            **{name: getattr(command.options, name) for name in SweepOptions.__dataclass_fields__}
        )
        sweep(command.config, command.build, command.space, options, script=str(command.script))


if __name__ == "__main__":
    cli.answer(_main)
