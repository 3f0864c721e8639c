"""Measures of the mazes: `python -m benchmarks.maze`; `--help` lists them all."""

from collections.abc import Callable
from functools import partial
from statistics import median

import jax
import jax.numpy as jnp

from benchmarks.beside import Samples, by_turns, run_peer
from benchmarks.rows import Row, as_array, on_all_devices, rates, seconds_of, take
from envs import random
from envs.maze import Maze, maze_levels
from envs.maze.generate import STYLES, generate
from envs.maze.levels import Layout, training_layouts
from purerl.levels import plain_pool
from purerl.rollout import ActorState, draw_chance, init_actor, step_environments
from purerl.types import LevelPool, PyTree

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
    fresh, same = stepping_rates(fresh=True), stepping_rates(fresh=False)
    return [
        Row.of("stepping, fresh levels every 16 steps", fresh, "steps/s", 0.47e6, 8e6, 20e6, command),
        Row.of("stepping, the same levels", same, "steps/s", 8.0e6, command=command),
    ]


def peers() -> list[Row]:
    """Random play with fresh levels, and in the grids of other libraries, by turns; each in its own task."""
    command = "python -m benchmarks.maze --only peers"
    calls: dict[str, Callable[[], Samples]] = {
        name: partial(run_peer, name, "run_stepping.py", name) for name in ("jaxued", "navix", "xminigrid")
    }
    found = by_turns({"ours": lambda: {"steps_per_second": stepping_rates(fresh=True)}} | calls)
    ours = found.pop("ours")["steps_per_second"]
    return [
        Row.of(
            f"stepping, against {name}", ours, "steps/s", median(samples["steps_per_second"]), command=command
        )
        for name, samples in found.items()
        if samples
    ]


def stepping_rates(fresh: bool) -> list[float]:
    """Steps per second on all devices together."""
    num_envs, num_steps, num_rollouts = 1024, 16, 64
    env = Maze()
    params, levels = as_array(env.default_params), maze_levels(env)
    local = num_envs // jax.local_device_count()

    def draw_pool(key: jax.Array) -> LevelPool:
        states = levels.generate(key, params, jnp.ones(local))
        return plain_pool(jax.vmap(levels.observe, (0, None))(states, params), states)

    def run(keys: jax.Array) -> PyTree:
        pool_key, age_key, run_key = jax.random.split(keys[0], 3)
        pool = draw_pool(pool_key)
        actor = init_actor(params, pool, age_key, local, stagger=True)

        def rollout(actor: ActorState, key: jax.Array) -> tuple[ActorState, jax.Array]:
            fresh_key, act_key, step_key = jax.random.split(key, 3)
            current = draw_pool(fresh_key) if fresh else pool
            # Four actions: the remainder of a random byte is uniform.
            actions = jax.random.bits(act_key, (num_steps, local), jnp.uint8) % env.num_actions
            actions = actions.astype(jnp.int32)

            def step(actor: ActorState, inputs: tuple) -> tuple[ActorState, jax.Array]:
                action, chance = inputs
                actor, result, _ = step_environments(env, params, actor, current, action, chance)
                return actor, result.reward.sum()

            step_keys = jax.random.split(step_key, num_steps)
            chances = jax.vmap(partial(draw_chance, num_envs=local))(step_keys)
            actor, rewards = jax.lax.scan(step, actor, (actions, chances))
            return actor, rewards.sum()

        actor, rewards = jax.lax.scan(rollout, actor, jax.random.split(run_key, num_rollouts))
        return actor.observation, rewards.sum()[None]

    return rates(num_envs * num_steps * num_rollouts, seconds_of(on_all_devices(run), repeats=15))


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
    "peers": peers,
    "generation": generation,
    "styles": styles,
}

if __name__ == "__main__":
    take("maze", MEASURES, str(__doc__))
