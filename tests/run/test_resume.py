"""A run that was stopped, killed or resumed ends with the same bits as one that never was."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from fake_experiment import Config, build

from purerl.run import checkpoint, directory
from purerl.run.device_choice import Choice
from purerl.view import records

SCRIPT = Path(__file__).parent / "fake_experiment.py"
OPTIONS = ("--num-seeds", "2", "--checkpoint-every-chunks", "5", "--seconds-per-chunk", "0.03")


def start(*arguments):
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def kill_after(process, run_dir, num_chunks):
    """SIGKILL at a random moment after `num_chunks` chunks."""
    file = run_dir / directory.METRICS_FILE
    deadline = time.monotonic() + 60
    while not file.exists() or file.read_bytes().count(b"\n") < num_chunks:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
        time.sleep(0.002)
    time.sleep(random.uniform(0, 0.05))
    process.send_signal(signal.SIGKILL)
    process.wait()


def final_leaves(run_dir):
    config = directory.read_config(run_dir, Config, "--resume")
    experiment = build(config)
    program = experiment.build_program(
        seed=config.seed, num_seeds=config.num_seeds, total_steps=config.total_steps
    )
    newest = checkpoint.latest(run_dir / directory.CHECKPOINTS, pytest.fail)
    assert newest.chunk == program.num_chunks
    return jax.tree.leaves(checkpoint.snapshot(checkpoint.restore(newest, program.state_shape)))


def assert_same_end(left, right):
    for one, other in zip(final_leaves(left), final_leaves(right), strict=True):
        np.testing.assert_array_equal(one, other)
    assert (left / directory.METRICS_FILE).read_bytes() == (right / directory.METRICS_FILE).read_bytes()
    assert evaluation(left) == evaluation(right)


def evaluation(run_dir):
    return json.loads((run_dir / directory.SUMMARY_FILE).read_text())["eval"]


@pytest.fixture
def whole_run(tmp_path, command):
    run_dir = tmp_path / "whole"
    assert command(*OPTIONS, "--run-dir", run_dir)[0] == 0
    return run_dir


def test_a_run_killed_before_and_after_its_first_checkpoint_ends_with_the_same_bits(
    tmp_path, whole_run, command
):
    killed = tmp_path / "killed"
    kill_after(start(*OPTIONS, "--run-dir", killed), killed, num_chunks=1)
    kill_after(start("--resume", killed), killed, num_chunks=random.randint(6, 16))
    code, _, error = command("--resume", killed)
    assert code == 0, error
    assert_same_end(whole_run, killed)


def test_kills_while_every_chunk_writes_a_checkpoint_lose_nothing(tmp_path, whole_run, command):
    killed = tmp_path / "killed"
    often = ("--num-seeds", "2", "--checkpoint-every-chunks", "1", "--keep-best")
    kill_after(start(*often, "--run-dir", killed), killed, num_chunks=3)
    kill_after(start("--resume", killed), killed, num_chunks=9)
    code, _, error = command("--resume", killed)
    assert code == 0, error
    assert_same_end(whole_run, killed)


def test_ctrl_c_saves_says_how_to_go_on_and_loses_nothing(tmp_path, whole_run, command):
    stopped = tmp_path / "stopped"

    def build_with_ctrl_c(config):
        experiment = build(config)

        def build_program(**sizes):
            program = experiment.build_program(**sizes)
            run_chunk, calls = program.chunk, []

            def chunk(state):
                calls.append(None)
                if len(calls) == 8:
                    signal.raise_signal(signal.SIGINT)
                return run_chunk(state)

            program.chunk = chunk
            return program

        return experiment._replace(build_program=build_program)

    code, _, error = command(*OPTIONS, "--run-dir", stopped, build=build_with_ctrl_c)
    assert code == 130
    assert error.count("\n") == 1
    assert f"saved after chunk 8; go on with: python {sys.argv[0]} --resume {stopped}" in error
    assert not (stopped / directory.SUMMARY_FILE).exists()
    assert command("--resume", stopped)[0] == 0
    assert_same_end(whole_run, stopped)


def test_ctrl_c_before_the_first_chunk_says_how_to_go_on(tmp_path, command):
    def interrupted_build(config):
        def compile_slowly(**sizes):
            raise KeyboardInterrupt

        return build(config)._replace(build_program=compile_slowly)

    code, _, error = command("--run-dir", tmp_path / "run", build=interrupted_build)
    assert code == 130
    assert f"--resume {tmp_path / 'run'}" in error


def test_resuming_a_finished_run_changes_nothing(whole_run, command):
    before = (whole_run / directory.METRICS_FILE).read_bytes()
    summary = json.loads((whole_run / directory.SUMMARY_FILE).read_text())
    assert command("--resume", whole_run)[0] == 0
    again = json.loads((whole_run / directory.SUMMARY_FILE).read_text())
    assert (whole_run / directory.METRICS_FILE).read_bytes() == before
    assert again["eval"] == summary["eval"]
    assert again["train_seconds"] == summary["train_seconds"]


def test_a_damaged_checkpoint_is_named_and_the_one_before_gives_the_same_end(tmp_path, whole_run, command):
    other = tmp_path / "other"
    assert command(*OPTIONS, "--run-dir", other)[0] == 0
    newest = sorted((other / directory.CHECKPOINTS).iterdir())[-1]
    (newest / "manifest.json").write_text("{")
    code, output, _ = command("--resume", other)
    assert code == 0
    assert f"skipped the damaged checkpoint {newest.name}" in output
    assert_same_end(whole_run, other)


def test_a_changed_configuration_is_refused_with_the_difference(whole_run, command):
    file = whole_run / directory.CONFIG_FILE
    file.write_text(file.read_text().replace('"learning_rate": 0.01', '"learning_rate": 0.02'))
    code, _, error = command("--resume", whole_run)
    assert code == 2
    assert "algorithm.learning_rate: saved 0.01, now 0.02" in error


def test_eval_only_rewrites_the_evaluation_and_keeps_the_rest(whole_run, command):
    file = whole_run / directory.SUMMARY_FILE
    before = json.loads(file.read_text())
    file.write_text(json.dumps(before | {"eval": "lost"}))
    assert command("--eval-only", whole_run)[0] == 0
    assert json.loads(file.read_text()) == before


def test_a_disk_that_fills_up_in_between_stops_with_one_line_and_can_be_resumed(
    tmp_path, whole_run, command, monkeypatch
):
    run_dir = tmp_path / "full"
    append = records.append

    def append_until_full(stream, record):
        if record["chunk"] == 13:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        append(stream, record)

    with monkeypatch.context() as patch:
        patch.setattr(records, "append", append_until_full)
        code, _, error = command(*OPTIONS, "--run-dir", run_dir)
    assert (code, error.count("\n")) == (1, 1)
    assert "No space left on device; the last good checkpoint is" in error
    assert "chunk-00000010" in error
    assert command("--resume", run_dir)[0] == 0
    assert_same_end(whole_run, run_dir)


def on(num_devices):
    """The fake experiment on a machine where so many devices would be used for a new run."""
    return lambda config: build(config)._replace(num_devices=num_devices)


def test_a_run_goes_on_with_the_devices_that_it_began_on(tmp_path, command):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert command("--run-dir", whole, build=on(1))[0] == 0

    def stopped_build(config):
        def compile_slowly(**sizes):
            raise KeyboardInterrupt

        return on(1)(config)._replace(build_program=compile_slowly)

    assert command("--run-dir", stopped, build=stopped_build)[0] == 130
    code, output, _ = command("--resume", stopped, build=on(2))
    assert (code, output.count("warning")) == (0, 0)
    assert json.loads((stopped / directory.SUMMARY_FILE).read_text())["num_devices"] == 1
    assert_same_end(whole, stopped)


def test_a_run_that_was_cut_for_more_devices_than_there_are_goes_on_with_one_warning(
    tmp_path, command, monkeypatch
):
    whole_run = tmp_path / "whole"
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("purerl.run.device_choice.for_new", lambda *_, **__: Choice(4096))
        assert command("--run-dir", whole_run, build=on(4096))[0] == 0
    code, output, _ = command("--resume", whole_run, build=on(2))
    (warning,) = [line for line in output.splitlines() if line.startswith("warning")]
    assert code == 0
    here = len(jax.local_devices())
    assert f"began on 4096 devices and goes on with {here}: it draws the same random numbers" in warning
    assert json.loads((whole_run / directory.SUMMARY_FILE).read_text())["num_devices"] == here


def test_a_run_with_one_number_a_device_in_its_state_is_evaluated_without_the_devices(tmp_path, command):
    run_dir, reported = tmp_path / "run", []
    assert command("--run-dir", run_dir, "--num-seeds", 2, "--tally-devices", build=on(3))[0] == 0
    report = lambda run_dir, state, summary, console: reported.append(state)  # noqa: E731
    code, _, error = command(
        "--eval-only", run_dir, build=lambda config: on(1)(config)._replace(report=report)
    )
    assert code == 0, error
    # 160 steps / 4 environments = 40 updates, counted on each of the three devices of two seeds
    np.testing.assert_array_equal(reported[0].actor["tally"], np.full((2, 3), 40.0))
