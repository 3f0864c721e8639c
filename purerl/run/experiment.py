"""What an experiment is made of: the options of a run, what is trained, how it is judged; one session."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import tyro
from rich.console import Console

from purerl.compile.placement import Shard
from purerl.host import limits
from purerl.host.errors import UserError
from purerl.host.hosts import Processes
from purerl.ranges import MOST_STEPS, Count, CountOrZero, Range, Runs, Seed
from purerl.types import Algorithm, PyTree, TrainState


def _whole_number(texts: list[str]) -> int:
    number = float(texts[0].replace("_", ""))
    if not number.is_integer():
        raise ValueError(f"{texts[0]!r} is not a whole number")
    return int(number)


Steps = Annotated[
    int,
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="INT",
        instance_from_str=_whole_number,
        is_instance=lambda value: isinstance(value, int),
        str_from_instance=lambda value: [str(value)],
    ),
    Range(1, MOST_STEPS, whole=True),
]
"""A whole number that may be written as 2e6 or 2_000_000 on the command line."""


@dataclass(frozen=True)
class RunOptions:
    """Options that every experiment shares."""

    seed: Seed = 0
    """Seed of the run; of the first run where there are several seeds."""
    num_seeds: Runs = 1
    """How many seeds train side by side, as one program."""
    total_steps: Steps = 1_000_000
    """Environment steps for each seed; 2e6 is understood."""
    run_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Where the run is kept; must be new or empty. By default runs/NAME-DATE-seedSEED."""
    track: Literal["none", "wandb", "tensorboard"] = "none"
    """Where metrics go besides metrics.jsonl; wandb stays offline without an API key."""
    checkpoint_every_chunks: CountOrZero = 0
    """Chunks between two checkpoints; 0 means ten checkpoints a run."""
    keep_checkpoints: Count = 2
    """How many checkpoints stay on disk."""
    keep_best: bool = False
    """Keep the checkpoint with the highest training return as well (--checkpoint best)."""
    keep_going_on_nan: bool = False
    """Leave a seed that became NaN behind and train the others to the end."""
    shard: Shard = "environments"
    """What devices share: the environments of every seed, or the seeds, whole."""
    devices: CountOrZero = 0
    """How many devices of this machine to use; 0 for as many as pay beside what else is running. It changes
    rounding, but not what is drawn."""
    processes: Processes = "auto"
    """Whether several processes train one run: as the environment tells, always, or never."""


HOST_OPTIONS = (
    "track", "checkpoint_every_chunks", "keep_checkpoints", "keep_best", "keep_going_on_nan", "run_dir",
    "processes", "devices",
)  # fmt: skip
"""Options that change nothing in what is learned: they may differ when a run is resumed."""


def no_report(run_dir: Path, state: TrainState, summary: dict[str, Any], console: Console) -> None:
    """Draws nothing."""


class Experiment(NamedTuple):
    """Everything that the host side has to know about one experiment.

    Attributes:
        name: short name, the first part of the default run directory.
        algorithm: the pair of functions that learns.
        algorithm_config: its configuration.
        num_devices: for how many devices the environments of a new run are cut.
        build_program: `(*, seed, num_seeds, total_steps, num_devices, shard) ->
            purerl.compile.program.Program`: compiles it.
        evaluate: `(learner of all seeds [S, ...], seed) -> nested dict`, the `eval` part of the summary.
        report: `(run_dir, final state of all seeds [S, ...], summary, console)`: draws the GIF, prints the
            table.
        return_metric: the metric that the progress display shows.
        scored: names that lead to the part of `eval` that a run is scored by; where it has several cells, by
            their mean.
        score: `(learners [S, ...], seed, num_episodes) -> [S]`: what would stand there after a short
            evaluation, compiled once, for sweeps and populations; None: they score by returns of training.
    """

    name: str
    algorithm: Algorithm
    algorithm_config: Any
    num_devices: int
    build_program: Callable[..., Any]
    evaluate: Callable[[PyTree, int], dict[str, Any]]
    report: Callable[[Path, TrainState, dict[str, Any], Console], None] = no_report
    return_metric: str = "episode_return"
    scored: tuple[str, ...] = ()
    score: Callable[[PyTree, int, int], np.ndarray] | None = None


class Session(NamedTuple):
    """A run, as one process works on it.

    Attributes:
        experiment: what to run.
        options: its configuration.
        run_dir: its directory, with the configuration in it.
        console: where to show the progress.
        checkpoint: which one to begin with: "last", "best", or a number of chunks.
    """

    experiment: Experiment
    options: RunOptions
    run_dir: Path
    console: Console
    checkpoint: str = "last"


def check_options(options: RunOptions) -> None:
    """Refuse options out of their range, and seeds that run together but end beyond the largest.

    Raises:
        UserError: names the option, its value and its range.
    """
    limits.check(options)
    check_seeds(options.seed, options.num_seeds, "--num-seeds")


def check_seeds(seed: int, count: int, option: str) -> None:
    """Refuse seeds that go on beyond the largest, where they would begin at 0 again.

    Raises:
        UserError: names both options.
    """
    if seed + count > 2**32:
        raise UserError(
            f"--seed {seed} with {option} {count} ends at seed {seed + count - 1}; the largest is {2**32 - 1}"
        )
