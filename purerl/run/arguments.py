"""The command line of an experiment: tyro reads it, and each of its refusals becomes one line."""

import contextlib
import dataclasses
import difflib
import inspect
import io
import itertools
import re
import shutil
import sys
import textwrap
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Generic, NamedTuple, TypeVar

import tyro

from purerl.host import limits
from purerl.host.errors import UserError
from purerl.run import options
from purerl.run.experiment import HOST_OPTIONS, RunOptions

C = TypeVar("C", bound=RunOptions)
T = TypeVar("T")

# What tyro calls a value, in the words of a message: one of them, several of them.
_WORDS = {
    "INT": ("a whole number", "whole numbers"),
    "FLOAT": ("a number", "numbers"),
    "PATH": ("a path", "paths"),
    "STR": ("a word", "words"),
}

SHELLS = ("bash", "zsh", "tcsh")
"""Shells that completion is printed for."""
_COMPLETION = {"--tyro-print-completion": "", "--tyro-write-completion": ", and a file"}


class Request(NamedTuple, Generic[C]):
    """What was asked for.

    Attributes:
        config: the configuration from the command line.
        given: names of the configuration options that were written out.
        resume: the run to go on with.
        eval_only: the run to evaluate.
        checkpoint: which of its checkpoints: "last", "best", or a number of chunks.
    """

    config: C
    given: tuple[str, ...]
    resume: Path | None
    eval_only: Path | None
    checkpoint: str = "last"


def parse(
    config_class: type[C], argv: Sequence[str] | None = None, description: str | None = None
) -> Request[C]:
    """Read the command line; `--help` prints and exits.

    Args:
        config_class: frozen dataclass on top of `RunOptions`, with a default for each field.
        argv: arguments, without the name of the program; None: those of the process.
        description: first paragraph of the help; None: the docstring of the class.

    Raises:
        UserError: an option is unknown, misspelt or has a wrong value.
    """
    tokens = list(sys.argv[1:] if argv is None else argv)
    describe(tokens, description or config_class.__doc__ or "")
    parsed = _parse_with_tyro(_with_run_choices(config_class), tokens)
    limits.check(parsed.config)
    for option, path in (("--resume", parsed.resume), ("--eval-only", parsed.eval_only)):
        if path is not None:
            limits.check_path(option, path)
    given = tuple(_option_names(tokens))
    request = Request(
        config=parsed.config,
        given=given,
        resume=parsed.resume,
        eval_only=parsed.eval_only,
        checkpoint=parsed.checkpoint or "last",
    )
    _check_choices(request, is_chosen=parsed.checkpoint is not None)
    _check_unread(request)
    return request


def parse_alone(
    options_class: type[T], description: str, argv: Sequence[str] | None = None, default: T | None = None
) -> T:
    """Read the command line of a command that is no experiment; `--help` prints and exits.

    Args:
        options_class: dataclass with a default for each field.
        description: first paragraph of the help.
        argv: arguments, without the name of the program; None: those of the process.
        default: options that are not given; None: those of the class.

    Raises:
        UserError: an option is unknown, misspelt or has a wrong value.
    """
    tokens = list(sys.argv[1:] if argv is None else argv)
    describe(tokens, description)
    parsed = _parse_with_tyro(options_class, tokens, default)
    limits.check(parsed)
    return parsed


def parse_beside(
    config_class: type[C], options_class: type[T], description: str, tokens: list[str]
) -> tuple[C, T]:
    """Read the options of an experiment and, between them, those of what is done with it.

    Args:
        config_class: of the experiment.
        options_class: of the other options; a dataclass with a default for each field.
        description: first paragraph of the help.
        tokens: the command line.

    Raises:
        UserError: an option is unknown, misspelt or has a wrong value.
    """
    unprefixed = tyro.conf.arg(name="")

    @dataclass(frozen=True)
    class Arguments:
        options: Annotated[options_class, unprefixed] = field(default_factory=options_class)  # type: ignore[valid-type]
        config: Annotated[config_class, unprefixed] = field(default_factory=config_class)  # type: ignore[valid-type]

    describe(tokens, description)
    parsed = _parse_with_tyro(Arguments, tokens)
    limits.check(parsed.options)
    limits.check(parsed.config)
    return parsed.config, parsed.options


