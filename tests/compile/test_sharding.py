"""Eight simulated devices against one, in a process of its own, which alone can have so many."""

import os
import subprocess
import sys
from pathlib import Path

from purerl.compile.placement import arrange, choose_shard

TESTS = Path(__file__).parents[1]


def test_eight_devices_give_the_results_of_one(tmp_path):
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",  # bits are those of programs as they ship
        "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)]),
    }
    command = [sys.executable, str(TESTS / "sharded_runs.py"), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.endswith("all as one\n")


def test_devices_are_used_as_far_as_they_divide(monkeypatch):
    devices = list(range(6))
    monkeypatch.setattr("purerl.compile.placement.jax.devices", lambda: devices)
    monkeypatch.setattr("purerl.compile.placement.Mesh", lambda devices, names: devices)
    assert [len(arrange("environments", parts, 7).mesh) for parts in (1, 4, 8, 12, 7)] == [1, 4, 4, 6, 1]
    assert [arrange("environments", parts, 7).num_parts for parts in (1, 4, 8, 12, 7)] == [1, 1, 2, 2, 7]
    assert [len(arrange("seeds", 8, seeds).mesh) for seeds in (1, 6, 8, 9)] == [1, 6, 4, 3]
    axes = [arrange("environments", parts, 1).axis for parts in (1, 6, 7, 12)]
    assert axes == [None, "devices", "parts", ("devices", "parts")]
    assert arrange("seeds", 8, 6).axis is None


def test_seeds_are_dealt_out_where_devices_would_idle(monkeypatch):
    assert choose_shard("environments", 1, 3) == "seeds"
    assert choose_shard("environments", 1, 1) == choose_shard("environments", 2, 3) == "environments"
    assert choose_shard("seeds", 2, 3) == "seeds"
    monkeypatch.setattr("purerl.compile.placement.jax.process_count", lambda: 2)
    assert choose_shard("environments", 1, 3) == "environments"
