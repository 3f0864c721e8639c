"""Writing files so that a reader finds the old or the new content, never half of it."""

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np

from purerl.host.errors import TrainingError, one_line

_STORAGE_ERRORS = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.ESTALE,
    errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP, errno.ETIMEDOUT,
}  # fmt: skip


def is_storage_error(error: OSError) -> bool:
    """Whether it is the disk that failed: full, read-only, over quota, or with something in the way."""
    return error.errno in _STORAGE_ERRORS


def write_json(file: Path, content: dict[str, Any], *, new: bool = False) -> None:
    """Write a JSON file at once, or leave the old one.

    Args:
        file: where to.
        content: what.
        new: there must be none yet; of several processes that write the same one, only the first does.

    Raises:
        FileExistsError: it is not new.
        TrainingError: the disk is full or not writable.
    """
    text = json.dumps(plain(content), indent=2, allow_nan=False) + "\n"
    try:
        write_bytes(file, text.encode(), new=new)
    except FileExistsError:
        if new:
            raise
        raise TrainingError(f"cannot write {file}: something else is in its place") from None
    except OSError as error:
        raise TrainingError(f"cannot write {file}: {one_line(error)}") from error


def write_bytes(file: Path, content: bytes, *, new: bool = False) -> None:
    """Write a file at once, or leave the old one; with `new`, raises FileExistsError where there is one."""
    unfinished = file.with_name(f".{file.name}-{os.getpid()}")
    try:
        unfinished.write_bytes(content)
        flush(unfinished)
        if new:
            claim(unfinished, file)
        else:
            unfinished.replace(file)
        flush(file.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def claim(finished: Path, file: Path) -> None:
    """Give a file a second name that nothing has yet, of several processes only one.

    Raises:
        FileExistsError: something has that name.
    """
    try:
        os.link(finished, file)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        with open(file, "xb") as stream:
            stream.write(finished.read_bytes())


def set_aside(path: Path) -> Path:
    """Rename what is damaged, so that it is neither in the way nor lost; returns its new name."""
    number = 1
    while os.path.lexists(aside := path.with_name(f"{path.name}.damaged-{number}")):
        number += 1
    path.rename(aside)
    return aside


def plain(value: Any) -> Any:
    """Arrays as lists, numbers that are not finite as null: what any JSON reader takes."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return plain(np.asarray(value).tolist())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def reserve(directory: Path, num_bytes: int) -> None:
    """Find out whether `num_bytes` can still be written, by taking the space and giving it back.

    Raises:
        OSError: they cannot: the disk or the quota is used up.
    """
    placeholder = directory / "reserved"
    with placeholder.open("wb") as stream:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(stream.fileno(), 0, num_bytes)
        elif shutil.disk_usage(directory).free < num_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    placeholder.unlink()


def flush(path: Path) -> None:
    """Wait until a file, or the entries of a directory, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_tree(path: Path) -> None:
    """`flush` a directory with everything below it."""
    for entry in [*path.rglob("*"), path]:
        flush(entry)


def remove(path: Path) -> None:
    """Delete a directory with everything below it, where there is one."""
    if path.exists():
        shutil.rmtree(path)
