"""On how many devices a run works: as told, or as many as pay; it is said, written down, and kept."""

import json
import signal

import jax
import pytest
import tracking_experiment
from fake_experiment import build
from rich.console import Console

from purerl.compile import cores, placement
from purerl.host.errors import Interrupted, UserError
from purerl.population.evolution import PopulationOptions
from purerl.population.training import train_population
from purerl.run import device_choice, directory
from purerl.sweep import LogUniform, SweepOptions, resume, sweep

RATES = {"tracker.rate": LogUniform(1e-3, 1e-1)}
QUIET = Console(quiet=True)
TWO = pytest.mark.skipif(len(jax.devices()) != 2, reason="not two devices")


def of_parts(num_parts):
    return lambda config: build(config)._replace(num_devices=num_parts)


@pytest.fixture
def two_cores(monkeypatch):
    """Two cores without a quota; the value is how many of them others keep busy."""
    busy = [0.0]
    monkeypatch.setattr(cores, "busy", lambda: busy[0])
    monkeypatch.setattr(cores, "count", lambda: 2)
    monkeypatch.setattr(cores, "visible_count", lambda: 2)
    return busy


@TWO
def test_the_choice_is_told_and_written_down(tmp_path, command, two_cores, monkeypatch):
    code, output, _ = command("--run-dir", tmp_path / "quiet", build=of_parts(2))
    assert code == 0
    assert "using 2 of 2 devices, one a core; other processes keep 0.0 of 2 cores busy\n" in output
    two_cores[0] = 1.1  # a fair share of the cores is worth two devices: one is what a rule like that may say
    monkeypatch.setattr(cores, "worthwhile", lambda *_: 1)
    code, output, _ = command("--run-dir", tmp_path / "busy", build=of_parts(2))
    assert code == 0
    assert "using 1 of 2 devices, because other processes keep 1.1 of 2 cores busy" in output
    assert "warning" not in output
    for name, used in (("quiet", 2), ("busy", 1)):
        saved = json.loads((tmp_path / name / directory.CONFIG_FILE).read_text())
        assert (saved["num_devices"], saved["devices_used"]) == (2, used)  # parts, which decide what is drawn


@TWO
def test_whoever_goes_on_keeps_the_choice_whatever_others_do_by_then(
    tmp_path, command, two_cores, monkeypatch
):
    run_dir = tmp_path / "run"
    two_cores[0] = 1.0
    monkeypatch.setattr(cores, "worthwhile", lambda *_: 1)

    def stopped_build(config):
        def compile_slowly(**sizes):
            raise KeyboardInterrupt

        return of_parts(2)(config)._replace(build_program=compile_slowly)

    assert command("--run-dir", run_dir, build=stopped_build)[0] == 130
    two_cores[0] = 0.0
    placement.use(0)
    assert command("--resume", run_dir, build=of_parts(2))[0] == 0
    assert len(placement.devices()) == 1
    assert command("--resume", run_dir, "--devices", 2, build=of_parts(2))[0] == 0
    assert len(placement.devices()) == 2


@TWO
def test_devices_are_as_many_as_one_says(tmp_path, command):
    code, output, _ = command("--run-dir", tmp_path / "run", "--devices", 1, build=of_parts(2))
    assert code == 0
    assert "using 1 of 2 devices, as --devices says\n" in output
    assert placement.devices() == jax.devices()[:1]


def test_more_devices_than_there_are_is_one_line_before_anything_is_written(tmp_path, command):
    code, _, error = command("--run-dir", tmp_path / "run", "--devices", 64)
    assert (code, error.count("\n")) == (2, 1)
    assert f"--devices 64: there {'is' if len(jax.devices()) == 1 else 'are'} {len(jax.devices())}" in error
    config = tracking_experiment.Config(run_dir=tmp_path / "run", devices=64)
    for train in (sweep, train_population):
        options = (SweepOptions if train is sweep else PopulationOptions)(num_members=2)
        with pytest.raises(UserError, match="--devices 64: there"):
            train(config, tracking_experiment.build, RATES, options, QUIET)
    assert command("--run-dir", tmp_path / "run", "--devices", -1)[0] == 2
    assert not (tmp_path / "run").exists()


def test_several_processes_use_all_devices(monkeypatch):
    monkeypatch.setattr("purerl.run.device_choice.jax.process_count", lambda: 2)
    with pytest.raises(UserError, match="leave it out"):
        device_choice.check(1)
    device_choice.check(0)


@TWO
def test_a_sweep_keeps_its_choice(tmp_path, two_cores):
    two_cores[0] = 1.0
    config = tracking_experiment.Config(num_seeds=2, shard="seeds", run_dir=tmp_path / "sweep", devices=1)
    options = SweepOptions(num_members=2, width=1)
    sweep(config, tracking_experiment.build, RATES, options, QUIET)
    layout = json.loads((tmp_path / "sweep" / "sweep.json").read_text())["layout"]
    assert layout["devices"] == 1
    placement.use(0)
    resume(tmp_path / "sweep", tracking_experiment.Config, tracking_experiment.build, QUIET)
    assert len(placement.devices()) == 1


@pytest.mark.parametrize("kind", ["sweep", "population"])
def test_ctrl_c_while_runs_are_tried_says_how_to_go_on(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(
        f"purerl.{kind}.training.measure_width", lambda *_: signal.raise_signal(signal.SIGINT)
    )
    config = tracking_experiment.Config(run_dir=tmp_path / kind)
    train, options = (sweep, SweepOptions) if kind == "sweep" else (train_population, PopulationOptions)
    with pytest.raises(Interrupted, match=r"stopped before training; run the command again") as stop:
        train(config, tracking_experiment.build, RATES, options(num_members=2), QUIET)
    assert stop.value.exit_code == 130
    assert not (tmp_path / kind).exists() or not any((tmp_path / kind).iterdir())


@pytest.mark.parametrize("kind", ["sweep", "population"])
def test_ctrl_c_while_programs_are_compiled_says_how_to_go_on(kind, tmp_path):
    def stopped(**_):
        signal.raise_signal(signal.SIGINT)

    def interrupted_build(config):
        return tracking_experiment.build(config)._replace(build_program=stopped)

    config = tracking_experiment.Config(run_dir=tmp_path / kind)
    train, options = (sweep, SweepOptions) if kind == "sweep" else (train_population, PopulationOptions)
    with pytest.raises(Interrupted, match=r"stopped before training|go on with"):
        train(config, interrupted_build, RATES, options(num_members=2, width=1), QUIET)
