"""Ctrl-C: an answer at once, an orderly end when the work in hand is done, and a way out at the second one.

Python runs signal handlers between two instructions of the main thread, which may wait for a compiled program
for minutes. So the answer comes from a thread, which the operating system wakes through a socket.
"""

import errno
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from purerl.host.errors import Interrupted

_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)
)
"""Ctrl-C, `kill`, a terminal that is closed, and Slurm's usual warning before the time is up."""
_AGAIN = (signal.SIGINT, signal.SIGTERM)
"""Those whose second arrival ends the process; the others are warnings, and may be repeated."""
_END = 0
# Whoever started this process may have passed the signal on that the terminal sent to both.
_ECHO_SECONDS = 0.3
_SHOW_CURSOR = b"\x1b[?25h"


@contextmanager
def ended_by(answer: str, last_words: str, say: Callable[[str], None]) -> Iterator[None]:
    """Ends what is within the `with` block at Ctrl-C; for work of which nothing has to be saved.

    Args:
        answer: what is going to happen.
        last_words: how to go on.
        say: shows a line; called in another thread.

    Raises:
        Interrupted: with the last words.
    """
    try:
        with noticed(answer, last_words, say, defer=False):
            yield
    except KeyboardInterrupt:
        raise Interrupted(last_words) from None


@contextmanager
def noticed(answer: str, last_words: str, say: Callable[[str], None], *, defer: bool) -> Iterator[list[int]]:
    """Answers the first Ctrl-C within the `with` block, and ends the process at the second.

    Args:
        answer: what is going to happen.
        last_words: what is written to standard error before the process ends at once.
        say: shows a line; called in another thread.
        defer: only note the signal, and SIGTERM too, because there is something to save; otherwise the main
            thread raises KeyboardInterrupt with the number of the signal as soon as it can.

    Yields:
        The numbers of the signals that have arrived, which the main thread sees as soon as it can.
    """
    received: list[int] = []

    def note(number: int, _frame: Any) -> None:
        received.append(number)
        if not defer:
            raise KeyboardInterrupt(number)

    if threading.current_thread() is not threading.main_thread():
        yield received  # signals are for the main thread, and for whoever runs there
        return
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    answer += "; Ctrl-C again to stop at once" + ", without saving" * defer
    watcher = threading.Thread(target=_watch, args=(ours, answer, last_words, say), daemon=True)
    watcher.start()
    numbers = [each for each in _SIGNALS if _is_ours(each, defer)]
    before = {number: signal.signal(number, note) for number in numbers}
    descriptor = signal.set_wakeup_fd(theirs.fileno())
    try:
        yield received
    finally:
        signal.set_wakeup_fd(descriptor)
        for number, handler in before.items():
            signal.signal(number, handler)
        theirs.send(bytes([_END]))
        watcher.join()
        ours.close()
        theirs.close()


def _is_ours(number: int, defer: bool) -> bool:
    """Whether to answer a signal. One that the process was told to ignore, as by nohup, stays ignored."""
    if number == signal.SIGINT:
        return True
    return signal.getsignal(number) != signal.SIG_IGN and (defer or number != signal.SIGTERM)


def _watch(ours: socket.socket, answer: str, last_words: str, say: Callable[[str], None]) -> None:
    is_answered, asked_at = False, None
    while (number := ours.recv(1)[0]) != _END:
        if number not in _SIGNALS:
            continue
        if number not in _AGAIN:
            leave_closed_terminal()
        if number in _AGAIN and asked_at is not None and time.monotonic() - asked_at > _ECHO_SECONDS:
            _end_at_once(last_words, number)
        if number in _AGAIN and asked_at is None:
            asked_at = time.monotonic()
        if not is_answered:
            is_answered = True
            with suppress(OSError):
                say(answer)


def leave_closed_terminal() -> None:
    """Sends what is printed nowhere, where the terminal is gone: nobody reads it, and to write would fail."""
    for descriptor in (1, 2):
        try:
            os.write(descriptor, b"")
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


@contextmanager
def shown() -> Iterator[None]:
    """A block that only shows something: a terminal that was closed meanwhile does not end what is shown."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        leave_closed_terminal()


def _end_at_once(last_words: str, number: int) -> None:
    if sys.__stdout__ is not None and sys.__stdout__.isatty():
        os.write(sys.__stdout__.fileno(), _SHOW_CURSOR)
    os.write(2, f"\n{last_words}\n".encode())
    os._exit(128 + number)