def describe(tokens: list[str], description: str) -> None:
    """Print what a command is for where `--help` is asked for."""
    if "-h" in tokens or "--help" in tokens:
        print(_wrapped(inspect.cleandoc(description)), end="\n\n")


def _wrapped(text: str) -> str:
    """Paragraphs broken at the width of the terminal; indented ones, which are commands, as they are."""
    width = min(shutil.get_terminal_size().columns, 100)
    paragraphs = [part if part.startswith(" ") else textwrap.fill(part, width) for part in text.split("\n\n")]
    return "\n\n".join(paragraphs)


def _with_run_choices(config_class: type[C]) -> Any:
    """A dataclass with the configuration and, beside it, what is to be done with an earlier run."""

    unprefixed = tyro.conf.arg(name="")

    @dataclass(frozen=True)
    class Arguments:
        config: Annotated[config_class, unprefixed] = field(default_factory=config_class)  # type: ignore[valid-type]
        resume: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
        """Go on with the run in this directory, exactly where its newest checkpoint is."""
        eval_only: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
        """Evaluate the newest checkpoint of the run in this directory, and train no more."""
        checkpoint: Annotated[str | None, tyro.conf.arg(metavar="last|best|N")] = None
        """With --resume or --eval-only: another checkpoint that was kept, the best or that after N chunks."""

    return Arguments


