"""The experiment as its users meet it: what a run leaves behind, and what a wrong request is answered."""

import json
from functools import partial

import numpy as np
import ppo_bikkle
import pytest

from envs.bikkle.render import render_episode
from envs.experiments import bikkle
from purerl.run import cli

TINY = [
    "--total-steps=1024", "--num-seeds=2", "--eval-episodes=4", "--network=deepsets", "--net.width=8",
    "--ppo.num-envs=16", "--ppo.num-steps=8", "--ppo.num-epochs=1", "--ppo.num-minibatches=2",
    "--env.num-pellets", "2", "4",
]  # fmt: skip


def command(*options):
    """Runs the script's main; returns its exit code."""
    with pytest.raises(SystemExit) as stop:
        cli.main(ppo_bikkle.Config, ppo_bikkle.build, argv=[str(option) for option in options])
    return stop.value.code


def test_a_run_leaves_what_it_promises(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(bikkle, "render_episode", partial(render_episode, size=48))
    assert command("--run-dir", tmp_path / "run", *TINY) == 0
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert left >= {
        "config.json", "metrics.jsonl", "summary.json", "checkpoints", "curves.png", "episode.gif"
    }  # fmt: skip
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["env_steps"] == 1024
    assert summary["num_seeds"] == 2
    assert {"compile_seconds", "train_seconds", "steps_per_second", "jax", "jaxlib", "device"} <= set(summary)
    assert set(summary["eval"]) == {"record", "continuing_4", "continuing_16", "first_touch_4"}
    for gazes in summary["eval"].values():
        assert set(gazes) == {"target", "uniform", "none"}
        for cell in gazes.values():
            assert cell["episodes"] == 4
            assert len(cell["per_seed"]) == 2
            np.testing.assert_allclose(cell["mean"], np.mean(cell["per_seed"]))
    assert "first_touch_4" in capsys.readouterr().out
    before = summary["eval"]
    assert command("--eval-only", tmp_path / "run") == 0
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["eval"] == before


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--ppo.learning-rat=1"], "did you mean --ppo.learning-rate"),
        (["--ppo.num-envs=many"], "--ppo.num-envs takes a whole number, not 'many'"),
        (["--ppo.num-minibatches=7"], "is not divisible by --ppo.num-minibatches 7"),
        (["--ppo.learning-rate=-1"], "--ppo.learning-rate is -1.0; it must be above 0"),
        (["--env.num-pellets", "3"], "cannot be half blue and half pink; try 2 or 4"),
        (["--env.num-pellets", "32", "--env.pellet-size", "0.1"], "pellet_size"),
        (["--env.gaze-source", "1", "1", "0", "0"], "gaze_source"),
        (["--env.gaze-source", "0", "0", "0", "1"], "let the fourth probability be 0"),
        (["--env.gaze-presence", "2"], "--env.gaze-presence is 2.0; it must be between 0 and 1"),
        (["--net.num-heads=5"], "--net.num-heads 5 does not divide --net.width 32"),
        (["--eval-episodes=0"], "--eval-episodes is 0; it must be at least 1"),
        (["--protocol=nothing"], "--protocol takes mixture"),
        (["--resume", "no/such/run"], "no/such/run"),
        (["--eval-only", "no/such/run"], "no/such/run"),
        (["--num-seeds=0"], "--num-seeds is 0"),
    ],
)
def test_a_wrong_request_is_one_line_and_exit_code_2(options, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command(*options) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert sentence in error
    assert not list(tmp_path.iterdir())


def test_a_run_never_writes_over_another(tmp_path, capsys):
    (tmp_path / "precious").touch()
    assert command("--run-dir", tmp_path, *TINY) == 2
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_the_help_explains_every_option(capsys):
    assert command("--help") == 0
    text = capsys.readouterr().out
    for option in ("--resume", "--eval-only", "--num-seeds", "--ppo.gamma", "--env.gaze-std", "--net.width"):
        assert option in text
