"""Measures of replay: `python -m benchmarks.replay`, about a minute.

Each is the time of one step of a compiled loop that stores a step of ten environments and draws a batch, at
two capacities, by turns.
"""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.rows import Row, take
from purerl.replay import Experience, Replay, prioritized, uniform

NUM_ENVS, BATCH, NUM_STEPS = 10, 128, 2000
CAPACITIES = (10_000, 1_000_000)
KINDS: dict[str, Replay] = {
    "uniform": uniform(),
    "n-step": uniform(num_steps=3),
    "events": uniform(event_share=0.25),
    "prioritized": prioritized(),
}


def compiled_loop(replay: Replay, buffer_size: int) -> tuple[Callable[..., Any], Any]:
    """A compiled loop that takes its state over, and a replay that is full."""
    observation = jax.ShapeDtypeStruct((4,), jnp.float32)
    flag = jax.ShapeDtypeStruct((), bool)
    example = Experience(
        observation=observation,
        action=jax.ShapeDtypeStruct((), jnp.int32),
        reward=jax.ShapeDtypeStruct((), jnp.float32),
        terminated=flag,
        truncated=flag,
        next_observation=observation,
    )

    def experience(number):
        return Experience(
            observation=number,
            action=jnp.zeros(NUM_ENVS, jnp.int32),
            reward=jnp.where(number[:, 3] > 0.9, number[:, 0], 0.0),
            terminated=number[:, 1] > 0.99,
            truncated=number[:, 2] > 0.99,
            next_observation=number,
        )

    def step(state, key):
        store_key, draw_key = jax.random.split(key)
        number = jax.random.uniform(store_key, (NUM_ENVS, 4))
        state = replay.add(state, experience(number))
        sample, index, weight = replay.sample(state, draw_key, BATCH, 0.99)
        state = replay.update(state, index, jnp.abs(sample.reward) + 0.1)
        return state, (sample.observation + sample.next_observation).sum() + (sample.reward * weight).sum()

    def run(state, key):
        return jax.lax.scan(step, state, jax.random.split(key, NUM_STEPS))

    def fill():
        steps = experience(jax.random.uniform(jax.random.key(0), (NUM_ENVS, 4)))
        state = replay.init(example, buffer_size, NUM_ENVS)
        return jax.lax.fori_loop(0, buffer_size // NUM_ENVS, lambda _, state: replay.add(state, steps), state)

    return jax.jit(run, donate_argnums=0), jax.jit(fill)()


def scaling() -> list[Row]:
    """Time of a step, and how it grows with the buffer_size."""
    command = "python -m benchmarks.replay --only scaling"
    rows = []
    for name, replay in KINDS.items():
        loops = {buffer_size: compiled_loop(replay, buffer_size) for buffer_size in CAPACITIES}
        seconds: dict[int, list[float]] = {buffer_size: [] for buffer_size in CAPACITIES}
        for number in range(8):
            for buffer_size, (run, state) in loops.items():
                started = time.perf_counter()
                after, _ = jax.block_until_ready(run(state, jax.random.key(number)))
                seconds[buffer_size].append(time.perf_counter() - started)
                loops[buffer_size] = run, after
        small, large = (
            [1e6 * each / NUM_STEPS for each in seconds[buffer_size][1:]] for buffer_size in CAPACITIES
        )
        title = f"{name}, 10^6 rows"
        rows.append(Row.of(title, large, "us", median(small), command=command, lower_is_better=True))
    return rows


MEASURES: dict[str, Callable[[], list[Row]]] = {"scaling": scaling}

if __name__ == "__main__":
    take("replay", MEASURES, str(__doc__))
