"""What an experiment is made of, and the directory that a run leaves behind.

A run directory holds `config.json`, `metrics.jsonl` (the same bytes for the same run, resumed or not),
`timing.jsonl`, `checkpoints/`, `summary.json`, `curves.png`, `diagnostics.png` and whatever the experiment's
report adds.
"""

import itertools
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
import numpy as np
import tyro
from rich.console import Console

from purerl.compile.placement import Shard
from purerl.host import files, limits, printing, serialization, textfiles
from purerl.host.errors import UserError, one_line
from purerl.host.hosts import Processes
from purerl.ranges import MOST_STEPS, Count, CountOrZero, Range, Runs, Seed
from purerl.types import Algorithm, PyTree, TrainState

T = TypeVar("T")

SCHEMA_VERSION = 2
CONFIG_FILE = "config.json"
METRICS_FILE = "metrics.jsonl"
TIMING_FILE = "timing.jsonl"
SUMMARY_FILE = "summary.json"
CHECKPOINTS = "checkpoints"
_REMEDY = "put the file back from a copy, or start a new run"
_CONFIG_FORM = textfiles.fields(
    {
        "experiment": textfiles.text,
        "num_devices": textfiles.whole_number(1, 2**20),
        "config": textfiles.an_object,
        "sha256": textfiles.text,
    }
)


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


def _no_report(run_dir: Path, state: TrainState, summary: dict[str, Any], console: Console) -> None:
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
    report: Callable[[Path, TrainState, dict[str, Any], Console], None] = _no_report
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


def create(options: RunOptions, experiment: Experiment, devices_used: int = 0) -> Path:
    """Make the run directory and write the configuration into it.

    Beside it stand the number of devices that environments are cut for, because what is drawn depends on it,
    and that of the devices which are used, because rounding does; 0 for all there are.

    Raises:
        UserError: the directory is not empty or cannot be made.
    """
    run_dir = new_directory(options, experiment.name)
    write_config(run_dir, options, experiment, devices_used)
    return run_dir


def new_directory(options: RunOptions, name: str) -> Path:
    """Make the directory of a run, or of several under one name.

    One that is not named has a name that no other process has: it is made, not looked for and then made.

    Raises:
        UserError: it is not empty or cannot be made.
    """
    default = Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-seed{options.seed}"
    run_dir = options.run_dir or default
    try:
        run_dir.parent.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(2):
            try:
                run_dir.mkdir()
            except FileExistsError:
                if options.run_dir is None:
                    run_dir = default.with_name(f"{default.name}-{number}")
                    continue
                if not run_dir.is_dir() or any(run_dir.iterdir()):
                    raise _not_empty(run_dir) from None
            return run_dir
    except OSError as error:
        raise UserError(f"--run-dir {run_dir} cannot be made: {one_line(error)}") from error
    raise AssertionError("there is always another number")


def _not_empty(run_dir: Path) -> UserError:
    go_on = printing.command("--resume", run_dir)
    return UserError(f"--run-dir {run_dir} is not empty; name a new directory, or use {go_on}")


def write_config(run_dir: Path, options: RunOptions, experiment: Experiment, devices_used: int = 0) -> None:
    """Write the configuration of a run, which is enough to repeat it."""
    saved = {
        "schema": SCHEMA_VERSION,
        "experiment": experiment.name,
        "versions": versions(),
        "num_devices": experiment.num_devices,
        "devices_used": devices_used,
        "config": serialization.encode(options),
        "sha256": _digest(options, experiment.num_devices),
    }
    write_new(run_dir / CONFIG_FILE, saved)


def write_new(file: Path, content: dict[str, Any]) -> None:
    """Write the first file of a run directory.

    Raises:
        UserError: another process was as fast, and had found the directory empty as well.
    """
    try:
        files.write_json(file, content, new=True)
    except FileExistsError:
        raise _not_empty(file.parent) from None


