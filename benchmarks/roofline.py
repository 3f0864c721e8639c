"""Training against the ceilings of the machine: `python -m benchmarks.roofline`, about three minutes.

A chunk of training, a float32 matrix product and a copy take turns on the same devices. Operations and bytes
of an update are counted from its jaxpr (`benchmarks/operations.py`), not measured: what the compiler saves,
moves twice or leaves in a cache is not in them. So a share of the copy's rate may exceed 100 % where data
stay in the cache; low shares of both ceilings mean that time goes elsewhere, such as into small kernels.
"""

import sys
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from benchmarks.operations import Cost, count
from benchmarks.rows import ROOT, Measure, Row, on_all_devices, rates, seconds_by_turns, stepper, take
from purerl.compile.program import Program
from purerl.run.experiment import Experiment

sys.path.insert(0, str(ROOT / "experiments"))
import dqn
import ppo_bikkle
import ppo_maze
import ppo_memory
import sac

CHUNKS, ROUNDS = 40, 9
"""Chunks of a whole run, and how many of them are timed."""


class Case(NamedTuple):
    """A main program: the experiment, and environment steps of the run that chunks are cut from."""

    name: str
    build: Callable[[], Experiment]
    total_steps: int


CASES = {
    "ppo_bikkle": Case("PPO on Bikkle", lambda: ppo_bikkle.build(ppo_bikkle.Config()), 4_000_000),
    "ppo_maze": Case("PPO on mazes", lambda: ppo_maze.build(ppo_maze.Config()), 4_000_000),
    "ppo_gru": Case("PPO with a GRU", lambda: ppo_memory.build(ppo_memory.Config()), 1_000_000),
    "ppo_transformer": Case(
        "PPO with a gated transformer",
        lambda: ppo_memory.build(ppo_memory.Config(memory="transformer")),
        1_000_000,
    ),
    "dqn_cartpole": Case("DQN on CartPole", lambda: dqn.build(dqn.Config()), 1_000_000),
    "sac_pendulum": Case("SAC on Pendulum", lambda: sac.build(sac.Config()), 40_000),
}


def matrix_product() -> tuple[Callable[[], Any], float]:
    """Products of 2048^3 on all devices at once, and their operations."""
    size, turns = 2048, 2

    def run(keys: jax.Array) -> jax.Array:
        first = jax.random.normal(keys[0], (size, size)) / size**0.5
        return jax.lax.fori_loop(0, turns, lambda _, a: a @ first, first)[None]

    return on_all_devices(run), 2.0 * size**3 * turns * jax.local_device_count()


def memory_copy() -> tuple[Callable[[], Any], float]:
    """Copies of 256 MB on all devices at once, and the bytes that they read and write."""
    count, turns = 2**26, 4

    def run(keys: jax.Array) -> jax.Array:
        numbers = jnp.full(count, keys.shape[0], jnp.float32)
        return jax.lax.fori_loop(0, turns, lambda _, a: jax.lax.optimization_barrier(-a), numbers)[None]

    return on_all_devices(run), (2.0 * turns + 1.0) * 4 * count * jax.local_device_count()


def cost_of_update(experiment: Experiment, config: Any) -> Cost:
    """Operations and bytes of an update of one seed, on however many devices."""
    algorithm = experiment.algorithm
    state = jax.eval_shape(lambda: algorithm.init(jax.random.key(0), config))
    return count(lambda state: algorithm.update(state, config), state)


def program_of(case: Case) -> tuple[Program, Cost]:
    """The program, and what a chunk of it costs."""
    experiment = case.build()
    program = experiment.build_program(
        seed=0,
        num_seeds=1,
        total_steps=case.total_steps,
        num_devices=experiment.num_devices,
        target_chunks=CHUNKS,
    )
    config = experiment.algorithm_config
    updates = program.steps_per_chunk / experiment.algorithm.steps_per_update(config)
    return program, Cost().plus(cost_of_update(experiment, config), updates)


def share(case: Case, name: str) -> list[Row]:
    """Operations and bytes per second of a main program, as shares of a matrix product's and a copy's."""
    command = f"python -m benchmarks.roofline --only {name}"
    program, cost = program_of(case)
    train = stepper(program)
    train()  # replays fill first
    product, operations = matrix_product()
    copy, size = memory_copy()
    seconds = seconds_by_turns({"train": train, "product": product, "copy": copy}, ROUNDS)
    peak = median(rates(operations / 1e9, seconds["product"]))
    bandwidth = median(rates(size / 1e9, seconds["copy"]))
    flops = rates((cost.products + cost.others) / 1e9, seconds["train"])
    moved = rates(cost.bytes / 1e9, seconds["train"])
    percent = partial(Row.of, unit="%", command=command)
    return [
        Row.of(
            f"{case.name}, training",
            rates(program.steps_per_chunk, seconds["train"]),
            "steps/s",
            command=command,
        ),
        Row.of(f"{case.name}, operations", flops, "GFLOP/s", peak, command=command),
        Row.of(f"{case.name}, bytes", moved, "GB/s", bandwidth, command=command),
        percent(f"{case.name}, share of the matrix product", [100 * each / peak for each in flops]),
        percent(f"{case.name}, share of the copy", [100 * each / bandwidth for each in moved]),
        Row(
            f"{case.name}, share of operations in matrix products",
            100 * cost.products / (cost.products + cost.others),
            "%",
            command=command,
        ),
    ]


MEASURES: dict[str, Measure] = {name: partial(share, case, name) for name, case in CASES.items()}

if __name__ == "__main__":
    take("roofline", MEASURES, str(__doc__))
