"""What XLA is told, by the release of jaxlib and the kind of device; and what must not reach its compiler."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec
from probes import ActionFollowsCue

import purerl
from purerl.algorithms.ppo import PPOConfig, make_ppo
from purerl.compile import platforms, xla
from purerl.compile.program import build_program, training_options
from purerl.compile.sharding import over_devices, trace
from purerl.functional.metrics import pack
from purerl.networks import NetworkConfig, make_actor_critic

ENV = ActionFollowsCue(num_actions=2)
NETWORK = make_actor_critic(ENV, ENV.default_params, "mlp", NetworkConfig(width=4, head_width=0))
LOWER = {"xla_backend_optimization_level": 1}
NO_TASKS = {"xla_disable_hlo_passes": "cpu-parallel-task-assigner"}


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch):
    """Nothing but what the user is made to set in a test."""
    monkeypatch.delenv("XLA_FLAGS")


def test_training_is_compiled_at_a_lower_level_where_that_is_as_fast_and_without_tasks_on_busy_cores():
    assert xla.training_options(lower_level=True, every_core_busy=False) == LOWER
    assert xla.training_options(lower_level=True, every_core_busy=True) == LOWER | NO_TASKS
    assert xla.training_options(lower_level=False, every_core_busy=True) == NO_TASKS
    with platforms.tracing_for("cuda"):
        assert training_options(make_ppo(ENV, NETWORK), None) == {}


def test_options_that_the_user_has_set_are_left_alone(monkeypatch):
    before = set(xla.run_once_options())
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")
    assert xla.training_options(lower_level=True, every_core_busy=True) == NO_TASKS
    assert set(xla.run_once_options()) == before - {"xla_backend_optimization_level"}


@pytest.mark.parametrize(("jaxlib", "kept"), [("0.10.2", True), ("0.11.2", False)])
def test_an_option_is_told_to_those_releases_alone_that_know_it(monkeypatch, jaxlib, kept):
    monkeypatch.setattr(xla, "version", lambda name: jaxlib)
    assert ("xla_cpu_use_fusion_emitters" in xla.run_once_options()) == kept
    assert xla.run_once_options()["xla_backend_optimization_level"] == 0


def test_a_release_that_nobody_tried_gets_plain_xla_and_one_line(monkeypatch):
    assert xla.untried() is None
    monkeypatch.setattr(xla, "version", lambda name: "0.12.0.dev20270101")
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=x")
    purerl.compile.runtime.configure()
    assert os.environ["XLA_FLAGS"] == "--xla_dump_to=x"
    assert xla.training_options(lower_level=True, every_core_busy=True) == {}
    assert xla.run_once_options() == {}
    line = xla.untried()
    assert "0.12.0" in line
    assert "plain XLA" in line
    assert "\n" not in line


def test_every_flag_and_option_is_known_to_the_installed_jaxlib():
    # In a process of its own, which XLA ends at an unknown flag.
    script = (
        "import jax, jax.numpy as jnp; from purerl.compile import xla\n"
        "add = jax.jit(lambda x: x + 1).lower(jnp.ones(2))\n"
        "for options in (xla.training_options(True, True), xla.run_once_options()):\n"
        "    assert options and (add.compile(options)(jnp.ones(2)) == 2).all()\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


def two_devices():
    if len(jax.local_devices()) < 2:
        pytest.skip("one device only")
    return Mesh(np.array(jax.local_devices()[:2]), ("devices",))


def operands(jaxpr):
    return [v.aval.shape for eqn in jaxpr.eqns if eqn.primitive.name == "shard_map" for v in eqn.invars]


def test_arguments_without_elements_stay_outside_of_mapped_programs():
    split, shared = PartitionSpec("devices"), PartitionSpec()

    def add(tree, number):
        assert tree["nothing"].shape == (2, 0)  # half of the four rows
        return {"sum": tree["x"] + number + tree["nothing"].sum(1), "nothing": tree["nothing"], "none": None}

    mapped = over_devices(add, two_devices(), (split, shared), split)
    tree = {"x": jnp.arange(4.0), "nothing": jnp.zeros((4, 0)), "none": None}
    traced = trace(mapped, tree, jnp.float32(1))
    assert operands(traced.jaxpr) == [(4,), ()]
    found = traced.lower().compile()(tree, jnp.float32(1))
    np.testing.assert_array_equal(found["sum"], [1, 2, 3, 4])
    assert found["nothing"].shape == (4, 0)


def test_a_mapped_program_that_closes_over_an_array_without_elements_is_refused():
    nothing = jnp.zeros(0)
    mapped = over_devices(
        lambda x: x + nothing.sum(), two_devices(), PartitionSpec("devices"), PartitionSpec("devices")
    )
    with pytest.raises(ValueError, match="without elements"):
        trace(mapped, jnp.ones(2))


def test_no_metrics_are_no_array():
    some = pack({"one": purerl.functional.metrics.as_mean(jnp.ones(3))})
    assert some | {} is some


def test_training_on_two_devices_hands_no_empty_array_to_xla():
    two_devices()
    config = PPOConfig(num_envs=16, num_steps=2, num_minibatches=1, env_params=ENV.default_params)
    program = build_program(lambda axis: make_ppo(ENV, NETWORK, axis), config, total_steps=32, num_devices=2)
    assert program.num_devices == 2
