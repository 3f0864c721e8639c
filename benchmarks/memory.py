"""Measures of policies with a memory: `python -m benchmarks.memory`; `--help` lists them all.

`--only rate stepping` are the quick ones.
"""

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.rows import ROOT, Row, rates, run_script, seconds_by_turns, seconds_of, stepper, take
from envs.memory import RepeatPrevious
from purerl.compile.program import Program
from purerl.functional.statistics import bootstrap_interval, interquartile_mean
from purerl.networks import MemoryConfig, MemoryName, NetworkConfig, make_memory_actor_critic

sys.path.insert(0, str(ROOT / "experiments"))
import ppo_memory

SCRIPT = "experiments/ppo_memory.py"
NUM_SEEDS = 5
CHUNKS = 12


class Task(NamedTuple):
    """Where history matters.

    Attributes:
        name: in the table.
        options: of the script, for the policies with a memory and without.
        memories: kinds that are compared with none.
        floor: of the policies with a memory, where there is one.
        aim: the same.
    """

    name: str
    options: tuple[str, ...]
    memories: tuple[MemoryName, ...] = ("gru",)
    floor: float | None = None
    aim: float | None = None


# The arena goes on, there is no gaze, each pellet is unseen in four fifths of all steps, 20 at a time.
LASTING_OCCLUSION = (
    "--env Bikkle-v0 --numbers continuing 1 gaze_presence 0 blue_penalty -2 shaping 3 "
    "--wrapper occlusion --history.share 0.8 --history.length 20 --net.initial-std 0.8 "
    "--ppo.value-coefficient 2 --ppo.entropy-coefficient 0.015 --ppo.max-grad-norm 3"
)

TASKS = {
    "repeat_previous": Task("RepeatPrevious", ("--env", "RepeatPrevious")),
    "stateless_cartpole": Task(
        "StatelessCartPole", ("--env", "StatelessCartPole"), ("gru", "transformer"), 0.95, 1.0
    ),
    "memory_chain": Task("MemoryChain", ("--env", "MemoryChain", "--ppo.entropy-coefficient", "0.01")),
    "occlusion": Task("Bikkle with occlusion", ("--env", "Bikkle-v0", "--wrapper", "occlusion")),
    "lasting_occlusion": Task("Bikkle with lasting occlusion", tuple(LASTING_OCCLUSION.split())),
    "maze_patch": Task("Maze patch", ("--env", "MazePatch-v0", "--total-steps", "2e6")),
}


def compare(task: Task) -> list[Row]:
    """Trains with a memory and without: what the seeds reach, and how long each takes."""
    rows: list[Row] = []
    for memory in ("none", *task.memories):
        options = (*task.options, "--memory", memory, "--num-seeds", str(NUM_SEEDS))
        with tempfile.TemporaryDirectory() as room:
            summary, wall = run_script(SCRIPT, Path(room), memory, *options)
        command = f"python {SCRIPT} {' '.join(options)}"
        per_seed = np.array(summary["eval"]["default"]["per_seed"])
        limits = (None, None) if memory == "none" else (task.floor, task.aim)
        baseline = None if memory == "none" else rows[0].value
        name = f"{task.name}, memory {memory}, interquartile mean of {NUM_SEEDS} seeds"
        value, interval = float(interquartile_mean(per_seed)), bootstrap_interval(per_seed)
        rows += [
            Row(name, value, "return", baseline, *limits, command, interval=interval),
            Row(
                f"{task.name}, memory {memory}, wall time of a seed",
                wall / NUM_SEEDS,
                "s",
                floor=240.0,
                command=command,
                lower_is_better=True,
            ),
        ]
    return rows


def program_of(memory: MemoryName) -> Program:
    """The default command of the script: RepeatPrevious, width 64, 64 environments, rollouts of 64 steps."""
    experiment = ppo_memory.build(ppo_memory.Config(memory=memory))
    steps_per_update = experiment.algorithm.steps_per_update(experiment.algorithm_config)
    return experiment.build_program(
        seed=0,
        num_seeds=1,
        total_steps=CHUNKS * 2 * steps_per_update,
        num_devices=experiment.num_devices,
        target_chunks=CHUNKS,
    )


def rate() -> list[Row]:
    """Training steps per second of each memory against those of the GRU, chunks by turns in one process."""
    command = "python -m benchmarks.memory --only rate"
    programs = {memory: program_of(memory) for memory in ("gru", "lstm", "lru", "transformer")}
    seconds = seconds_by_turns({memory: stepper(program) for memory, program in programs.items()}, CHUNKS - 1)
    found = {memory: rates(programs[memory].steps_per_chunk, each) for memory, each in seconds.items()}
    gru = median(found["gru"])
    limits = {"transformer": (0.35 * gru, 0.7 * gru)}
    return [
        Row.of(
            f"training, memory {memory} of width 64, against gru",
            value,
            "steps/s",
            None if memory == "gru" else gru,
            *limits.get(memory, (None, None)),
            command,
        )
        for memory, value in found.items()
    ]


def stepping() -> list[Row]:
    """Time of a step of 64 environments by the gated transformer, over the length of its memory."""
    command = "python -m benchmarks.memory --only stepping"
    env, num_envs, num_steps = RepeatPrevious(), 64, 256
    found = {}
    for length in (32, 64, 128):
        network = make_memory_actor_critic(
            env,
            env.default_params,
            "mlp",
            NetworkConfig(width=64, num_layers=1),
            "transformer",
            MemoryConfig(width=64, num_layers=2, length=length),
        )
        observation = jnp.zeros((num_envs, *env.observation_space(env.default_params).shape))
        is_first = jnp.zeros(num_envs, bool)
        carry = network.initial_carry(num_envs)
        inputs = (observation, is_first)
        params = network.init(jax.random.key(0), carry, *inputs, method="step")

        @jax.jit
        def run(carry, network=network, params=params, inputs=inputs):
            def step(carry, _):
                carry, _, value = network.apply(params, carry, *inputs, method="step")
                return carry, value.sum()

            return jax.lax.scan(step, carry, None, length=num_steps)

        seconds = seconds_of(partial(run, carry), repeats=9)
        found[length] = [1e6 * each / num_steps for each in seconds]
    baseline = median(found[32])
    return [
        Row.of(
            f"stepping, gated transformer, memory {length}",
            value,
            "us",
            None if length == 32 else baseline,
            floor=baseline * length / 32,
            command=command,
            lower_is_better=True,
        )
        for length, value in found.items()
    ]


MEASURES: dict[str, Callable[[], list[Row]]] = {
    "rate": rate,
    "stepping": stepping,
    **{name: partial(compare, task) for name, task in TASKS.items()},
}


if __name__ == "__main__":
    take("memory", MEASURES, str(__doc__))
