"""The command line of an experiment: what is wrong with it is said in one line, and tyro reads the rest."""

import contextlib
import inspect
import io
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Generic, NamedTuple, TypeVar

import tyro

from purerl.host import limits
from purerl.host.errors import UserError
from purerl.run import help_texts, mistakes
from purerl.run.experiment import HOST_OPTIONS, RunOptions
from purerl.run.help_texts import describe

C = TypeVar("C", bound=RunOptions)
T = TypeVar("T")

SHELLS = ("bash", "zsh", "tcsh")
"""Shells that completion is printed for."""
_COMPLETION = {"--tyro-print-completion": "", "--tyro-write-completion": ", and a file"}


@dataclass(frozen=True)
class RunChoices:
    """What is to be done with an earlier run."""

    resume: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Go on with the run in this directory, exactly where its newest checkpoint is."""
    eval_only: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Evaluate the newest checkpoint of the run in this directory, and train no more."""
    checkpoint: Annotated[str | None, tyro.conf.arg(metavar="last|best|N")] = None
    """With --resume or --eval-only: another checkpoint that was kept, the best or that after N chunks."""


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
    parsed = _parse_with_tyro(_both(RunChoices, config_class), tokens, known=(RunChoices, config_class))
    limits.check(parsed.config)
    limits.check(parsed.options)
    choices = parsed.options
    request = Request(
        config=parsed.config,
        given=tuple(_option_names(tokens)),
        resume=choices.resume,
        eval_only=choices.eval_only,
        checkpoint=choices.checkpoint or "last",
    )
    _check_choices(request, is_chosen=choices.checkpoint is not None)
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
    describe(tokens, description)
    parsed = _parse_with_tyro(_both(options_class, config_class), tokens, known=(options_class, config_class))
    limits.check(parsed.options)
    limits.check(parsed.config)
    return parsed.config, parsed.options


def parse_command(
    commands: Mapping[str, type[Any]], description: str, argv: Sequence[str] | None = None
) -> Any:
    """Read the command line of a program with several commands, of which the first word names one.

    Args:
        commands: dataclasses of their options, by name; without a word the first is meant.
        description: what `--help` says, before it names the commands.
        argv: arguments, without the name of the program; None: those of the process.

    Returns:
        The options of the command that was named.

    Raises:
        UserError: there is no such command, or one of its options is wrong.
    """
    tokens = list(sys.argv[1:] if argv is None else argv)
    name = tokens[0] if tokens else next(iter(commands))
    if name in commands:
        return parse_alone(commands[name], commands[name].__doc__ or "", tokens[1:])
    if name not in help_texts.ASKED:
        raise UserError(f"{limits.shown(name)!r} is no command; there are {', '.join(commands)}")
    said = [f"    {each:9} {(command.__doc__ or '').strip()}" for each, command in commands.items()]
    paragraphs = [inspect.cleandoc(description), "\n".join(said), "Each of them takes --help as well."]
    describe(tokens, "\n\n".join(paragraphs))
    raise SystemExit(0)


def _both(options_class: type[Any], config_class: type[Any]) -> Any:
    """A dataclass whose options are those of two others, under the names that they have there."""
    unprefixed = tyro.conf.arg(name="")

    @dataclass(frozen=True)
    class Arguments:
        options: Annotated[options_class, unprefixed] = field(default_factory=options_class)  # type: ignore[valid-type]
        config: Annotated[config_class, unprefixed] = field(default_factory=config_class)  # type: ignore[valid-type]

    return Arguments


def _parse_with_tyro(
    arguments_class: Any, tokens: list[str], default: Any = None, known: Sequence[Any] = ()
) -> Any:
    _check_completion(tokens)
    if not _asks_for_text(tokens):
        mistakes.check(tokens, *(known or (arguments_class if default is None else default,)))
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            return tyro.cli(
                arguments_class,
                prog=help_texts.program(),
                args=tokens,
                description="",
                **({} if default is None else {"default": default}),
                registry=help_texts.registry,
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise UserError("the command line cannot be read; --help lists all options") from None


def _asks_for_text(tokens: list[str]) -> bool:
    """Whether help or completion is asked for, in the place of what the command does."""
    is_completion = any(token.replace("_", "-") in _COMPLETION for token in tokens[:1])
    return is_completion or bool(help_texts.ASKED & set(tokens))


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
