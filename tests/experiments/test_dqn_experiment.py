"""DQN as its users meet it: what a run leaves, a crash in mid-replay, answers to wrong requests."""

import json
import shutil

import dqn
import dqn_maze
import jax
import numpy as np
import pytest

from purerl.experiment import making
from purerl.run import checkpoint, cli, directory

TINY = [
    "--total-steps=960", "--num-seeds=2", "--eval-episodes=4", "--net.width=8", "--net.head-width=8",
    "--dqn.num-envs=4", "--dqn.num-steps=10", "--dqn.batch-size=8", "--dqn.warmup-steps=80",
    "--dqn.buffer-size=200",
]  # fmt: skip
TINY_MAZE = [
    "--total-steps=1024", "--eval-mazes=6", "--net.width=8", "--pqn.num-envs=16", "--pqn.num-steps=8",
    "--pqn.num-epochs=1", "--pqn.num-minibatches=2", "--pqn.num-levels=16",
]  # fmt: skip


def command(module, *options):
    """Runs the script's main; returns its exit code."""
    with pytest.raises(SystemExit) as stop:
        cli.main(module.Config, module.build, argv=[str(option) for option in options])
    return stop.value.code


def leaves(*run_dirs):
    """Every array of the newest checkpoint of each run; they have one configuration."""
    config = directory.read_config(run_dirs[0], dqn.Config, "--resume")
    experiment = dqn.build(config)
    shape = experiment.build_program(
        seed=config.seed, num_seeds=config.num_seeds, total_steps=config.total_steps, num_devices=1
    ).state_shape
    newest = [checkpoint.latest(run_dir / directory.CHECKPOINTS, pytest.fail) for run_dir in run_dirs]
    return [jax.tree.leaves(checkpoint.snapshot(checkpoint.restore(saved, shape))) for saved in newest]


def test_a_crash_in_mid_replay_changes_nothing(tmp_path, capsys):
    # 960 steps go through a replay of 200: the ring has wrapped before the crash and wraps again after it.
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    options = ["--dqn.prioritized", "--checkpoint-every-chunks=1", "--keep-checkpoints=99"]
    assert command(dqn, "--run-dir", whole, *options, *TINY) == 0
    assert "replay: " in capsys.readouterr().out
    summary = json.loads((whole / directory.SUMMARY_FILE).read_text())
    cell = summary["eval"]["default"]
    assert set(cell) == {"mean", "sem", "episodes", "per_seed", "length"}
    np.testing.assert_allclose(cell["mean"], np.mean(cell["per_seed"]))
    # The directory as a crash after the half would have left it.
    shutil.copytree(whole, cut)
    (cut / directory.SUMMARY_FILE).unlink()
    saved = sorted((cut / directory.CHECKPOINTS).iterdir(), key=lambda path: path.name)
    for path in saved[len(saved) // 2 :]:
        shutil.rmtree(path)
    assert command(dqn, "--resume", cut) == 0
    one, other = leaves(whole, cut)
    assert len(one) == len(other) > 20
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (whole / directory.METRICS_FILE).read_bytes() == (cut / directory.METRICS_FILE).read_bytes()


def test_a_run_in_mazes_leaves_what_it_promises(tmp_path):
    assert command(dqn_maze, "--run-dir", tmp_path / "run", *TINY_MAZE) == 0
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert left >= {"summary.json", "curves.png", "level_sheet.png", "episode.gif"}
    results = json.loads((tmp_path / "run" / "summary.json").read_text())["eval"]
    assert results["size_9"]["mazes"] == 6


def test_a_replay_that_memory_cannot_hold_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(making, "available_memory", lambda: 10_000)
    assert command(dqn, *TINY, "--dqn.buffer-size=20000") == 2
    assert "try buffer_size = " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--env=CartPol-v1"], "there is no environment 'CartPol-v1'; try CartPole-v1"),
        (["--env=Pendulum-v1"], "discrete actions"),
        (
            ["--dqn.num-return-steps=50", "--dqn.buffer-size=100", "--dqn.warmup-steps=10"],
            "try buffer_size = 520",
        ),
        (["--network=image"], "network 'image' needs observations"),
        (["--eval-episodes=0"], "--eval-episodes is 0; it must be at least 1"),
    ],
)
def test_a_wrong_request_is_one_line_and_exit_code_2(options, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command(dqn, *options) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert sentence in error
    assert not list(tmp_path.iterdir())
