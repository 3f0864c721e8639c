"""JAX_ENABLE_X64: commands train in float32, to the same figures; as a library, one line refuses."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from probes import RewardOne

from purerl.algorithms.ppo import PPOConfig, make_ppo
from purerl.compile.program import build_program
from purerl.networks import make_actor_critic

ROOT = Path(__file__).parents[2]
TINY = (
    "--total-steps=128", "--ppo.num-envs=8", "--ppo.num-steps=8", "--ppo.num-minibatches=2",
    "--ppo.num-epochs=1", "--net.width=8", "--eval-episodes=2",
)  # fmt: skip


def run(run_dir, precise):
    """A short run of PPO on one device in a fresh process."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_ENABLE_X64": "1" if precise else "0"}
    # Fast to compile, as everything in these tests: the two are compared with each other.
    environment["XLA_FLAGS"] = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=1"
    command = [sys.executable, str(ROOT / "experiments" / "ppo.py"), "--run-dir", str(run_dir), *TINY]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)


def test_commands_train_in_float32_to_the_same_figures_and_say_so(tmp_path):
    precise, plain = (run(tmp_path / str(precise), precise) for precise in (True, False))
    assert precise.returncode == plain.returncode == 0, precise.stderr
    assert precise.stderr.count("JAX_ENABLE_X64 is set; PureRL computes in float32") == 1
    assert "Traceback" not in precise.stderr
    assert "JAX_ENABLE_X64" not in plain.stderr
    metrics = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("True", "False")]
    assert metrics[0] == metrics[1]


def test_as_a_library_it_is_refused_before_compilation():
    env = RewardOne()
    config = PPOConfig(num_envs=4, num_steps=4, env_params=env.default_params)
    network = make_actor_critic(env, env.default_params, "mlp")
    with (
        jax.enable_x64(True),
        pytest.raises(ValueError, match="JAX_ENABLE_X64 is set, and PureRL computes in"),
    ):
        build_program(lambda axis: make_ppo(env, network, axis), config, total_steps=64)
