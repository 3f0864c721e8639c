"""One session a run: a lock file that says who works in a directory, and that it is alive.

The file `session.lock` holds the host, the process and when that began, and is touched every few seconds. It
is made by `link`, which either makes it or fails, on network file systems too. A lock whose process is gone
is taken over: on the same host as soon as that can be seen, on another one when it was not touched for long.
"""

import json
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from purerl.host import files, textfiles
from purerl.host.errors import TrainingError, UserError, one_line

LOCK_FILE = "session.lock"
_BEAT_SECONDS = 10.0
STALE_SECONDS = 90.0
"""A lock of another host that has not been touched for so long belongs to nobody."""
_OWNER = textfiles.fields(
    {
        "host": textfiles.text,
        "pid": textfiles.whole_number(1),
        "began": textfiles.text,
        "token": textfiles.text,
    }
)


class LockedError(UserError):
    """Another session works in the directory."""


@contextmanager
def held(run_dir: Path) -> Iterator[Callable[[], None]]:
    """Works in a directory alone, within the `with` block.

    Yields:
        What raises TrainingError where another session has taken over: this process stood still for so long
        that it was taken for dead. Ask before anything is written.

    Raises:
        LockedError: another session does.
        TrainingError: the directory cannot be written to.
    """
    file = run_dir / LOCK_FILE
    token = secrets.token_hex(8)
    try:
        _acquire(file, token)
    except OSError as error:
        raise TrainingError(f"cannot write {file}: {one_line(error)}") from error
    done = threading.Event()
    beat = threading.Thread(target=_beat, args=(file, token, done), daemon=True)
    beat.start()
    try:
        yield lambda: _check_ours(file, token)
    finally:
        done.set()
        beat.join()
        _release(file, token)


def _acquire(file: Path, token: str) -> None:
    own = file.with_name(f".{LOCK_FILE}-{token}")
    owner = {"host": _host(), "pid": os.getpid(), "began": _began(os.getpid()), "token": token}
    own.write_text(json.dumps(owner))
    try:
        for _ in range(10):
            if _made(own, file):
                return
            found = _content(file)
            if found is None:
                continue  # released meanwhile
            _check_dead(file, found, own)
            if _taken_over(file, found, own):
                return
        raise LockedError(f"{file.parent} is being taken over by another session; wait for its end")
    finally:
        with suppress(FileNotFoundError):
            own.unlink()


def _made(own: Path, file: Path) -> bool:
    """Whether `file` could be made, with the content of `own`, where there was none."""
    try:
        files.claim(own, file)
    except FileExistsError:
        return False
    return True


def _taken_over(file: Path, found: bytes, own: Path) -> bool:
    """Replaces a dead lock by our own, unless somebody else has done so since it was read.

    Only who has made the marker of this very lock may replace it, and looks again whether it is still there.
    """
    marker = file.with_name(f".{LOCK_FILE}-after-{_token_of(found)}")
    with suppress(FileNotFoundError):
        if _age(marker, own) > STALE_SECONDS:  # who made it has died since
            marker.unlink()
    if not _made(own, marker):
        return False
    try:
        if _content(file) != found:
            return False
        os.replace(own, file)
        return True
    finally:
        marker.unlink()


def _check_dead(file: Path, found: bytes, own: Path) -> None:
    owner = _owner(found)
    age = _age(file, own)
    if owner is not None and owner["host"] == _host():
        if _began(owner["pid"]) != owner["began"]:
            return
        remedy = "wait for its end, or stop it"
    else:
        if age > STALE_SECONDS:
            return
        remedy = f"wait for its end; if it has died, try again in {STALE_SECONDS - age:.0f} s"
    who = f"process {owner['pid']} on {owner['host'].partition(' ')[0]}" if owner else "an unknown process"
    raise LockedError(f"{file.parent} is in use: {who} works on it ({file.name}); {remedy}")


def _check_ours(file: Path, token: str) -> None:
    found = _content(file)
    if found is not None and _token_of(found) != token:
        raise TrainingError(
            f"{file.parent} was taken over by another session; nothing more was written to it"
        )


def _age(file: Path, own: Path) -> float:
    """Seconds since a file was touched, by the clock of the file system: those of two hosts may differ."""
    os.utime(own)
    return own.stat().st_mtime - file.stat().st_mtime


def _beat(file: Path, token: str, done: threading.Event) -> None:
    while not done.wait(_BEAT_SECONDS):
        with suppress(OSError):
            if _token_of(_content(file) or b"") == token:
                os.utime(file)


def _release(file: Path, token: str) -> None:
    with suppress(OSError):
        if _token_of(_content(file) or b"") == token:
            file.unlink()


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None


def _owner(content: bytes) -> dict[str, Any] | None:
    """Who holds a lock; None where that cannot be read."""
    try:
        found = textfiles.parse(content)
    except ValueError:
        return None
    return found if _OWNER(found) is None else None


def _token_of(content: bytes) -> str:
    owner = _owner(content)
    token = owner["token"] if owner else ""
    return token if token.isalnum() else "damaged"


def _host() -> str:
    """What two processes that can see each other have in common: the host, its start, the container."""
    return " ".join(
        [socket.gethostname(), _read("/proc/sys/kernel/random/boot_id"), _link("/proc/self/ns/pid")]
    )


def _began(pid: int) -> str:
    """When a process began, as far as the system tells; "gone" where it has ended."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return "gone"
    except PermissionError:
        pass
    known = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    if known and known[0] in "ZX":  # ended, and not yet waited for
        return "gone"
    return known[19] if len(known) > 19 else "unknown"


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return "unknown"


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return "unknown"