def read_config(run_dir: Path, config_class: type[T], option: str) -> T:
    """The configuration that a run was started with.

    Raises:
        UserError: there is no such run, or its configuration is damaged, out of range or of another version.
    """
    file = run_dir / CONFIG_FILE
    if not os.path.lexists(file):
        what = f"has no {CONFIG_FILE}, so it is not a run" if run_dir.is_dir() else "does not exist"
        raise UserError(f"{option} {run_dir}: the directory {what}; name the directory of an earlier run")
    config = serialization.decode(_read_config_file(run_dir)["config"], config_class)
    try:
        check_options(config)
    except UserError as error:
        raise UserError(f"{file}: {one_line(error)}; put the old value back") from error
    return config


def locate(path: Path, choice: str, option: str) -> tuple[Path, str]:
    """The directory of a run and the checkpoint that is meant; the path of a checkpoint may be given, too.

    Args:
        path: what was given.
        choice: "last", "best" or a number of chunks.
        option: that it was given with.

    Raises:
        UserError: the path is of one checkpoint, and another one was asked for.
    """
    for at in (path, path.resolve()):
        number = at.name.removeprefix("chunk-")
        if at.name.startswith("chunk-") and number.isdecimal() and at.parent.name == CHECKPOINTS:
            found = str(int(number))
            if choice not in ("last", found):
                raise UserError(f"{option} {path} is the checkpoint of chunk {found}, not {choice}")
            return at.parent.parent, found
        if at.name == CHECKPOINTS and os.path.lexists(at.parent / CONFIG_FILE):
            return at.parent, choice
    return path, choice


def _read_config_file(run_dir: Path) -> dict[str, Any]:
    file = run_dir / CONFIG_FILE
    saved = textfiles.read_object(file, textfiles.fields({"schema": textfiles.whole_number()}), _REMEDY)
    if saved["schema"] != SCHEMA_VERSION:
        raise UserError(
            f"{file} has format {saved['schema']}, this PureRL reads format {SCHEMA_VERSION}; go on with the "
            "version that wrote it, or start a new run"
        )
    if (words := _CONFIG_FORM(saved)) is not None:
        textfiles.refuse(file, f"it must hold {words}", _REMEDY)
    return saved


def num_devices(run_dir: Path) -> int:
    """Over how many devices a run was spread when it began.

    Raises:
        UserError: the configuration is damaged.
    """
    return _read_config_file(run_dir)["num_devices"]


def check_unchanged(run_dir: Path, options: RunOptions, experiment: Experiment) -> None:
    """Refuses a configuration that was changed since the run began, in what decides what is learned.

    Raises:
        UserError: it was, or it is that of another experiment.
    """
    file, saved = run_dir / CONFIG_FILE, _read_config_file(run_dir)
    if saved["experiment"] != experiment.name:
        raise UserError(
            f"{file} is of the experiment {saved['experiment']!r}, and this is {experiment.name!r}"
        )
    if saved["sha256"] != _digest(options, saved["num_devices"]):
        raise UserError(f"{file} is not what the run began with (its sha256 differs); {_REMEDY}")


def _digest(options: RunOptions, num_devices: int) -> str:
    return serialization.digest([training_config(options), num_devices])


def write_summary(run_dir: Path, summary: dict[str, Any]) -> None:
    """Write `summary.json`, with the SHA-256 of all but the evaluation, which can be made again."""
    content = {name: value for name, value in files.plain(summary).items() if name != "sha256"}
    files.write_json(run_dir / SUMMARY_FILE, content | {"sha256": _digest_of_summary(content)})


def read_summary(run_dir: Path) -> dict[str, Any]:
    """What `write_summary` wrote.

    Raises:
        UserError: it is damaged.
    """
    file, remedy = run_dir / SUMMARY_FILE, "it is made again"
    summary = textfiles.read_object(file, textfiles.fields({"sha256": textfiles.text}), remedy)
    if summary["sha256"] != _digest_of_summary(summary):
        textfiles.refuse(file, "it has another content than it was written with", remedy)
    return summary


def _digest_of_summary(summary: dict[str, Any]) -> str:
    return serialization.digest({name: summary[name] for name in summary if name not in ("eval", "sha256")})


def training_config(options: RunOptions) -> serialization.Json:
    """The encoded configuration without what only the host sees: it identifies what is learned."""
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
