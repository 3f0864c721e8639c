"""What surrounds the loop, the same for a run, a group and a population, with numbers alone."""

import errno
import io
import os
import signal
from contextlib import contextmanager

import jax
import jax.numpy as jnp
import pytest
from rich.console import Console

from purerl.functional.metrics import pack
from purerl.host.errors import Interrupted, TrainingError
from purerl.run import checkpoint
from purerl.run.chunks import Checkpoints, Chunks, train_chunks
from purerl.run.experiment import RunOptions
from purerl.types import Mean, TrainState


def state_of(count):
    parts = {"learner": {"count": jnp.full((1,), count, jnp.float32)}, "actor": (), "curriculum": ()}
    return TrainState(
        **parts, key=jax.random.split(jax.random.key(0), 1), num_updates=jnp.zeros(1, jnp.int32)
    )


def chunks(tmp_path, *, before_chunk=lambda count: None, record=lambda report: None, **others):
    """Ten chunks, each of which adds 1; a checkpoint after every third."""

    def run_chunk(state):
        count = state.learner["count"] + 1
        before_chunk(int(count[0]))
        metrics = jax.vmap(pack)({"loss": Mean(total=count, weight=jnp.ones(1))})
        return state.replace(learner={"count": count}), metrics

    @contextmanager
    def recording():
        yield record

    usual = {
        "run_chunk": run_chunk,
        "num_chunks": 10,
        "chunks_done": 0,
        "options": RunOptions(checkpoint_every_chunks=3, keep_checkpoints=9),
        "checkpoints": Checkpoints(
            tmp_path, state_of(0), "this", texts=lambda chunk: {"chunk": b"%d" % chunk}
        ),
        "recording": recording,
        "failed": tuple,
        "keep_going_on_nan": False,
        "name_row": lambda row: f"row {row}",
        "console": Console(file=io.StringIO()),
        "place": tmp_path / "here",
        "how_to_go_on": "go on so",
        "what_is_left": lambda: "this is left",
    }
    return Chunks(**usual | others)


def saved(tmp_path):
    return sorted(int(path.name.removeprefix("chunk-")) for path in tmp_path.glob("chunk-*"))


def test_each_chunk_is_reported_and_every_third_is_saved_as_is_the_last(tmp_path):
    reports = []
    state = train_chunks(chunks(tmp_path, record=reports.append), state_of(0))
    assert [float(report.metrics["loss"][0]) for report in reports] == list(range(1, 11))
    assert saved(tmp_path) == [3, 6, 9, 10]
    assert float(state.learner["count"][0]) == 10
    newest = checkpoint.latest(tmp_path, pytest.fail)
    assert (newest.text("chunk"), newest.manifest["config"]) == (b"10", "this")


def test_what_an_earlier_session_has_done_is_not_done_again(tmp_path):
    reports = []
    train_chunks(chunks(tmp_path, chunks_done=8, record=reports.append), state_of(8))
    assert [report.chunk for report in reports] == [9, 10]


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_training_after_the_chunk_in_hand_which_is_saved(tmp_path, number, exit_code):
    """128 + 2 for Ctrl-C and 128 + 15 for kill, as shells count."""
    ask = lambda count: os.kill(os.getpid(), number) if count == 4 else None  # noqa: E731
    with pytest.raises(Interrupted, match="stopped and saved after chunk 4; go on so") as stop:
        train_chunks(chunks(tmp_path, before_chunk=ask), state_of(0))
    assert (stop.value.exit_code, saved(tmp_path)) == (exit_code, [3, 4])


def test_a_full_disk_is_one_line_that_says_what_is_left_and_a_fault_stays_a_fault(tmp_path):
    def fail(error):
        def record(report):
            raise error

        return chunks(tmp_path, record=record)

    with pytest.raises(TrainingError, match=r"cannot write .*here: No space left on device; this is left"):
        train_chunks(fail(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))), state_of(0))
    with pytest.raises(ConnectionError):
        train_chunks(fail(ConnectionError(errno.ECONNRESET, "reset")), state_of(0))


def test_what_has_failed_is_asked_for_when_the_files_are_open_and_no_sooner(tmp_path):
    # Opening cuts off what was written after the checkpoint, which may be damaged.
    events = []

    @contextmanager
    def recording():
        events.append("opened")
        yield lambda report: None

    train_chunks(
        chunks(tmp_path, recording=recording, failed=lambda: events.append("asked") or ()), state_of(0)
    )
    assert events == ["opened", "asked"]
