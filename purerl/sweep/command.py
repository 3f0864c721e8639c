"""The command line of sweeps: the experiment's own, and what is to be varied."""

import dataclasses
import importlib.util
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from purerl.host import limits
from purerl.host.errors import UserError, one_line
from purerl.run import arguments
from purerl.run.experiment import RunOptions
from purerl.sweep.space import Values, parse_values

_PREFIX = "--sweep."


class Command(NamedTuple):
    """What was asked for.

    Attributes:
        script: file of the experiment.
        build: its function from a configuration to an experiment.
        config: its configuration from the command line.
        options: how to sweep.
        space: options by name, and what each may be.
    """

    script: Path
    build: Any
    config: Any
    options: Any
    space: dict[str, Values]


def read_command(options_class: type[Any], description: str, argv: Sequence[str] | None = None) -> Command:
    """Reads `SCRIPT [options of the experiment] [--sweep.OPTION VALUES] [options of the sweep]`.

    Args:
        options_class: dataclass of the options of the sweep.
        description: first paragraph of the help.
        argv: arguments; None: those of the process.

    Raises:
        UserError: the script is no experiment, or an option is wrong.
    """
    tokens = list(sys.argv[1:] if argv is None else argv)
    if not tokens or tokens[0].startswith("-"):
        if {"-h", "--help"} & set(tokens):
            arguments.describe(tokens, description)
            raise SystemExit(0)
        raise UserError("the first argument is the file of an experiment, as experiments/ppo.py")
    script, rest = Path(tokens[0]), tokens[1:]
    config_class, build = load_experiment(script)
    space, rest = _split(rest)
    config, options = arguments.parse_beside(config_class, options_class, description, rest)
    return Command(script, build, config, options, space)


def check_resumed(command: Command) -> None:
    """Raises UserError where a sweep that is resumed is given options that it has already."""
    changed = command.config != type(command.config)()
    changed |= dataclasses.replace(command.options, resume=None) != type(command.options)()
    if command.space or changed:
        raise UserError("--resume takes no other option: the sweep keeps its own; leave them out")


def load_experiment(script: Path) -> tuple[type[Any], Any]:
    """The class `Config` and the function `build` of an experiment, found by its file.

    Raises:
        UserError: there is no such file, it cannot be loaded, or it has no such names.
    """
    limits.check_path("the experiment", script)
    if not script.is_file():
        raise UserError(f"{script} does not exist; name the file of an experiment, as experiments/ppo.py")
    folder = str(script.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)  # what experiments share lies beside them
    spec = importlib.util.spec_from_file_location(script.stem, script)
    if spec is None or spec.loader is None:
        raise UserError(f"{script} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(script.stem)
    sys.modules[script.stem] = module  # where dataclasses look for their annotations
    try:
        spec.loader.exec_module(module)
        config_class, build = getattr(module, "Config", None), getattr(module, "build", None)
        if isinstance(config_class, type):
            config_class()
        if not (isinstance(config_class, type) and issubclass(config_class, RunOptions) and callable(build)):
            raise UserError(f"{script} is no experiment: it has no Config on top of RunOptions, or no build")
    except (Exception, SystemExit) as error:
        del sys.modules[script.stem]  # it may have the name of a module that others need
        if before is not None:
            sys.modules[script.stem] = before
        if isinstance(error, UserError):
            raise
        raise UserError(f"{script} {_why_not(error, script)}") from error
    return config_class, build


def _why_not(error: BaseException, script: Path) -> str:
    """What is wrong with the file of an experiment, and in which of its lines."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(script)]
    if isinstance(error, SyntaxError) and error.filename == str(script):
        lines = [error.lineno]
    where = f" in line {lines[-1]}" if lines and lines[-1] else ""
    what = error.msg if isinstance(error, SyntaxError) else one_line(error)
    return f"cannot be loaded: {type(error).__name__}{where}{': ' * bool(what)}{what}"


def _split(tokens: Sequence[str]) -> tuple[dict[str, Values], list[str]]:
    """Takes out `--sweep.OPTION VALUES`."""
    space: dict[str, Values] = {}
    rest, iterator = [], iter(tokens)
    for token in iterator:
        if not token.startswith(_PREFIX):
            rest.append(token)
            continue
        name, _, text = token.removeprefix(_PREFIX).partition("=")
        text = text or next(iterator, "")
        if not text or text.startswith("--"):
            raise UserError(f"{token} takes log:LOW:HIGH, uniform:LOW:HIGH or VALUE,VALUE,...")
        name = name.replace("-", "_")
        if name in space:
            raise UserError(f"{token} is given twice")
        space[name] = parse_values(name.replace("_", "-"), text)
    return space, rest
