"""Ctrl-C: an answer at once, an orderly end when the work in hand is done, and a way out at the second one.

Python runs signal handlers between two instructions of the main thread, which may wait for a compiled program
for minutes. So the answer comes from a thread, which the operating system wakes through a socket.
"""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from purerl.errors import Interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
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
            thread raises KeyboardInterrupt as soon as it can.

    Yields:
        The numbers of the signals that have arrived, which the main thread sees as soon as it can.
    """
    received: list[int] = []

    def note(number: int, _frame: Any) -> None:
        received.append(number)
        if not defer:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield received  # signals are for the main thread, and for whoever runs there
        return
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    answer += "; Ctrl-C again to stop at once" + ", without saving" * defer
    watcher = threading.Thread(target=_watch, args=(ours, answer, last_words, say), daemon=True)
    watcher.start()
    numbers = _SIGNALS if defer else _SIGNALS[:1]
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


def _watch(ours: socket.socket, answer: str, last_words: str, say: Callable[[str], None]) -> None:
    answered_at = None
    while (number := ours.recv(1)[0]) != _END:
        if number not in _SIGNALS:
            continue
        if answered_at is None:
            answered_at = time.monotonic()
            say(answer)
        elif time.monotonic() - answered_at > _ECHO_SECONDS:
            _end_at_once(last_words, number)


def _end_at_once(last_words: str, number: int) -> None:
    if sys.__stdout__ is not None and sys.__stdout__.isatty():
        os.write(sys.__stdout__.fileno(), _SHOW_CURSOR)
    os.write(2, f"\n{last_words}\n".encode())
    os._exit(128 + number)
