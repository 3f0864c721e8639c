"""Compiled programs: the same draws however they are cut, mapped and sharded."""

import os
import subprocess
import sys
from functools import partial
from unittest import mock

import jax
import numpy as np
import pytest
from probes import ActionFollowsCue, ContinuousTarget

import purerl
from envs.bikkle import Bikkle
from envs.maze import Maze
from purerl.algorithms.dqn import make_dqn
from purerl.algorithms.grpo import GRPOConfig, make_grpo
from purerl.algorithms.ppo import PPOConfig, make_ppo
from purerl.algorithms.pqn import make_pqn
from purerl.algorithms.sac import make_sac
from purerl.compile.program import build_program, usable_devices
from purerl.networks import (
    NetworkConfig,
    make_actor_critic,
    make_memory_actor_critic,
    make_q_network,
)
from purerl.networks.soft_actor_critic import make_soft_actor_critic

ENV = ActionFollowsCue(num_actions=2)
NETWORK = make_actor_critic(ENV, ENV.default_params, "mlp", NetworkConfig(width=16, head_width=0))
CONFIG = PPOConfig(
    num_envs=16, num_steps=8, num_minibatches=4, microbatch_size=0, env_params=ENV.default_params
)


def run(**options):
    settings = {"seed": 0, "num_seeds": 1, "total_steps": 128 * 12, "target_chunks": 4} | options
    program = build_program(partial(make_ppo, ENV, NETWORK), CONFIG, **settings)
    state = program.init()
    for _ in range(program.num_chunks):
        state, metrics = program.chunk(state)
    return program, jax.device_get(state.replace(key=jax.random.key_data(state.key))), metrics


def test_a_run_is_rounded_up_to_whole_chunks():
    # 1,500 steps are 12 updates of 128; 5 chunks of 3 updates are the first that hold them: 15 updates.
    program, state, _ = run(total_steps=1500, target_chunks=5)
    assert program.steps_per_chunk == 3 * 128
    assert program.num_chunks == 4
    assert state.num_updates == 12


def test_looping_over_seeds_and_mapping_over_them_draw_the_same():
    _, looped, _ = run(num_seeds=3, width=1)
    _, mapped, _ = run(num_seeds=3, width=3)
    np.testing.assert_array_equal(looped.key, mapped.key)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-4), looped.learner.params, mapped.learner.params)


def test_seeds_dealt_to_cores_are_not_mapped_because_that_would_never_end():
    if len(jax.local_devices()) < 2:
        pytest.skip("one device only")
    with pytest.raises(ValueError, match=r"width = 2 .* use width = 1"):
        run(num_seeds=4, width=2, shard="seeds")


def test_sharded_environments_learn_as_one():
    if len(jax.local_devices()) < 2:
        pytest.skip("one device only")
    _, state, metrics = run(num_devices=2, num_seeds=2)
    assert metrics["episode_return"].weight.shape == (2,)
    assert (metrics["episode_return"].weight == 3 * 128).all()  # all episodes of both shards: one a step
    assert state.actor.observation.shape == (2, 16, 2)
    shards = state.actor.env_state.cue.reshape(2, 2, 8)
    assert (shards[:, 0] != shards[:, 1]).any()
    one = jax.devices()[:1]
    with mock.patch("jax.devices", lambda: one):
        program, parts, _ = run(num_devices=2, num_seeds=2)
    assert program.num_devices == 1
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), parts, state)


def test_the_lower_level_is_for_vectors_without_memory():
    # And not for SAC, where it rounds seeds in a loop otherwise than one alone.
    def of(make, env, network, encoder="mlp"):
        return make(env, network(env, env.default_params, encoder)).lower_level

    assert of(make_ppo, ENV, make_actor_critic)
    assert of(make_pqn, ENV, make_q_network)
    assert of(make_dqn, ENV, make_q_network)
    assert not of(make_ppo, Bikkle(4), make_actor_critic, "attention")
    assert not of(make_ppo, ENV, make_memory_actor_critic)
    assert not of(make_pqn, Maze(), make_q_network, "cnn")
    assert not of(make_dqn, Maze(), make_q_network, "cnn")
    assert not of(make_sac, ContinuousTarget(), make_soft_actor_critic)


def test_devices_are_used_where_sizes_divide_and_each_has_enough_to_do():
    with mock.patch("jax.devices", lambda: [None] * 4):
        network = make_actor_critic(ENV, ENV.default_params, "mlp")
        ppo, grpo = make_ppo(ENV, network), make_grpo(ENV, network)
        count = lambda num_envs: usable_devices(ppo, PPOConfig(num_envs=num_envs, num_minibatches=4))  # noqa: E731
        assert [count(number) for number in (32, 16, 15, 37, 4)] == [4, 2, 1, 1, 1]
        assert usable_devices(grpo, GRPOConfig(num_envs=128, group_size=64)) == 2


def test_a_vmapped_scan_does_not_hang_on_a_fresh_process():
    # With XLA's default scheduler this hangs on small machines after compiling; importing purerl is enough
    # to avoid it, and flags that the user has set are kept.
    script = (
        "import purerl, os, jax, jax.numpy as jnp, vmapped_scan as probe; probe.main();"
        "assert 'xla_cpu_enable_fast_math=false' in os.environ['XLA_FLAGS']"
    )
    environment = os.environ | {
        "XLA_FLAGS": "--xla_cpu_enable_fast_math=false --xla_backend_optimization_level=0",
        "PYTHONPATH": os.path.dirname(os.path.dirname(__file__)),
    }
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=120)


def test_flags_that_the_user_has_set_are_kept(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=3")
    purerl.compile.runtime.configure()
    flags = os.environ["XLA_FLAGS"].split()
    assert flags.count("--xla_force_host_platform_device_count=3") == 1
    assert sum("device_count" in flag for flag in flags) == 1
    assert "--xla_cpu_enable_concurrency_optimized_scheduler=false" in flags
    options = "xla_cpu_disable_tiled_emitter,-unroll-threshold-default=300"
    assert f"--xla_backend_extra_options={options}" in flags
