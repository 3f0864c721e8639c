"""One session a run: told by real processes, on this host and as from another one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from purerl.host import lock
from purerl.host.errors import TrainingError
from purerl.run import directory
from purerl.run.experiment import RunOptions

SCRIPT = Path(__file__).parent / "fake_experiment.py"
SLOW = ("--seconds-per-chunk", "0.5", "--num-fast-chunks", "4", "--checkpoint-every-chunks", "1")


def start(*arguments, **variables):
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | variables
    )


def wait_for(path, process):
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.01)


def test_a_second_session_is_refused_while_the_first_lives_and_takes_over_when_it_was_killed(
    tmp_path, command
):
    run_dir = tmp_path / "run"
    first = start(*SLOW, "--run-dir", run_dir)
    try:
        wait_for(run_dir / directory.CHECKPOINTS / "chunk-00000001", first)
        code, _, error = command("--resume", run_dir)
        assert (code, error.count("\n")) == (2, 1)
        assert f"{run_dir} is in use: process {first.pid} on" in error and "wait for its end" in error
        # An evaluation beside it is allowed, and keeps out of its way.
        code, output, error = command("--eval-only", run_dir)
        assert code == 0, error
        assert "evaluating beside it" in output and not (run_dir / directory.SUMMARY_FILE).exists()
        assert (folder := next(run_dir.glob("at-chunk-*"))) and (folder / directory.SUMMARY_FILE).exists()
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    assert (run_dir / lock.LOCK_FILE).exists()
    config = run_dir / directory.CONFIG_FILE
    assert '"seconds_per_chunk": 0.5' in config.read_text()
    code, _, error = command("--resume", run_dir)
    assert code == 0, error
    assert not (run_dir / lock.LOCK_FILE).exists()
    assert [path for path in run_dir.iterdir() if path.name.startswith(f".{lock.LOCK_FILE}")] == []


def test_of_two_sessions_at_one_moment_one_goes_on_and_the_other_is_refused(tmp_path, command):
    run_dir = tmp_path / "run"
    assert command("--run-dir", run_dir)[0] == 0
    # A dead process holds the lock, so that both try to take it over.
    (run_dir / lock.LOCK_FILE).write_text(json.dumps(owner(pid=2**22 + 1)))
    both = [start("--resume", run_dir) for _ in range(2)]
    ends = [(process.communicate(), process.returncode) for process in both]
    for (_, error), code in ends:
        assert (code == 0 and error == "") or (code == 2 and "in use" in error and error.count("\n") == 1)
    assert 0 in [code for _, code in ends]


def test_two_runs_of_one_seed_in_one_second_have_directories_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda form: "20260101-000000")
    made = [directory.new_directory(RunOptions(), "fake").name for _ in range(3)]
    assert made == [f"fake-20260101-000000-seed0{end}" for end in ("", "-2", "-3")]


def test_of_two_runs_that_find_a_directory_empty_one_has_it(tmp_path):
    from fake_experiment import Config, build  # noqa: PLC0415

    options = Config(run_dir=tmp_path)
    assert directory.new_directory(options, "fake") == directory.new_directory(options, "fake") == tmp_path
    directory.write_config(tmp_path, options, build(options))
    with pytest.raises(directory.UserError, match="is not empty; name a new directory"):
        directory.write_config(tmp_path, options, build(options))


def owner(**changes):
    return {"host": lock._host(), "pid": os.getpid(), "began": "1", "token": "abc"} | changes


@pytest.mark.parametrize(
    ("content", "age", "is_free"),
    [
        (
            owner(),
            0.0,
            True,
        ),  # this process began at another time than 1: the number was given to another one
        (owner(pid=2**22 + 1), 0.0, True),  # there is no such process on this host
        (owner(began=lock._began(os.getpid())), 1e6, False),  # it lives, though it has stood still for long
        (owner(host="far away"), 0.0, False),
        (owner(host="far away"), lock.STALE_SECONDS - 20, False),
        (owner(host="far away"), lock.STALE_SECONDS + 20, True),
        ("damaged", 0.0, False),
        ("damaged", lock.STALE_SECONDS + 20, True),
        ("", lock.STALE_SECONDS + 20, True),
    ],
)
def test_a_lock_is_free_where_its_process_is_gone_or_far_away_and_silent(tmp_path, content, age, is_free):
    file = tmp_path / lock.LOCK_FILE
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    touched = time.time() - age
    os.utime(file, (touched, touched))
    if is_free:
        with lock.held(tmp_path) as check_ours:
            check_ours()
        assert list(tmp_path.iterdir()) == []
    else:
        with pytest.raises(lock.LockedError, match="is in use"), lock.held(tmp_path):
            pass
        assert [path.name for path in tmp_path.iterdir()] == [lock.LOCK_FILE]


def test_who_has_lost_the_lock_stops_and_leaves_that_of_the_other(tmp_path):
    with pytest.raises(TrainingError, match="taken over"), lock.held(tmp_path) as check_ours:
        (tmp_path / lock.LOCK_FILE).write_text(json.dumps(owner(host="far away")))
        check_ours()
    assert json.loads((tmp_path / lock.LOCK_FILE).read_text())["host"] == "far away"


def test_the_lock_is_touched_while_it_is_held(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_BEAT_SECONDS", 0.02)
    with lock.held(tmp_path):
        os.utime(tmp_path / lock.LOCK_FILE, (0, 0))
        deadline = time.monotonic() + 30
        while (tmp_path / lock.LOCK_FILE).stat().st_mtime == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_of_many_processes_that_take_over_a_dead_lock_one_holds_it_at_a_time(tmp_path):
    """Three processes take a stale lock twenty times each; a counter beside it loses no step."""
    (tmp_path / lock.LOCK_FILE).write_text(json.dumps(owner(pid=2**22 + 1)))
    (tmp_path / "count").write_text("0")
    work = f"""
import json, os, time
from pathlib import Path
from purerl.host import lock
room, done = Path({str(tmp_path)!r}), 0
while done < 20:
    try:
        with lock.held(room):
            number = int((room / "count").read_text())
            time.sleep(0.001)
            (room / "count").write_text(str(number + 1))
            done += 1
            dead = {{"host": "x", "pid": 1, "began": "", "token": f"t{{number}}"}}
            (room / "session.lock").write_text(json.dumps(dead))
            os.utime(room / "session.lock", (0, 0))  # as one that has died long ago on another host
    except lock.LockedError:
        time.sleep(0.001)
"""
    processes = [subprocess.Popen([sys.executable, "-c", work]) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert (tmp_path / "count").read_text() == "60"  # 3 processes x 20 steps
