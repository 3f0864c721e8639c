"""How fast this machine is: a matrix product, a small training, and what the default command would take."""

import statistics
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from purerl import spaces
from purerl.algorithms.ppo import PPOConfig, make_ppo
from purerl.compile.program import build_program, usable_devices
from purerl.networks import NetworkConfig, make_actor_critic

DEFAULT_SECONDS, AT_GFLOPS = 122.0, 267.0
"""Wall time of `experiments/ppo_bikkle.py` on two cores, and the rate of a matrix product on one of them
(docs/benchmarks.md)."""


def matmul_gflops(size: int = 2048, repeats: int = 5) -> float:
    """Median rate of a float32 matrix product on one device, in GFLOP/s."""
    product = jax.jit(lambda a: a @ a)
    a = jax.random.normal(jax.random.key(0), (size, size))
    product(a).block_until_ready()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        product(a).block_until_ready()
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / statistics.median(seconds) / 1e9


def default_seconds(gflops: float) -> float:
    """What the default command takes on two cores of such a rate, alone and without the installation."""
    return DEFAULT_SECONDS * AT_GFLOPS / gflops


@struct.dataclass
class _Params:
    max_steps_in_episode: int = 8


@struct.dataclass
class _State:
    cue: jax.Array
    time: jax.Array


@dataclass(frozen=True)
class _Cues:
    """Two actions, of which a cue names the right one, eight times an episode."""

    name = "cues"
    default_params = _Params()

    def reset_env(self, key: jax.Array, params: _Params) -> tuple[jax.Array, _State]:
        state = _State(cue=jax.random.bernoulli(key), time=jnp.int32(0))
        return self._observe(state), state

    def step_env(self, key: jax.Array, state: _State, action: jax.Array, params: _Params) -> Any:
        reward = jnp.where((action == 1) == state.cue, 1.0, -1.0)
        state = _State(cue=jax.random.bernoulli(key), time=state.time + 1)
        return self._observe(state), state, reward, state.time >= params.max_steps_in_episode, {}

    def is_truncated(self, state: _State, params: _Params) -> jax.Array:
        return jnp.zeros((), bool)

    def _observe(self, state: _State) -> jax.Array:
        return jnp.stack([state.cue.astype(jnp.float32), 1.0])

    def observation_space(self, params: _Params) -> spaces.Box:
        return spaces.Box(0.0, 1.0, (2,))

    def action_space(self, params: _Params) -> spaces.Discrete:
        return spaces.Discrete(2)


def small_training() -> tuple[float, float]:
    """A PPO of a few seconds on all devices: environment steps per second, and seconds of compilation.

    Raises:
        RuntimeError: it does not learn what the cue says, so something computes wrongly here.
    """
    env = _Cues()
    config = PPOConfig(
        num_envs=64,
        num_steps=32,
        num_epochs=2,
        num_minibatches=4,
        learning_rate=3e-3,
        env_params=env.default_params,
    )
    network = make_actor_critic(env, env.default_params, "mlp", NetworkConfig(width=32, head_width=0))
    program = build_program(
        partial(make_ppo, env, network),
        config,
        total_steps=40 * 2048,
        num_devices=usable_devices(make_ppo(env, network), config),
        target_chunks=4,
    )
    state, metrics = program.chunk(program.init())
    jax.block_until_ready(metrics)
    started = time.perf_counter()
    for _ in range(program.num_chunks - 1):
        state, metrics = program.chunk(state)
    jax.block_until_ready(metrics)
    seconds = time.perf_counter() - started
    episodes = metrics["episode_return"]
    learned = float(episodes.total.sum() / episodes.weight.sum())
    if not learned > 6.0:  # of 8; chance is 0
        raise RuntimeError(f"a small training reached a return of {learned:.2f}, of 8")
    return program.steps_per_chunk * (program.num_chunks - 1) / seconds, program.compile_seconds
