"""Training chunk by chunk, for whatever trains: a run, a group of a sweep, a population.

Around the loop stand the files that grow, the display, checkpoints, signals, and what is said of a full disk.
"""

import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from purerl.functional.metrics import Packed
from purerl.host import files, hosts, interrupt, printing
from purerl.host.errors import Interrupted, TrainingError, one_line
from purerl.run import checkpoint, loop
from purerl.run.experiment import RunOptions
from purerl.types import PyTree
from purerl.view import records, scoring
from purerl.view.records import Report

_CHECKPOINTS = 10
"""Of a training, where nothing else is asked for."""


class Checkpoints(NamedTuple):
    """How the state of a training is kept.

    Attributes:
        folder: where they lie.
        state_shape: shapes of the state, as it lies on the devices.
        identity: what tells this training from others.
        texts: `(chunk) -> {name: bytes}`: copies of the files that grow, which are on the disk by then.
        score: `(texts, number of last chunks) -> float`: what checkpoints are compared by, if they are.
    """

    folder: Path
    state_shape: PyTree
    identity: Any
    texts: Callable[[int], Mapping[str, bytes]]
    score: Callable[[Mapping[str, bytes], int], float | None] | None = None


class Chunks(NamedTuple):
    """What is trained chunk by chunk, and what surrounds it.

    Attributes:
        run_chunk: `(state) -> (state, sums of metrics)`, compiled; donates its argument.
        num_chunks: of the whole training.
        chunks_done: by an earlier session.
        options: how often to save, and how many checkpoints stay.
        checkpoints: how the state is kept.
        recording: opens files, services and display; within it, what it gives takes each report.
        failed: `() -> rows` that an earlier session has left behind; asked when the files are open, and cut.
        keep_going_on_nan: train the healthy rows to the end.
        revives: whether a row that failed may be finite again, because it has copied another one.
        name_row: `(position) -> str`: how a row is called in messages.
        console: where signals are answered.
        place: what cannot be written where the disk is full.
        how_to_go_on: said where the training is stopped.
        what_is_left: said where the disk is full.
    """

    run_chunk: Callable[[Any], tuple[Any, Packed]]
    num_chunks: int
    chunks_done: int
    options: RunOptions
    checkpoints: Checkpoints
    recording: Callable[[], AbstractContextManager[Callable[[Report], None]]]
    failed: Callable[[], tuple[int, ...]]
    keep_going_on_nan: bool
    name_row: Callable[[int], str]
    console: Console
    place: Path
    how_to_go_on: str
    what_is_left: Callable[[], str]
    revives: bool = False

    @property
    def save_every(self) -> int:
        """Chunks between two checkpoints."""
        return self.options.checkpoint_every_chunks or max(1, self.num_chunks // _CHECKPOINTS)


def train_chunks(chunks: Chunks, state: Any) -> Any:
    """Train to the end, or until a signal is received; what is done is saved.

    Args:
        chunks: what to train.
        state: where to start; must not be used afterward.

    Returns:
        The state after the last chunk.

    Raises:
        NotFiniteError: a row became NaN, or the last healthy one.
        Interrupted: a signal was received; the message says how to go on.
        TrainingError: the disk is full.
    """
    say = partial(printing.say, chunks.console, style="yellow")
    last_words = f"stopped; {chunks.how_to_go_on}"
    try:
        with (
            interrupt.noticed("stopping after this chunk", last_words, say, defer=True) as received,
            chunks.recording() as record,
        ):
            hooks = loop.Hooks(
                report=record,
                save=_saver(chunks),
                name_seed=chunks.name_row,
                stop=lambda: hosts.any_of(bool(received)),
            )
            outcome = loop.run(
                chunks.run_chunk,
                state,
                hooks,
                chunks_done=chunks.chunks_done,
                num_chunks=chunks.num_chunks,
                save_every=chunks.save_every,
                failed=chunks.failed(),
                keep_going_on_nan=chunks.keep_going_on_nan,
                revives=chunks.revives,
            )
    except OSError as error:
        if not files.is_storage_error(error):
            raise
        raise TrainingError(
            f"cannot write {chunks.place}: {one_line(error)}; {chunks.what_is_left()}"
        ) from error
    if hosts.any_of(bool(received)):
        what = f"stopped and saved after chunk {outcome.chunk}"
        raise stopped(what, chunks.how_to_go_on, received or [signal.SIGTERM])
    return outcome.state


def stopped(what: str, how_to_go_on: str, signals: Sequence[int]) -> Interrupted:
    """The end of a command that was stopped; its exit code is the shell's for the first of the signals."""
    stop = Interrupted(f"{what}; {how_to_go_on}")
    stop.exit_code = 128 + (*signals, signal.SIGINT)[0]
    return stop


def failed_seeds(metrics: Path, chunks_done: int, seeds: Sequence[int]) -> tuple[int, ...]:
    """Positions of the seeds that earlier sessions left behind, by the first lines of their metrics."""
    lines = records.read_metrics(metrics)[:chunks_done]
    return tuple(seeds.index(seed) for seed in scoring.failed_seeds(lines))


def _saver(chunks: Chunks) -> Callable[[PyTree, int], None]:
    kept, options = chunks.checkpoints, chunks.options
    architecture = checkpoint.describe(kept.state_shape)

    def save(host_state: PyTree, chunk: int) -> None:
        # A checkpoint must never know more chunks than the files have lines, so these come first.
        texts = kept.texts(chunk)
        checkpoint.save(
            kept.folder,
            host_state,
            architecture=architecture,
            chunk=chunk,
            config=kept.identity,
            keep=options.keep_checkpoints,
            keep_best=options.keep_best and kept.score is not None,
            score=kept.score(texts, chunks.save_every) if kept.score else None,
            texts=texts,
        )

    return save
