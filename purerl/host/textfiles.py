"""The text files of a run, read as what they must be: JSON of a known form, or else one line about the fault.

Whatever lies on a disk may have been cut, edited or overwritten, so nothing that was read is used unchecked.
A check is a function from a value to None, or to the words for what it must be.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from purerl.host.errors import UserError, one_line

Check: TypeAlias = Callable[[Any], str | None]
LARGEST = 2**53
"""The largest whole number that any JSON reader takes as it is."""
_LARGEST_FILE = 2**30


def whole_number(least: int = 0, most: int = LARGEST) -> Check:
    """A whole number between two, both included."""

    def check(value: Any) -> str | None:
        fits = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
        return None if fits else f"a whole number from {least} to {most}"

    return check


def number(value: Any) -> str | None:
    """A finite number (JSON has no others) that is not negative."""
    fits = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
    return None if fits else "a number that is not negative"


def text(value: Any) -> str | None:
    """A string."""
    return None if isinstance(value, str) else "a string"


def an_object(value: Any) -> str | None:
    """An object, whatever is in it."""
    return None if isinstance(value, dict) else "an object"


def list_of(inner: Check, words: str) -> Check:
    """A list of what another check lets pass."""

    def check(value: Any) -> str | None:
        fits = isinstance(value, list) and all(inner(item) is None for item in value)
        return None if fits else f"a list of {words}"

    return check


def fields(wanted: Mapping[str, Check]) -> Check:
    """An object that has these fields, and perhaps others."""

    def check(value: Any) -> str | None:
        if not isinstance(value, dict):
            return "an object"
        for name, inner in wanted.items():
            if name not in value:
                return f"an object with {name!r}"
            if (words := inner(value[name])) is not None:
                return f"an object in which {name!r} is {words}, not {_shown(value[name])}"
        return None

    return check


def read_object(file: Path, check: Check, remedy: str) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        UserError: names the file, the line where it is known, what is wrong, and the remedy.
    """
    content = read_bytes(file, remedy)
    try:
        found = parse(content)
    except ValueError as error:
        refuse(file, str(error), remedy, line=getattr(error, "lineno", None))
    if (words := check(found)) is not None:
        refuse(file, f"it must hold {words}", remedy)
    return found


def parse_lines(
    content: bytes, check: Callable[[int], Check], file: Path, remedy: str
) -> list[dict[str, Any]]:
    """The objects in a file that has one a line.

    Args:
        content: of the file.
        check: from the number of a line, from 1 on, to the check of what it holds.
        file: for the message.
        remedy: what can be done.

    Raises:
        UserError: names the file, the line, what is wrong, and the remedy.
    """
    found = []
    for at, line in enumerate(content.split(b"\n")[:-1], start=1):
        try:
            record = parse(line)
        except ValueError as error:
            refuse(file, str(error), remedy, line=at)
        if (words := check(at)(record)) is not None:
            refuse(file, f"it must hold {words}", remedy, line=at)
        found.append(record)
    if content and not content.endswith(b"\n"):
        refuse(file, "it was cut off", remedy, line=len(found) + 1)
    return found


def read_bytes(file: Path, remedy: str) -> bytes:
    """The content of a plain file of a sane size; a folder, a pipe or a device in its place is refused."""
    if file.exists() and not file.is_file():
        refuse(file, "it is not a plain file", remedy)
    try:
        if file.stat().st_size > _LARGEST_FILE:
            refuse(file, "it is larger than 1 GiB", remedy)
        return file.read_bytes()
    except OSError as error:
        refuse(file, one_line(error), remedy)


def parse(content: bytes) -> Any:
    """JSON as the standard has it: in UTF-8, each name once, no NaN.

    Raises:
        ValueError: one line; with `lineno` where the place is known.
    """
    try:
        return json.loads(content.decode(), parse_constant=_no_constant, object_pairs_hook=_no_twins)
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not text") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except json.JSONDecodeError as error:
        reason = ValueError(f"{error.msg[:1].lower()}{error.msg[1:]} at column {error.colno}")
        reason.lineno = error.lineno  # type: ignore[attr-defined]
        raise reason from error


def refuse(file: Path, reason: str, remedy: str, line: int | None = None) -> NoReturn:
    """Raises UserError: the file, the line where it is known, what is wrong, and what can be done."""
    where = f"{file}, line {line}," if line else f"{file}"
    raise UserError(f"{where} is damaged: {reason}; {remedy}")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in an object")
    return found


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) < 40 else f"{shown[:36]} ..."
