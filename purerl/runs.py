"""What an experiment is made of, and the directory that a run leaves behind.

A run directory holds `config.json`, `metrics.jsonl` (the same bytes for the same run, resumed or not),
`timing.jsonl`, `checkpoints/`, `summary.json`, `curves.png`, `diagnostics.png` and whatever the experiment's
report adds.
"""

import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import jax
import jaxlib
import tyro
from rich.console import Console

from purerl import files, serialization
from purerl.errors import UserError, one_line
from purerl.hosts import Processes
from purerl.placement import Shard
from purerl.ranges import MOST_STEPS, Range, Runs, Seed
from purerl.types import Algorithm, PyTree, TrainState

T = TypeVar("T")

SCHEMA_VERSION = 1
CONFIG_FILE = "config.json"
METRICS_FILE = "metrics.jsonl"
TIMING_FILE = "timing.jsonl"
SUMMARY_FILE = "summary.json"
CHECKPOINTS = "checkpoints"


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
    Range(1, MOST_STEPS),
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
    checkpoint_every_chunks: int = 0
    """Chunks between two checkpoints; 0 means ten checkpoints a run."""
    keep_checkpoints: int = 2
    """How many checkpoints stay on disk."""
    keep_going_on_nan: bool = False
    """Leave a seed that became NaN behind and train the others to the end."""
    shard: Shard = "environments"
    """What devices share: the environments of every seed, or the seeds, whole."""
    processes: Processes = "auto"
    """Whether several processes train one run: as the environment tells, always, or never."""


HOST_OPTIONS = (
    "track", "checkpoint_every_chunks", "keep_checkpoints", "keep_going_on_nan", "run_dir", "processes"
)  # fmt: skip
"""Options that change nothing in what is learnt: they may differ when a run is resumed."""


def _no_report(run_dir: Path, state: TrainState, summary: dict[str, Any], console: Console) -> None:
    """Draws nothing."""


class Experiment(NamedTuple):
    """Everything that the host side has to know about one experiment.

    Attributes:
        name: short name, the first part of the default run directory.
        algorithm: the pair of functions that learns.
        algorithm_config: its configuration.
        num_devices: for how many devices the environments of a new run are cut.
        build_program: `(*, seed, num_seeds, total_steps, num_devices, shard) -> purerl.train.Program`:
            compiles it.
        evaluate: `(learner of all seeds [S, ...], seed) -> nested dict`, the `eval` part of the summary.
        report: `(run_dir, final state of all seeds [S, ...], summary, console)`: draws the GIF, prints the
            table.
        return_metric: the metric that the progress display shows.
    """

    name: str
    algorithm: Algorithm
    algorithm_config: Any
    num_devices: int
    build_program: Callable[..., Any]
    evaluate: Callable[[PyTree, int], dict[str, Any]]
    report: Callable[[Path, TrainState, dict[str, Any], Console], None] = _no_report
    return_metric: str = "episode_return"


class Session(NamedTuple):
    """A run, as one process works on it.

    Attributes:
        experiment: what to run.
        options: its configuration.
        run_dir: its directory, with the configuration in it.
        console: where to show the progress.
    """

    experiment: Experiment
    options: RunOptions
    run_dir: Path
    console: Console


def check_options(options: RunOptions) -> None:
    """Refuse run options that cannot be meant.

    Raises:
        UserError: names the option, its value and its range.
    """
    smallest = {
        "seed": 0,
        "num_seeds": 1,
        "total_steps": 1,
        "checkpoint_every_chunks": 0,
        "keep_checkpoints": 1,
    }
    for name, least in smallest.items():
        value = getattr(options, name)
        if value < least:
            raise UserError(f"--{name.replace('_', '-')} is {value}; it must be at least {least}")
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


def create(options: RunOptions, experiment: Experiment) -> Path:
    """Make the run directory and write the configuration into it.

    The number of devices is written beside it, because what is drawn depends on it.

    Raises:
        UserError: the directory is not empty or cannot be made.
    """
    run_dir = new_directory(options, experiment.name)
    write_config(run_dir, options, experiment)
    return run_dir


def new_directory(options: RunOptions, name: str) -> Path:
    """Make the directory of a run, or of several under one name.

    Raises:
        UserError: it is not empty or cannot be made.
    """
    default = Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-seed{options.seed}"
    run_dir = options.run_dir or default
    try:
        if run_dir.exists() and (not run_dir.is_dir() or any(run_dir.iterdir())):
            raise UserError(
                f"--run-dir {run_dir} is not empty; name a new directory, or use --resume {run_dir}"
            )
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--run-dir {run_dir} cannot be made: {one_line(error)}") from error
    return run_dir


def write_config(run_dir: Path, options: RunOptions, experiment: Experiment) -> None:
    """Write the configuration of a run, which is enough to repeat it."""
    saved = {
        "schema": SCHEMA_VERSION,
        "experiment": experiment.name,
        "versions": versions(),
        "num_devices": experiment.num_devices,
        "config": serialization.encode(options),
    }
    files.write_json(run_dir / CONFIG_FILE, saved)


def read_config(run_dir: Path, config_class: type[T], option: str) -> T:
    """The configuration that a run was started with.

    Raises:
        UserError: there is no such run, or its configuration is of another version.
    """
    file = run_dir / CONFIG_FILE
    if not file.is_file():
        what = f"has no {CONFIG_FILE}, so it is not a run" if run_dir.is_dir() else "does not exist"
        raise UserError(f"{option} {run_dir}: the directory {what}; name the directory of an earlier run")
    try:
        saved = json.loads(file.read_text())
        schema, config = saved["schema"], saved["config"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file} is damaged ({one_line(error)}); start a new run") from error
    if schema != SCHEMA_VERSION:
        raise UserError(f"{file} has format {schema}, this PureRL reads format {SCHEMA_VERSION}")
    return serialization.decode(config, config_class)


def num_devices(run_dir: Path) -> int | None:
    """Over how many devices a run was spread when it began; None where that was not written down."""
    return json.loads((run_dir / CONFIG_FILE).read_text()).get("num_devices")


def training_config(options: RunOptions) -> serialization.Json:
    """The encoded configuration without what only the host sees: it identifies what is learnt."""
    encoded = serialization.encode(options)
    return {key: value for key, value in encoded.items() if key not in HOST_OPTIONS}


def versions() -> dict[str, str]:
    """Versions that decide whether a run can be repeated bit by bit."""
    return {"python": platform.python_version(), "jax": jax.__version__, "jaxlib": jaxlib.__version__}


def machine() -> dict[str, Any]:
    """Device, processor and core count; nothing that names the host."""
    devices = jax.devices()
    kind = devices[0].device_kind
    return {
        "device": kind if len(devices) == 1 else f"{len(devices)} x {kind}",
        "machine": {"cpu": _processor(), "cores": os.cpu_count(), "system": sys.platform},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
