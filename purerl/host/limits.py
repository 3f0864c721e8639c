"""Values that no program and no file system takes, refused by the name of their option.

Programs compute with int32 and float32: a larger number would wrap around or become infinite in silence.
Ranges stand beside the types of options (`purerl.ranges`); here they are refused by the name of the option.
"""

import dataclasses
import math
import os
import typing
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

from purerl.host.errors import UserError
from purerl.ranges import INT32, Range, ranges_of

_LARGEST = (2 - 2.0**-23) * 2.0**127
_SMALLEST = 2.0**-126
_LONGEST_NAME, _LONGEST_PATH, _LONGEST_TEXT = 255, 4095, 4095
_SHOWN = 60


def check(options: Any) -> None:
    """Refuse the first value of a dataclass of options, or of one within it, that cannot be meant.

    Raises:
        UserError: names the option, its value and its range.
    """
    for name, value, allowed in values_of(options):
        option = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            continue
        if isinstance(value, int | float):
            _check_number(option, value, allowed)
        elif isinstance(value, Path):
            check_path(option, value)
        elif isinstance(value, str):
            _check_text(option, value)


def values_of(options: Any, prefix: str = "") -> Iterator[tuple[str, Any, Range | None]]:
    """Each value by the name of its option, "ppo.gamma", with the range that the option names.

    Items of tuples and dictionaries come one by one, under the name of their option.
    """
    allowed = ranges_of(typing.cast(Hashable, type(options)))
    for field in dataclasses.fields(options):
        name = prefix + field.name
        value = getattr(options, field.name)
        if dataclasses.is_dataclass(value):
            yield from values_of(value, f"{name}.")
        else:
            yield from ((name, item, allowed.get(field.name)) for item in _items(value))


def _items(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple | list):
        for item in value:
            yield from _items(item)
    elif isinstance(value, dict):
        yield from value
        yield from value.values()
    else:
        yield value


def _check_number(option: str, value: float, named: Range | None) -> None:
    allowed = named or (INT32 if isinstance(value, int) else Range())
    if isinstance(value, float) and not math.isfinite(value) and not allowed.holds(value):
        or_inf = " or inf" * allowed.may_be_infinite
        raise UserError(f"{option} is {value}; it must be a finite number{or_inf}")
    if not allowed.holds(value):
        raise UserError(f"{option} is {shown(value)}; it must be {allowed.wanted(value)}")
    if value == math.inf:
        return
    if abs(value) > _LARGEST:
        raise UserError(
            f"{option} is {shown(value)}; it must be at most {_LARGEST:.3g} in magnitude, as float32 is"
        )
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
