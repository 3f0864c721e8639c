"""Files of a run that someone else may have made: plain ones in their directory, of a sane size.

Nothing here follows a link or waits for a pipe, and text is made such that it can be printed.
"""

import json
import os
import stat
from pathlib import Path
from typing import Any

from purerl.host.errors import one_line

_DEEPEST = 40
_OPEN = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_KINDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}


class UnusableError(Exception):
    """A file cannot be used; the message says why, and begins with a verb."""


def read_bytes(file: Path, largest: int) -> bytes:
    """The content of a plain file.

    Args:
        file: directly within the directory of a run.
        largest: size in bytes.

    Raises:
        UnusableError: it is missing, no plain file, larger, or cannot be read.
    """
    try:
        kind = stat.S_IFMT(file.lstat().st_mode)
        if kind != stat.S_IFREG:
            raise UnusableError(f"is {_KINDS.get(kind, 'something else')}, and no plain file")
        descriptor = os.open(file, _OPEN)
        with open(descriptor, "rb") as stream:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):  # replaced meanwhile
                raise UnusableError("is no plain file")
            content = b"" if found.st_size > largest else stream.read(largest + 1)
    except FileNotFoundError:
        raise UnusableError("is missing") from None
    except (OSError, ValueError) as error:
        raise UnusableError(f"cannot be read: {one_line(error)}") from None
    if found.st_size > largest or len(content) > largest:
        raise UnusableError(
            f"has {found.st_size >> 20} MiB, too much for a page; {largest >> 20} are the most"
        )
    return content


def parse(text: str) -> Any:
    """JSON whose text can be printed and whose nesting ends.

    Raises:
        ValueError: it is something else.
    """
    try:
        return _clean(json.loads(text), 0)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def printable(text: str) -> str:
    """Text without what cannot be printed, or would steer the terminal that it is printed on."""
    return "".join("\ufffd" if _is_strange(letter) else letter for letter in text)


def _is_strange(letter: str) -> bool:
    code = ord(letter)
    return code < 32 or 127 <= code < 160 or 0xD800 <= code < 0xE000


def _clean(content: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        raise ValueError("it is nested too deep")
    if isinstance(content, dict):
        return {printable(key): _clean(item, depth + 1) for key, item in content.items()}
    if isinstance(content, list):
        return [_clean(item, depth + 1) for item in content]
    return printable(content) if isinstance(content, str) else content
