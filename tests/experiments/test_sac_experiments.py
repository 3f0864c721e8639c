"""Experiments on any environment with SAC and PPO, as their users meet them."""

import json
from functools import partial

import jax
import ppo
import pytest
import sac
import sac_bikkle

from envs.bikkle.render import render_episode
from envs.experiments import bikkle
from purerl.algorithms.sac import SACConfig
from purerl.run import cli

TINY = [
    "--total-steps=512", "--num-seeds=2", "--eval-episodes=4", "--sac.num-envs=8", "--sac.num-steps=16",
    "--sac.num-gradient-steps=1", "--sac.batch-size=16", "--sac.warmup-steps=64", "--net.width=8",
]  # fmt: skip


def command(script, *options):
    """Runs a script's main; returns its exit code."""
    with pytest.raises(SystemExit) as stop:
        cli.main(script.Config, script.build, argv=[str(option) for option in options])
    return stop.value.code


def test_sac_trains_and_is_evaluated_again_from_its_checkpoint(tmp_path, capsys):
    assert command(sac, "--run-dir", tmp_path / "run", *TINY) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["env_steps"] == 512
    assert len(summary["eval"]["default"]["per_seed"]) == 2
    assert "Pendulum-v1" in capsys.readouterr().out
    assert command(sac, "--eval-only", tmp_path / "run") == 0
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["eval"] == summary["eval"]


def test_sac_chooses_directions_in_the_arena(tmp_path, monkeypatch):
    monkeypatch.setattr(bikkle, "render_episode", partial(render_episode, size=48))
    options = ("--env.action=angle", "--network=deepsets", "--net.head-width=8")
    assert command(sac_bikkle, "--run-dir", tmp_path / "run", *TINY, *options) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert set(summary["eval"]) == {"record", "continuing_4", "continuing_16", "first_touch_4"}
    assert (tmp_path / "run" / "episode.gif").exists()


def test_ppo_trains_on_any_environment_and_deals_its_seeds_out(tmp_path):
    options = (
        "--total-steps=512",
        "--eval-episodes=4",
        "--ppo.num-envs=8",
        "--ppo.num-steps=16",
        "--num-seeds=2",
    )
    assert command(ppo, "--run-dir", tmp_path / "run", "--net.width=8", *options) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["eval"]["default"]["mean"] >= 8  # a pole needs as many steps to fall
    assert summary["num_devices"] == min(2, len(jax.devices()))  # eight environments are not worth cutting


@pytest.mark.parametrize(
    ("script", "options", "sentence"),
    [
        (sac, ["--env=Pendulum"], "there is no environment 'Pendulum'; try Pendulum-v1"),
        (sac, ["--sac.num-envs=0"], "--sac.num-envs is 0; it must be at least 1"),
        (sac, ["--sac.warmup-steps=200000"], "--sac.warmup-steps 200000 is more than the replay holds"),
        (ppo, ["--env=CartPole-v1", "--network=attention"], "needs observations made of tokens"),
        (sac_bikkle, ["--net.head-width=0"], "--net.head-width 0 leaves critics no layer"),
    ],
)
def test_a_wrong_request_is_one_line_and_exit_code_2(
    script, options, sentence, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert command(script, *options) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert sentence in error


@pytest.mark.parametrize(("event_share", "num_devices"), [(0.0, 4), (0.25, 4), (0.1, 2), (0.05, 1)])
def test_no_device_is_left_without_a_sample_of_events(monkeypatch, event_share, num_devices):
    # Of batches of 16, four devices have 4 samples each: a tenth of these is 0.4, none; of 8 it is 0.8, one.
    monkeypatch.setattr(jax, "devices", lambda: [None] * 4)
    config = sac.Config(sac=SACConfig(num_envs=8, batch_size=16, event_share=event_share))
    assert sac.build(config).num_devices == num_devices
