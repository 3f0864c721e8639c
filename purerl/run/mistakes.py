"""What is wrong with a command line: one line that names the option and what it takes.

What tyro says of a mistake is a picture for people. Here the same tokens are held against the types of the
options, before tyro reads them, by its own public description of how each type is read.
"""

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from purerl.host.errors import UserError
from purerl.host.limits import shown

_WORDS = {
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    Path: ("a path", "paths"),
    str: ("a word", "words"),
    bool: ("True or False", "True or False, each"),
    type(None): ("None", "None"),
}
"""What a type is called in a message: one of it, several of it."""


class Option(NamedTuple):
    """One option.

    Attributes:
        name: as it is written, "--env.gains"; that of a positional argument without dashes.
        hint: its type, with what stands beside it.
        is_flag: whether it takes no value.
        is_required: whether it must be given.
    """

    name: str
    hint: Any
    is_flag: bool = False
    is_required: bool = False


def check(tokens: Sequence[str], *known: Any) -> None:
    """Refuse the first token that cannot be meant.

    Args:
        tokens: the command line.
        known: dataclasses of options, or instances of them.

    Raises:
        UserError: an option is unknown, misspelt or has a wrong value.
    """
    everything = [option for each in known for option in options_of(each)]
    options = {option.name: option for option in everything if option.name.startswith("--")}
    positional = [option for option in everything if not option.name.startswith("--")]
    for name, values in _groups(tokens):
        option = options.get((name or "").replace("_", "-"))
        if name is not None and option is None:
            raise UserError(_unknown(name, list(options)))
        rest = values if option is None else _take(option, values)
        while rest and positional:
            rest = _take(positional.pop(0), rest)
        if rest:
            raise UserError(f"{shown(rest[0])!r} is not an option; {_why(option)}")
    if missing := next((option for option in positional if option.is_required), None):
        raise UserError(f"{missing.name} is missing; --help says what it is")


def _why(behind: Option | None) -> str:
    """Why a word is not the value of the option that it stands behind."""
    if behind is None:
        return "options begin with --"
    return f"{behind.name} takes {'no value' if behind.is_flag else 'fewer values'}"


def options_of(known: Any, prefix: str = "--") -> Iterator[Option]:
    """The options that a dataclass stands for, those of dataclasses within it included.

    Args:
        known: the class, or an instance whose values are the defaults.
        prefix: of their names.
    """
    hints = typing.get_type_hints(known if isinstance(known, type) else type(known), include_extras=True)
    for field in dataclasses.fields(known):
        hint, name = hints[field.name], field.name.replace("_", "-")
        value = default_of(field, known)
        beside = getattr(hint, "__metadata__", ())
        if tyro.conf.Suppress in beside:
            continue
        if dataclasses.is_dataclass(value):
            yield from options_of(value, f"{prefix}{name}.")
        elif tyro.conf.Positional in beside:
            yield Option(field.name.upper(), hint, is_required=value is tyro.MISSING)
        elif isinstance(value, bool) and stripped(hint) is bool:
            yield from (Option(f"{prefix}{no}{name}", hint, is_flag=True) for no in ("", "no-"))
        else:
            yield Option(prefix + name, hint)


def default_of(field: dataclasses.Field[Any], parent: Any) -> Any:
    """The value of an option that is not given; `tyro.MISSING` where it must be."""
    if hasattr(parent, field.name):
        return getattr(parent, field.name)
    if field.default is not dataclasses.MISSING:
        return field.default
    return tyro.MISSING if field.default_factory is dataclasses.MISSING else field.default_factory()


def _groups(tokens: Sequence[str]) -> list[tuple[str | None, list[str]]]:
    """Each option with the values behind it; None with those that are behind no option."""
    groups: list[tuple[str | None, list[str]]] = [(None, [])]
    for number, token in enumerate(tokens):
        if token == "--":  # what is behind it is no option
            last = groups.pop()[1] if groups[-1][0] is None else []
            return [*groups, (None, [*last, *tokens[number + 1 :]])]
        if token.startswith("-") and token.lstrip("-")[:1].isalpha() and not _is_number(token):
            name, equals, value = token.partition("=")
            groups.append((name, [value] if equals else []))
        else:
            groups[-1][1].append(token)
    return groups


def _is_number(token: str) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return True


def _take(option: Option, values: Sequence[str]) -> list[str]:
    """What is left of the values when an option has taken its own.

    Raises:
        UserError: they are too few, or not what it takes.
    """
    if option.is_flag:
        return list(values)
    spec = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(option.hint, set()))
    assert isinstance(spec, PrimitiveConstructorSpec), option
    count = spec.nargs if isinstance(spec.nargs, int) else len(values)
    if len(values) < count:
        raise UserError(f"{option.name} takes {count} value{'s' * (count != 1)}")
    own = list(values[:count])
    if not _reads(spec, own):
        raise UserError(f"{option.name} takes {in_words(option.hint)}, not {shown(' '.join(own))!r}")
    return list(values[count:])


def _reads(spec: PrimitiveConstructorSpec[Any], values: list[str]) -> bool:
    if spec.choices is not None and not set(values) <= set(spec.choices):
        return False
    try:
        spec.instance_from_str(values)
    except (ValueError, TypeError, OverflowError):
        return False
    return True


def in_words(hint: Any, several: bool = False) -> str:
    """A type as a message calls it: "a number or None", "2 numbers", "mlp | attention"."""
    hint = stripped(hint)
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return " | ".join(map(str, inner))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(in_words(each, several) for each in inner)
    if origin is tuple:
        count = "" if inner[-1] is Ellipsis else f"{len(inner)} "
        return count + in_words(inner[0], several=True)
    return "names and values by turns" if origin is dict else _WORDS[hint][several]


def stripped(hint: Any) -> Any:
    """A type without what stands beside it."""
    return typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Annotated else hint


def _unknown(token: str, names: Sequence[str]) -> str:
    if not token.startswith("--"):
        return f"{token!r} is not an option; options begin with --"
    prefix, _, name = token.replace("_", "-").strip("-").rpartition(".")
    fields = difflib.get_close_matches(name, {_field(option) for option in names}, n=1, cutoff=0.6)
    close = [option for option in names if _field(option) in fields]
    near = [option for option in close if option.startswith(f"--{prefix}.")] or close
    hint = f"did you mean {' or '.join(near[:3])}?" if near else "--help lists all options"
    return f"unknown option {shown(token)}; {hint}"


def _field(name: str) -> str:
    return name.strip("-").rpartition(".")[2]