def _parse_with_tyro(arguments_class: Any, tokens: list[str], default: Any = None) -> Any:
    _check_completion(tokens)
    captured = io.StringIO()
    try:
        with contextlib.redirect_stderr(captured):
            return tyro.cli(
                arguments_class,
                args=tokens,
                description="",
                **({} if default is None else {"default": default}),
                registry=options.registry,
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        known = arguments_class if default is None else default
        raise UserError(_in_one_line(captured.getvalue(), tokens, known)) from None


def _check_completion(tokens: list[str]) -> None:
    """Refuse what would end in an assertion: completion for a shell that there is none for."""
    first = tokens[0].replace("_", "-").partition("=")[0] if tokens else ""
    if first not in _COMPLETION:
        return
    wanted = f"{first} takes one of {', '.join(SHELLS)}" + _COMPLETION[first]
    if len(tokens) < 2 or tokens[1] not in SHELLS:
        raise UserError(f"{wanted}, not {limits.shown(' '.join(tokens[1:2]))!r}")
    if _COMPLETION[first] and len(tokens) < 3:
        raise UserError(wanted)


def _in_one_line(printed: str, tokens: list[str], arguments_class: Any) -> str:
    """What tyro printed in a box, as one sentence."""
    lines = [line.strip("│╭╮╰╯ ") for line in printed.splitlines()]
    body = [line for line in lines[1:] if line.strip()]
    sections = itertools.groupby(body, key=lambda line: not line.strip("─-"))
    message = " ".join(next((list(section) for is_rule, section in sections if not is_rule), body))
    if message.startswith("Unrecognized"):
        return _unknown_option(message, tokens, arguments_class)
    if found := re.match(r"Missing value for argument '(.+?)'\. Expected (\d+) values?", message):
        name, count = found.groups()
        return f"{name} takes {count} value{'s' * (count != '1')}"
    if found := re.match(
        r"invalid choice '(.*)' for argument '(.+?)'\. Expected one of \((.*?),?\)", message
    ):
        value, name, choices = found.groups()
        return f"{name} takes {choices.replace(chr(39), '').replace(', ', ' | ')}, not {value!r}"
    if found := re.match(r"Error parsing (--[\w.-]+).*?: (.*)", message):
        return _wrong_type(found.group(1), found.group(2), body)
    return message


def _wrong_type(name: str, reason: str, body: list[str]) -> str:
    metavar = next((line.partition(" ")[2] for line in body if line.startswith(f"{name} ")), "")
    values = re.search(r"from \[(.*?)\]", reason)
    given = " ".join(re.findall(r"'(.*?)'", values.group(1) if values else reason))
    wanted = " or ".join(_in_words(choice.strip("{}")) for choice in reversed(metavar.split("|")))
    return f"{name} takes {wanted}, not {given!r}" if wanted and given else f"{name}: {reason}"


def _in_words(metavar: str) -> str:
    """`FLOAT FLOAT` as "2 numbers", `[INT [INT ...]]` as "whole numbers"."""
    kinds = re.findall(r"[A-Z]{2,}", metavar)
    if not kinds or kinds[0] not in _WORDS or len(set(kinds)) > 1:
        return metavar
    one, several = _WORDS[kinds[0]]
    if "..." in metavar:
        return several
    return one if len(kinds) == 1 else f"{len(kinds)} {several}"


def _unknown_option(message: str, tokens: list[str], arguments_class: Any) -> str:
    unknown = re.sub(r"^.*?options?: *", "", message).split(", ")[0].partition("=")[0]
    if not unknown.startswith("--"):
        before = tokens[: tokens.index(unknown)] if unknown in tokens else []
        option = next((token for token in reversed(before) if token.startswith("--")), None)
        where = f"{option} takes fewer values" if option else "options begin with --"
        return f"{unknown!r} is not an option; {where}"
    prefix, _, name = unknown.replace("_", "-").strip("-").rpartition(".")
    names = _known_options(arguments_class)
    fields = difflib.get_close_matches(name, {_field(option) for option in names}, n=1, cutoff=0.6)
    close = [name for name in names if _field(name) in fields]
    near = [name for name in close if name.startswith(f"--{prefix}.")] or close
    hint = f"did you mean {' or '.join(near[:3])}?" if near else "--help lists all options"
    return f"unknown option {unknown}; {hint}"


def _field(name: str) -> str:
    return name.strip("-").rpartition(".")[2]


def _known_options(config_class: Any, prefix: str = "--") -> list[str]:
    names = []
    default = config_class() if isinstance(config_class, type) else config_class
    hints = typing.get_type_hints(type(default), include_extras=True) if prefix != "--" else {}
    for member in dataclasses.fields(default):
        if tyro.conf.Suppress in getattr(hints.get(member.name), "__metadata__", ()):
            continue
        value = getattr(default, member.name)
        nested = dataclasses.is_dataclass(value)
        name = prefix + member.name.replace("_", "-")
        is_unprefixed = prefix == "--" and member.name in ("config", "options")
        names += _known_options(value, prefix if is_unprefixed else f"{name}.") if nested else [name]
    return names


def _option_names(tokens: list[str]) -> list[str]:
    """Options of the configuration among the tokens, as the help spells them; `--no-x` counts as `--x`."""
    names = [token.partition("=")[0].replace("_", "-") for token in tokens if token.startswith("--")]
    names = [name.replace("--no-", "--", 1) for name in names]
    return [name for name in names if name not in ("--resume", "--eval-only", "--checkpoint")]


def _check_unread(request: Request[Any]) -> None:
    """Refuse options without effect: those that `unread` of a configuration names, with the reason."""
    unread = getattr(request.config, "unread", None)
    for name, reason in (unread() if unread else {}).items():
        option = "--" + name.replace("_", "-")
        given = next(
            (each for each in request.given if each == option or each.startswith(f"{option}.")), None
        )
        if given:
            raise UserError(f"{given} has no effect with {reason}; leave one of them out")


def _check_choices(request: Request[Any], is_chosen: bool) -> None:
    choice = request.checkpoint
    if choice not in ("last", "best") and not (choice.isascii() and choice.isdecimal() and len(choice) < 9):
        raise UserError(f"--checkpoint takes last, best or a number of chunks, not {choice!r}")
    if is_chosen and request.resume is None and request.eval_only is None:
        raise UserError("--checkpoint says which one of an earlier run; give --resume or --eval-only as well")
    if request.resume is not None and request.eval_only is not None:
        raise UserError("--resume and --eval-only exclude each other; a resumed run is evaluated at its end")
    earlier = (
        "--resume" if request.resume is not None else "--eval-only" if request.eval_only is not None else None
    )
    harmless = {"--" + name.replace("_", "-") for name in HOST_OPTIONS if name != "run_dir"}
    refused = [name for name in request.given if name not in harmless]
    if earlier and refused:
        raise UserError(
            f"{', '.join(refused)} cannot be given with {earlier}: the run keeps its own configuration; "
            "leave it out, or start a new run"
        )
