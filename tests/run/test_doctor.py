"""The doctor: each fault is named with its remedy, and the exit code says whether runs would work."""

import io
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from rich.console import Console

from purerl.compile import xla
from purerl.doctor import __main__ as command
from purerl.doctor import findings, rates
from purerl.doctor.findings import Finding
from purerl.host.errors import TrainingError

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize(
    ("finding", "state", "words"),
    [
        (findings.python((3, 10, 4)), "wrong", "Install Python 3.11 or later"),
        (findings.python((3, 11, 0)), "good", ""),
        (findings.jax_versions("0.10.2", "0.10.1"), "wrong", "pip install -c constraints.txt"),
        (findings.jax_versions("0.12.0", "0.12.0"), "slow", "Never tried"),
        (findings.jax_versions("0.11.2", "0.11.2"), "good", ""),
        (findings.jax_versions("0.10.2", "0.10.2"), "good", ""),
        (findings.cores(number=4, load=0.3, quota=1.5), "slow", "may use 1.5 of them"),
        (findings.cores(number=4, load=3.0, quota=4.0), "slow", "Other processes"),
        (findings.cores(number=4, load=0.3, quota=4.0), "good", ""),
        (findings.memory(2**30), "slow", "fewer seeds"),
        (findings.memory(2**34), "good", ""),
        (findings.cache(None), "slow", "PURERL_CACHE_DIR"),
        (findings.cache("/proc/nothing"), "wrong", "cannot be written"),
        (findings.devices({}, cores=len(jax.devices()) + 1), "slow", "device count"),
        (findings.devices({}, cores=len(jax.devices())), "good", ""),
    ],
)
def test_each_fault_is_judged_and_has_a_remedy(finding, state, words):
    assert finding.state == state
    assert words in finding.advice
    assert bool(finding.advice) == (state != "good")


def test_the_environment_is_shown_and_switches_that_break_training_are_wrong():
    found = findings.flags(
        {"JAX_DISABLE_JIT": "True", "JAX_ENABLE_X64": "0", "JAX_DEBUG_NANS": "1", "HOME": "/"}
    )
    states = {finding.what: finding.state for finding in found}
    assert states == {
        "XLA_FLAGS": "good", "JAX_DISABLE_JIT": "wrong", "JAX_ENABLE_X64": "good", "JAX_DEBUG_NANS": "slow"
    }  # fmt: skip


def test_a_gpu_that_jax_does_not_see_is_wrong_unless_it_was_told_so(tmp_path, monkeypatch):
    monkeypatch.setattr(findings, "_DRIVER", tmp_path / "version")
    assert "no NVIDIA GPU" in findings.driver().found
    (tmp_path / "version").write_text("NVRM version: 580.1\nGCC")
    assert findings.driver().found == "NVRM version: 580.1"
    unseen = findings.devices({}, cores=len(jax.devices()))
    assert (unseen.state, "constraints-cuda.txt" in unseen.advice) == ("wrong", True)
    assert findings.devices({"JAX_PLATFORMS": "cpu"}, cores=len(jax.devices())).state == "good"


def test_a_quota_below_the_cores_that_are_seen_is_told_although_fewer_devices_are_made(monkeypatch):
    monkeypatch.setattr(findings.processor, "visible_count", lambda: 4)
    monkeypatch.setattr(findings.processor, "quota", lambda: 2.5)
    assert findings.cores(load=0.0).found == "4, load 0.0, quota 2.5"
    assert findings.cores(load=0.0).state == "slow"


def test_the_version_of_the_constraints_is_one_that_was_tried():
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    (pin,) = [pin for pin in pins if pin.startswith("jaxlib==")]
    assert xla.release(pin.removeprefix("jaxlib==")) in xla.TRIED


def test_half_the_rate_takes_twice_the_time_and_the_readme_says_the_same():
    assert rates.default_seconds(rates.AT_GFLOPS) == rates.DEFAULT_SECONDS
    assert rates.default_seconds(rates.AT_GFLOPS / 2) == 2 * rates.DEFAULT_SECONDS
    assert f"{rates.AT_GFLOPS:.0f} GFLOP/s" in (ROOT / "README.md").read_text()


def test_a_small_training_learns_and_has_a_rate():
    steps, seconds = rates.small_training()
    assert steps > 0
    assert seconds > 0


def test_what_is_wrong_is_printed_with_its_remedy_and_ends_with_1(monkeypatch):
    wrong = Finding("cache", "[/a] [bold]", "wrong", "Name [another].")
    monkeypatch.setattr(command, "all_findings", lambda: [Finding("Python", "3.11.0"), wrong])
    printed = io.StringIO()
    with pytest.raises(TrainingError, match="something is wrong here: cache") as stop:
        command.examine(command.Request(), Console(file=printed, width=100))
    assert stop.value.exit_code == 1
    assert "[/a] [bold]" in printed.getvalue()  # as it is, not as markup
    assert "cache: Name [another]." in printed.getvalue()


def test_the_command_ends_with_0_here_and_with_1_where_nothing_is_compiled():
    def run(**changes):
        return subprocess.run(
            [sys.executable, "-m", "purerl.doctor", "--no-measure"],
            env=os.environ | {"PYTHONPATH": str(ROOT)} | changes,
            capture_output=True,
            text=True,
            check=False,
        )

    good, wrong = run(), run(JAX_DISABLE_JIT="1")
    assert good.returncode == 0, good.stderr
    assert "XLA_FLAGS" in good.stdout
    assert wrong.returncode == 1
    assert wrong.stderr.count("\n") == 1
    assert "JAX_DISABLE_JIT" in wrong.stderr
