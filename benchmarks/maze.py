"""Measures of the mazes: `python -m benchmarks.maze`; `--help` lists them all."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from benchmarks.rows import Row, as_array, on_all_devices, rates, seconds_of, take
from benchmarks.stepping import maze_pool, play_rates
from envs import random
from envs.maze import Maze
from envs.maze.generate import STYLES, generate
from envs.maze.levels import Layout, training_layouts
from purerl.types import PyTree

BATCH, NUM_BATCHES = 4096, 8
ORIGINAL = {9: 103e3, 15: 31e3}
"""Mazes per second of the original, by size."""


def generation() -> list[Row]:
    """Perfect mazes in batches of 4,096 over all devices: walls alone, and whole levels for training."""
    command = "python -m benchmarks.maze --only generation"
    rows = []
    for size, baseline in ORIGINAL.items():
        name = f"generation, {size} x {size}"
        rate = mazes_per_second(walls_alone("dfs", size))
        rows.append(Row.of(name, rate, "mazes/s", baseline, 3 * baseline, 8 * baseline, command))
        rate = mazes_per_second(whole_levels(size))
        rows.append(Row.of(f"{name}, with goal, start and distances", rate, "mazes/s", command=command))
    return rows


def styles() -> list[Row]:
    """Generation in every style, at 9 x 9, with half of the walls that a perfect maze has."""
    command = "python -m benchmarks.maze --only styles"
    found = {style: mazes_per_second(walls_alone(style, 9, difficulty=0.5)) for style in STYLES}
    return [
        Row.of(f"generation, 9 x 9, {style}, difficulty 0.5", rate, "mazes/s", command=command)
        for style, rate in found.items()
    ]


def stepping() -> list[Row]:
    """1,024 mazes of 9 x 9, grid observed, random actions, resets from a pool of as many levels.

    Once with fresh levels every 16 steps, which is more of them than episodes that begin; once without.
    """
    command = "python -m benchmarks.maze --only stepping"
    env = Maze()
    play = partial(play_rates, env, as_array(env.default_params), maze_pool(env))
    fresh, same = play(fresh=True), play(fresh=False)
    return [
        Row.of("stepping, fresh levels every 16 steps", fresh, "steps/s", 0.47e6, 8e6, 20e6, command),
        Row.of("stepping, the same levels", same, "steps/s", 8.0e6, command=command),
    ]


def mazes_per_second(draw: Callable[[jax.Array, int], PyTree]) -> list[float]:
    """Rates of `(key, count) -> arrays of that many mazes`, on all devices together."""
    local = BATCH // jax.local_device_count()

    def run(keys: jax.Array) -> PyTree:
        split = jax.random.split(keys[0], NUM_BATCHES)
        return jax.lax.scan(lambda _, key: (None, draw(key, local)), None, split)[1]

    return rates(BATCH * NUM_BATCHES, seconds_of(on_all_devices(run), repeats=15))


def walls_alone(style: str, size: int, difficulty: float = 1.0) -> Callable[[jax.Array, int], jax.Array]:
    """Draws walls, uint32 [N, W, count]."""

    def draw(key: jax.Array, count: int) -> jax.Array:
        seeds = random.words(random.key_words(key), 2 * count).reshape(2, count)
        return generate(style, size, seeds, jnp.full(count, difficulty))

    return draw


def whole_levels(size: int) -> Callable[[jax.Array, int], Layout]:
    """Draws levels none of which is held out."""

    def draw(key: jax.Array, count: int) -> Layout:
        return training_layouts(key, size, "dfs", jnp.ones(count), jnp.ones(count))

    return draw


MEASURES: dict[str, Callable[[], list[Row]]] = {
    "stepping": stepping,
    "generation": generation,
    "styles": styles,
}

if __name__ == "__main__":
    take("maze", MEASURES, str(__doc__))
