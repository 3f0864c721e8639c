"""Ctrl-C is answered at once although a chunk takes long; a second one ends the process."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from purerl.host import interrupt
from purerl.run import checkpoint, directory
from purerl.view import records

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
        while not (run_dir / directory.CHECKPOINTS / "chunk-00000001").exists():
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
    newest = checkpoint.latest(run_dir / directory.CHECKPOINTS, pytest.fail)
    assert f"stopped and saved after chunk {newest.chunk}; go on with" in output
    assert newest.chunk == len(records.read(run_dir / directory.METRICS_FILE)) > 1


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
    assert checkpoint.latest(run_dir / directory.CHECKPOINTS, pytest.fail).chunk >= 1


def test_a_signal_that_another_process_passes_on_as_well_counts_once(running):
    process, _ = running
    process.send_signal(signal.SIGTERM)
    seconds_until(process, "stopping after this chunk")
    process.send_signal(signal.SIGTERM)
    assert "stopped and saved after chunk" in process.communicate()[0]
    assert process.returncode == 143


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_a_closed_terminal_and_the_warning_of_a_scheduler_save_as_well_and_may_come_twice(running, number):
    process, run_dir = running
    process.send_signal(number)
    seconds_until(process, "stopping after this chunk")
    time.sleep(2 * interrupt._ECHO_SECONDS)
    process.send_signal(number)
    # What a scheduler sends when the time is up is the first request, not the second one.
    process.send_signal(signal.SIGTERM)
    output = process.communicate()[0]
    assert process.returncode == 128 + number
    newest = checkpoint.latest(run_dir / directory.CHECKPOINTS, pytest.fail)
    assert f"stopped and saved after chunk {newest.chunk}; go on with: python {SCRIPT} --resume" in output
    assert newest.chunk == len(records.read_metrics(run_dir / directory.METRICS_FILE)) > 1


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
@pytest.mark.parametrize("defer", [True, False])
def test_what_nohup_ignores_stays_ignored(number, defer):
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with interrupt.noticed("", "", pytest.fail, defer=defer) as received:
            signal.raise_signal(number)
        assert received == []
        assert signal.getsignal(number) == signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_a_run_whose_terminal_is_closed_saves_although_nothing_can_be_printed(tmp_path):
    run_dir = tmp_path / "run"
    slow = ("--seconds-per-chunk", "1", "--num-fast-chunks", "2", "--checkpoint-every-chunks", "5")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", IN_A_TERMINAL, str(SCRIPT), *slow, "--run-dir", str(run_dir)],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    try:
        file = run_dir / directory.METRICS_FILE
        while not file.exists() or not file.read_bytes():
            assert process.poll() is None
            os.read(ours, 10_000)
        os.close(ours)  # the kernel sends SIGHUP, and everything that is written to the terminal fails
        assert process.wait(60) == 128 + signal.SIGHUP
    finally:
        process.kill()
        process.wait()
    newest = checkpoint.latest(run_dir / directory.CHECKPOINTS, pytest.fail)
    assert newest.chunk == len(records.read_metrics(file)) < 20


IN_A_TERMINAL = """
import fcntl, runpy, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
sys.argv = sys.argv[1:]
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Makes the terminal that standard input is the controlling one, as it is for whatever a person starts."""


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
