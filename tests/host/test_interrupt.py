"""Ctrl-C is answered at once although a chunk takes long; a second one ends the process."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from purerl import checkpoint, interrupt, runs
from purerl.logging import records

SCRIPT = Path(__file__).parent / "fake_experiment.py"
SECONDS_PER_CHUNK = 5
AT_ONCE = 2.5
"""Seconds: far below those of a chunk, and enough for a busy machine."""


@pytest.fixture
def running(tmp_path):
    """A run that has a chunk behind it, which is saved, and has begun another one."""
    run_dir = tmp_path / "run"
    slow = ("--seconds-per-chunk", str(SECONDS_PER_CHUNK), "--num-fast-chunks", "2")
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), *slow, "--checkpoint-every-chunks", "1", "--run-dir", str(run_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        while not (run_dir / runs.CHECKPOINTS / "chunk-00000001").exists():
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.01)
        time.sleep(1)  # by now the next chunk has begun
        yield process, run_dir
    finally:
        process.kill()
        process.wait()


def seconds_until(process, sentence):
    started = time.monotonic()
    while sentence not in (line := process.stdout.readline()):
        assert line, f"the process ended without saying: {sentence}"
    return time.monotonic() - started


def test_the_first_ctrl_c_is_answered_at_once_and_the_chunk_is_finished_and_saved(running):
    process, run_dir = running
    process.send_signal(signal.SIGINT)
    answer = "stopping after this chunk; Ctrl-C again to stop at once, without saving"
    assert seconds_until(process, answer) < AT_ONCE
    output, _ = process.communicate()
    assert process.returncode == 130
    newest = checkpoint.latest(run_dir / runs.CHECKPOINTS, pytest.fail)
    assert f"stopped and saved after chunk {newest.chunk}; go on with" in output
    assert newest.chunk == len(records.read(run_dir / runs.METRICS_FILE)) > 1


def test_the_second_ctrl_c_ends_the_process_at_once_and_leaves_the_last_checkpoint_whole(running):
    process, run_dir = running
    process.send_signal(signal.SIGINT)
    seconds_until(process, "stopping after this chunk")
    time.sleep(2 * interrupt._ECHO_SECONDS)
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    output, _ = process.communicate()
    assert time.monotonic() - started < AT_ONCE
    assert process.returncode == 130
    assert output.endswith(f"stopped; go on with: python {SCRIPT} --resume {run_dir}\n")
    assert checkpoint.latest(run_dir / runs.CHECKPOINTS, pytest.fail).chunk >= 1


def test_a_signal_that_another_process_passes_on_as_well_counts_once(running):
    process, _ = running
    process.send_signal(signal.SIGTERM)
    seconds_until(process, "stopping after this chunk")
    process.send_signal(signal.SIGTERM)
    assert "stopped and saved after chunk" in process.communicate()[0]
    assert process.returncode == 143


def test_where_nothing_is_to_be_saved_ctrl_c_is_an_exception_and_handlers_are_put_back():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    said = []
    with (
        pytest.raises(KeyboardInterrupt),
        interrupt.noticed("stopping soon", "", said.append, defer=False),
    ):
        signal.raise_signal(signal.SIGINT)
    assert said == ["stopping soon; Ctrl-C again to stop at once"]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert signal.set_wakeup_fd(-1) == -1
