"""Several processes: who is found, and two that train one run over the loopback interface."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from purerl.host import hosts
from purerl.host.errors import UserError
from purerl.run import checkpoint, directory

ROOT = Path(__file__).parent.parent.parent
OPTIONS = (
    *("--env", "CartPole-v1", "--total-steps", "512", "--eval-episodes", "2", "--net.width", "8"),
    *("--ppo.num-envs", "16", "--ppo.num-steps", "8", "--ppo.num-minibatches", "2", "--ppo.num-epochs", "1"),
)


@pytest.mark.parametrize(
    ("environment", "several"),
    [
        ({}, False),
        ({"SLURM_STEP_NODELIST": "node[1-2]", "SLURM_NTASKS": "8"}, True),
        ({"SLURM_STEP_NODELIST": "node1", "SLURM_NTASKS": "1"}, False),
        ({"SLURM_NTASKS": "8"}, False),  # within a job, but not started by srun
        ({"OMPI_MCA_orte_hnp_uri": "1.0;tcp://10.0.0.1:3", "OMPI_COMM_WORLD_SIZE": "2"}, True),
        ({"OMPI_MCA_orte_hnp_uri": "1.0;tcp://10.0.0.1:3"}, False),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0"}, True),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, False),
        ({"JAX_COORDINATOR_ADDRESS": "a:1", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1"}, True),
        ({"JAX_COORDINATOR_ADDRESS": "a:1"}, False),
    ],
)
def test_several_processes_are_found_where_a_launcher_tells_of_them(environment, several):
    assert hosts.found(environment) is several


def test_one_process_keeps_its_directory_its_flags_and_its_arrays(tmp_path):
    assert hosts.is_first()
    assert hosts.own_directory(tmp_path) == tmp_path
    assert hosts.any_of(True) and not hosts.any_of(False)
    array = np.ones(3)
    assert hosts.gathered({"a": array})["a"] is array


def start(run_dir, devices, **variables):
    environment = (
        os.environ
        | variables
        | {
            "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}",
            "JAX_PLATFORMS": "cpu",
            "PYTHONPATH": str(ROOT),
        }
    )
    command = [sys.executable, str(ROOT / "experiments" / "ppo.py"), *OPTIONS, "--run-dir", str(run_dir)]
    if "JAX_NUM_PROCESSES" not in variables:  # the others keep the machine busy
        command += ["--devices", str(devices)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_two_processes_train_as_one(tmp_path):
    address = f"127.0.0.1:{free_port()}"
    several = [
        start(
            tmp_path / "two",
            1,
            JAX_COORDINATOR_ADDRESS=address,
            JAX_NUM_PROCESSES="2",
            JAX_PROCESS_ID=str(number),
        )
        for number in range(2)
    ]
    processes = [start(tmp_path / "one", 2), *several]
    printed = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], printed
    assert "seed 0" in printed[1][0] and "seed 0" not in printed[2][0]  # the first process speaks for all

    one, two = (metrics_of(tmp_path / name) for name in ("one", "two"))
    assert len(one) == len(two) == 4
    for ours, theirs in zip(one, two, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    saved = [checkpoint.latest(tmp_path / name / directory.CHECKPOINTS, print) for name in ("one", "two")]
    assert saved[0].manifest["leaves"] == saved[1].manifest["leaves"]
    summaries = [
        json.loads((tmp_path / name / directory.SUMMARY_FILE).read_text()) for name in ("one", "two")
    ]
    assert [summary["num_devices"] for summary in summaries] == [2, 2]


def metrics_of(run_dir):
    lines = [json.loads(line) for line in (run_dir / directory.METRICS_FILE).read_text().splitlines()]
    return [np.array([line["metrics"][name] for name in sorted(line["metrics"])], float) for line in lines]


def test_a_device_of_several_processes_must_not_be_left_without_work(monkeypatch):
    hosts.check_shares(3, "three seeds")
    monkeypatch.setattr("purerl.host.hosts.jax.process_count", lambda: 2)
    monkeypatch.setattr("purerl.host.hosts.jax.devices", lambda: [0, 1])
    hosts.check_shares(4, "four seeds")
    with pytest.raises(UserError, match="three seeds cannot be dealt out evenly to the 2 devices"):
        hosts.check_shares(3, "three seeds")
