"""The command of every experiment: train, go on with a run, or evaluate one."""

import dataclasses
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import jax
from rich.console import Console

from purerl.compile import xla
from purerl.compile.runtime import enable_compilation_cache, use_single_precision
from purerl.host import hosts
from purerl.host.errors import Interrupted, UserError, one_line
from purerl.run import arguments, device_choice, directory, session
from purerl.run.building import build_experiment
from purerl.run.experiment import Experiment, RunOptions
from purerl.run.session import Session

C = TypeVar("C", bound=RunOptions)
Build = Callable[[C], Experiment]


def main(
    config_class: type[C], build: Build[C], argv: Sequence[str] | None = None, description: str | None = None
) -> NoReturn:
    """Run an experiment script: read the command line, do what it asks for, exit.

    The exit code is 0 after success, 1 where training could not go on, 2 for a wrong request and 130 after
    Ctrl-C. Errors are one line on standard error.

    Args:
        config_class: frozen dataclass on top of `RunOptions`, with a default for each field.
        build: the experiment that a configuration describes. It checks the configuration, and raises
            `UserError` or `ValueError` with one line where it cannot be run.
        argv: arguments, without the name of the program; None: those of the process.
        description: first paragraph of the help; None: the docstring of the class.
    """
    answer(lambda: _dispatch(arguments.parse(config_class, argv, description), config_class, build))


def answer(work: Callable[[], None]) -> NoReturn:
    """Do the work of a command, and exit: with one line on standard error where something is wrong."""
    if (warning := xla.untried()) is not None:
        print(warning, file=sys.stderr)
    try:
        use_single_precision()
        enable_compilation_cache()
        work()
    except UserError as error:
        prefix = "" if isinstance(error, Interrupted) else "error: "
        print(f"{prefix}{one_line(error)}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(Interrupted.exit_code)
    except BrokenPipeError:
        # The reader of our output is gone (`| head`); nor could Python's last flush be delivered.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _end_with(f"{where}{one_line(error)}")
    except MemoryError:
        _end_with("there is not enough memory; make the experiment smaller, or its groups")
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        _end_with(f"there is not enough memory, make the experiment smaller: {one_line(error)[:200]}")
    sys.exit(0)


def _end_with(sentence: str) -> NoReturn:
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(1)


def run_experiment(config: C, build: Build[C], console: Console | None = None) -> dict[str, Any]:
    """Train a new run from its beginning to its report.

    Args:
        config: the configuration; `config.run_dir` must be new or empty.
        build: the experiment that a configuration describes.
        console: where to show the progress; None: standard output.

    Returns:
        The summary, as written to `summary.json`.
    """
    experiment = build_experiment(build, config)
    config = _own(config, config.run_dir)
    console = console or hosts.console()
    choice = device_choice.for_new(experiment, config, num_runs=config.num_seeds)
    run_dir = directory.create(config, experiment, choice.devices)
    choice.say(console)
    return session.train(Session(experiment, config, run_dir, console), resumed=False)


def resume(
    run_dir: Path,
    config_class: type[C],
    build: Build[C],
    console: Console | None = None,
    checkpoint: str = "last",
    **host_options: Any,
) -> dict[str, Any]:
    """Go on with a run from its newest whole checkpoint, or from its beginning where there is none.

    Args:
        run_dir: directory of the run, or of one of its checkpoints.
        config_class: class of its configuration.
        build: the experiment that a configuration describes.
        console: where to show the progress; None: standard output.
        checkpoint: another one, "best" or a number of chunks: what came after it is put aside.
        **host_options: new values of options that do not change what is learned.

    Returns:
        The summary, as written to `summary.json`.
    """
    run_dir, checkpoint = directory.locate(run_dir, checkpoint, "--resume")
    config = dataclasses.replace(directory.read_config(run_dir, config_class, "--resume"), **host_options)
    device_choice.for_resumed(host_options.get("devices", config.devices), device_choice.of_run(run_dir))
    experiment = build_experiment(build, config)
    config = _own(config, run_dir)
    run_dir = config.run_dir or run_dir
    console = console or hosts.console()
    return session.train(Session(experiment, config, run_dir, console, checkpoint), resumed=True)


def evaluate_only(
    run_dir: Path,
    config_class: type[C],
    build: Build[C],
    console: Console | None = None,
    checkpoint: str = "last",
) -> dict[str, Any]:
    """Evaluate the newest checkpoint of a run and rewrite the `eval` part of its summary.

    Args:
        run_dir: directory of the run, or of one of its checkpoints.
        config_class: class of its configuration.
        build: the experiment that a configuration describes.
        console: where to print; None: standard output.
        checkpoint: another one, "best" or a number of chunks, whose results get a folder of their own.

    Returns:
        The summary, as written to `summary.json`.
    """
    run_dir, checkpoint = directory.locate(run_dir, checkpoint, "--eval-only")
    config = directory.read_config(run_dir, config_class, "--eval-only")
    device_choice.for_resumed(0, device_choice.of_run(run_dir))
    console = console or hosts.console()
    experiment = build_experiment(build, config)
    return session.evaluate(Session(experiment, config, run_dir, console, checkpoint))


def _own(config: C, run_dir: Path | None) -> C:
    """The configuration with the directory that this process writes to; one process alone tracks the run."""
    track = config.track if hosts.is_first() else "none"
    return dataclasses.replace(config, run_dir=hosts.own_directory(run_dir), track=track)


def _dispatch(request: arguments.Request[C], config_class: type[C], build: Build[C]) -> None:
    hosts.start(request.config.processes)
    if request.resume is not None:
        named = {name.strip("-").replace("-", "_") for name in request.given}
        changed = {name: getattr(request.config, name) for name in named}
        resume(request.resume, config_class, build, checkpoint=request.checkpoint, **changed)
    elif request.eval_only is not None:
        evaluate_only(request.eval_only, config_class, build, checkpoint=request.checkpoint)
    else:
        run_experiment(request.config, build)
