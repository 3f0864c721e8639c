"""The directory that a run leaves behind: made, found again, its configuration and summary written and read.

It holds `config.json`, `metrics.jsonl` (the same bytes for the same run, resumed or not), `timing.jsonl`,
`checkpoints/`, `summary.json`, `curves.png`, `diagnostics.png` and whatever the experiment's report adds.
"""

import itertools
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any, TypeVar

import jax
import jaxlib

from purerl.host import files, printing, serialization, textfiles
from purerl.host.errors import UserError, one_line
from purerl.run.experiment import HOST_OPTIONS, Experiment, RunOptions, check_options

T = TypeVar("T")

SCHEMA_VERSION = 3
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
