"""Programs for several devices that are cores: without operations that wait for XLA's threads."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import ActionFollowsCue

from purerl.algorithms.ppo import PPOConfig, make_ppo
from purerl.compile import placement, platforms
from purerl.compile.program import build_program
from purerl.compile.waiting import LINEAR_ALGEBRA, safe, waiting_operations
from purerl.networks import NetworkConfig, make_actor_critic
from purerl.rollout.evaluate import evaluate

TESTS = Path(__file__).parents[1]


class Solving(ActionFollowsCue):
    """Its reward needs the solution of two equations, as dynamics of linked bodies do."""

    def reward(self, state, action):
        matrix = jnp.array([[4.0, state.cue], [state.cue, 4.0]])
        return super().reward(state, action) + jnp.linalg.solve(matrix, jnp.ones(2)).sum()


def test_operations_are_found_within_loops_branches_and_calls():
    def inner(x):
        return jnp.linalg.cholesky(x) @ jnp.linalg.inv(x)

    def program(x):
        looped = jax.lax.scan(lambda x, _: (jax.vmap(jax.jit(inner))(x), None), x, None, length=2)[0]
        return jax.lax.cond(x.sum() > 0, lambda x: jnp.linalg.eigh(x)[1], lambda x: x, looped)

    found = waiting_operations(jax.make_jaxpr(program)(jnp.eye(3)[None]))
    assert found == ["cholesky", "eigh", "lu", "triangular_solve"]
    assert waiting_operations(jax.make_jaxpr(lambda x: jnp.sort(x @ x))(jnp.eye(3))) == []


def test_every_routine_of_jax_that_runs_in_lapack_is_known():
    from jax._src.lax import linalg  # noqa: PLC0415  where they are defined

    names = {getattr(linalg, name).name for name in dir(linalg) if name.endswith("_p")}
    assert names - {"lu_pivots_to_permutation"} <= LINEAR_ALGEBRA  # the one is a loop of XLA's own


def test_linear_algebra_is_safe_on_one_core_or_on_gpus():
    jaxpr = jax.make_jaxpr(jnp.linalg.inv)(jnp.eye(3))
    device = jax.devices()[0]
    assert safe([device], jaxpr) and not safe([device, device], jaxpr)
    with platforms.tracing_for("cuda"):
        assert safe([device, device], jaxpr)


def main():
    """In a process of its own, with two devices: training and evaluation of what solves equations."""
    env = Solving(num_actions=2)
    network = make_actor_critic(env, env.default_params, "mlp", NetworkConfig(width=8, head_width=0))
    config = PPOConfig(
        num_envs=16, num_steps=8, num_minibatches=2, microbatch_size=0, env_params=env.default_params
    )
    program = build_program(
        partial(make_ppo, env, network), config, num_seeds=2, total_steps=512, num_devices=2
    )
    assert program.num_devices == 1 and len(jax.devices()) == 2
    state, _ = program.chunk(program.init())
    # Two parts side by side on the one device, as they would have been on two.
    assert (
        state.actor.env_state.cue.reshape(2, 2, 8)[:, 0] != state.actor.env_state.cue.reshape(2, 2, 8)[:, 1]
    ).any()
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], env.default_params)
    policy = lambda learner, observations, key: jnp.zeros(observations.shape[0], jnp.int32)  # noqa: E731
    found = evaluate(env, params, policy, {"nothing": np.zeros(2)}, jax.random.key(0), 64, 8, block=16)
    assert found.episode_return.shape == (2, 1, 64)
    print("ended")


def test_an_environment_that_solves_equations_trains_on_one_device_and_ends():
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "PYTHONPATH": os.pathsep.join(map(str, [TESTS.parent, TESTS, TESTS / "compile"])),
    }
    command = [sys.executable, "-c", "import test_waiting; test_waiting.main()"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.endswith("ended\n")


def test_programs_run_on_as_many_devices_as_were_chosen():
    if len(jax.devices()) < 2:
        pytest.skip("one device only")
    placement.use(1)
    assert placement.devices() == placement.local_devices() == jax.devices()[:1]
    assert placement.arrange("environments", 2, 1).mesh.size == 1
    assert placement.arrange("environments", 2, 1).num_parts == 2  # what is drawn is the same
    assert not placement.must_loop("seeds")
    placement.use(0)
    assert placement.devices() == jax.devices()
