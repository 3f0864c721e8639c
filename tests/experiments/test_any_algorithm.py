"""Every registered algorithm has a command line, whose options are its own and those of its networks."""

import json
import sys
from pathlib import Path

import jax
import pytest
import train

from purerl.algorithms import named, registered
from purerl.experiment.any_algorithm import asked_for, config_class
from purerl.run import arguments, cli
from purerl.sweep.command import load_experiment

TINY = [
    "--total-steps=256", "--eval-episodes=2", "--net.width=8", "--pqn.num-envs=8", "--pqn.num-steps=8",
    "--pqn.num-epochs=1", "--pqn.num-minibatches=2",
]  # fmt: skip


@pytest.mark.parametrize("name", sorted(registered()))
def test_every_algorithm_is_built_from_its_options_alone(name):
    env = "Pendulum-v1" if named(name).network == "soft" else "CartPole-v1"
    config = arguments.parse(config_class(name), [f"--env={env}", "--net.width=8"]).config
    experiment = train.build(config)
    assert experiment.name == f"{name}-{env.lower()}"
    assert isinstance(experiment.algorithm_config, named(name).config)
    state = jax.eval_shape(experiment.algorithm.init, jax.random.key(0), experiment.algorithm_config)
    assert state.num_updates.shape == ()


def test_the_help_has_the_options_of_the_algorithm_that_is_asked_for(capsys):
    with pytest.raises(SystemExit):
        arguments.parse(config_class("pqn"), ["--help"])
    text = capsys.readouterr().out
    assert "--pqn.return-lambda" in text and "--net.layer-norm" in text
    assert "--ppo." not in text and "--dqn." not in text


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("", "ppo"),
        ("--algorithm sac", "sac"),
        ("--env Pendulum-v1 --algorithm=dqn --seed 3", "dqn"),
        ("--algorithm nothing", "ppo"),
        ("--resume no/such/run", "ppo"),
        ("--algorithm", "ppo"),
    ],
)
def test_the_algorithm_is_found_on_the_command_line(words, name):
    assert asked_for(words.split()) == name


def test_an_algorithm_that_there_is_not_is_refused_in_one_line(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(config_class(asked_for(["--algorithm=nothing"])), train.build, argv=["--algorithm=nothing"])
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("error: --algorithm takes ")


def test_a_run_knows_its_algorithm_when_it_is_evaluated_or_resumed(tmp_path, capsys):
    def command(*argv):
        with pytest.raises(SystemExit) as stop:
            cli.main(config_class(asked_for(argv)), train.build, argv=argv)
        return stop.value.code

    run_dir = tmp_path / "run"
    assert command("--algorithm=pqn", "--run-dir", str(run_dir), *TINY) == 0
    summary = json.loads((run_dir / "summary.json").read_text())
    assert "CartPole-v1" in capsys.readouterr().out
    (saved, *_) = sorted((run_dir / "checkpoints").iterdir(), reverse=True)
    for path in (run_dir, run_dir / "checkpoints", saved):
        assert asked_for(["--resume", str(path)]) == "pqn"
    assert command("--eval-only", str(run_dir)) == 0
    assert json.loads((run_dir / "summary.json").read_text())["eval"] == summary["eval"]


def test_a_sweep_takes_the_options_of_the_algorithm_that_is_asked_for(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["sweep", "train.py", "--algorithm", "dqn"])
    monkeypatch.setitem(sys.modules, "train", train)
    config_of, _ = load_experiment(Path(train.__file__))
    assert config_of().algorithm == "dqn" and hasattr(config_of(), "dqn")
