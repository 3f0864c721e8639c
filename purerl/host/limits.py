"""Values that no program and no file system takes, refused by the name of their option.

Programs compute with int32 and float32: a larger number would wrap around or become infinite in silence. What
an option means by its numbers is checked where it is used; this is what holds for all of them.
"""

import dataclasses
import math
import os
import typing
from collections.abc import Hashable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from purerl.host.errors import UserError
from purerl.ranges import INT32, Range

_LARGEST = (2 - 2.0**-23) * 2.0**127
_SMALLEST = 2.0**-126
_LONGEST_NAME, _LONGEST_PATH, _LONGEST_TEXT = 255, 4095, 4095
_SHOWN = 60


def check(options: Any) -> None:
    """Refuse the first value of a dataclass of options, or of one within it, that cannot be meant.

    Raises:
        UserError: names the option, its value and its range.
    """
    for name, value, markers in values_of(options):
        option = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            continue
        if isinstance(value, int):
            _check_whole(option, value, markers)
        elif isinstance(value, float):
            _check_number(option, value, markers)
        elif isinstance(value, Path):
            check_path(option, value)
        elif isinstance(value, str):
            _check_text(option, value)


def values_of(options: Any, prefix: str = "") -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """Each value by the name of its option, "ppo.gamma", with what the option says of it.

    Items of tuples and dictionaries come one by one, under the name of their option.
    """
    markers = _markers(typing.cast(Hashable, type(options)))
    for field in dataclasses.fields(options):
        name = prefix + field.name
        value = getattr(options, field.name)
        if dataclasses.is_dataclass(value):
            yield from values_of(value, f"{name}.")
        else:
            yield from ((name, item, markers[field.name]) for item in _items(value))


def _items(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple | list):
        for item in value:
            yield from _items(item)
    elif isinstance(value, dict):
        yield from value
        yield from value.values()
    else:
        yield value


@cache
def _markers(options_class: Hashable) -> dict[str, tuple[Any, ...]]:
    hints = typing.get_type_hints(options_class, include_extras=True)
    return {name: tuple(_said(hint)) for name, hint in hints.items()}


def _said(hint: Any) -> Iterator[Any]:
    """What stands beside the type, and beside the types within it."""
    yield from getattr(hint, "__metadata__", ())
    for inner in typing.get_args(hint):
        yield from _said(inner)


def _check_whole(option: str, value: int, markers: tuple[Any, ...]) -> None:
    allowed = next((marker for marker in markers if isinstance(marker, Range)), INT32)
    if not allowed.holds(value):
        bound = f"at least {allowed.least}" if value < allowed.least else f"at most {allowed.most}"
        raise UserError(f"{option} is {shown(value)}; it must be {bound}")


def _check_number(option: str, value: float, markers: tuple[Any, ...]) -> None:
    allowed = next((marker for marker in markers if isinstance(marker, Range)), Range())
    if value == math.inf and allowed.may_be_infinite:
        return
    if not math.isfinite(value):
        raise UserError(
            f"{option} is {value}; it must be a finite number{' or inf' * allowed.may_be_infinite}"
        )
    if not allowed.holds(value):
        raise UserError(f"{option} is {value}; it must be {allowed.words()}")
    if abs(value) > _LARGEST:
        raise UserError(f"{option} is {value}; it must be at most {_LARGEST:.3g} in magnitude, as float32 is")
    if 0 < abs(value) < _SMALLEST:
        raise UserError(
            f"{option} is {value}; it must be 0, or at least {_SMALLEST:.3g} in magnitude, as float32 is"
        )


def check_path(option: str, path: Path) -> None:
    """Refuse a path that no file can have.

    Raises:
        UserError: names the option.
    """
    _check_text(option, str(path))
    encoded = os.fsencode(path)
    longest = max(map(len, encoded.split(os.fsencode(os.sep))), default=0)
    if longest > _LONGEST_NAME or len(encoded) > _LONGEST_PATH:
        raise UserError(
            f"{option} {shown(path)}: the path has a name of {longest} bytes, and {len(encoded)} in all; "
            f"{_LONGEST_NAME} and {_LONGEST_PATH} are the most"
        )


def _check_text(option: str, text: str) -> None:
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise UserError(f"{option} {shown(ascii(text))}: the text has characters that cannot be printed")
    if any(0xD800 <= ord(letter) < 0xE000 for letter in text):
        raise UserError(f"{option} {shown(ascii(text))}: the text is not UTF-8")
    if len(text) > _LONGEST_TEXT:
        raise UserError(
            f"{option} {shown(text)}: the text has {len(text)} letters; {_LONGEST_TEXT} are the most"
        )


def shown(value: object) -> str:
    """A value as a message shows it: of what is very long the beginning."""
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
