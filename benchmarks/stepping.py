"""Random play, and beside it that of other libraries: `python -m benchmarks.stepping`.

Each measure wants, first, the environments of its peers: `sh benchmarks/peers/make.sh gymnax`, and so on.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.beside import Samples, against, by_turns, run_peer
from benchmarks.rows import Row, as_array, on_all_devices, rates, seconds_of, take
from envs.maze import Maze, maze_levels
from purerl.rollout.levels import make_pool, plain_pool
from purerl.rollout.unroll import ActorState, draw_chance, init_actor, step_environments
from purerl.types import LevelPool, PyTree

NUM_ENVS, NUM_STEPS, NUM_ROLLOUTS = 1024, 16, 64
RECORDED = {"gymnax": 12.2e6, "jaxued": 0.47e6, "navix": 6.5e6, "xminigrid": 2.7e6}
"""Steps per second of the peers on two cores of an AMD EPYC."""

DrawPool = Callable[[jax.Array, int], LevelPool]
"""`(key, number of environments) -> pool`."""


def mazes() -> list[Row]:
    """Mazes of 9 x 9 with fresh levels every 16 steps, and the grids of jaxued, navix and xminigrid."""
    env = Maze()
    ours = partial(play_rates, env, as_array(env.default_params), maze_pool(env))
    return against_each("mazes", ours, "jaxued", "navix", "xminigrid")


def cartpole() -> list[Row]:
    """gymnax's CartPole with resets from a pool, and with gymnax's own, drawn in each step."""
    import gymnax  # noqa: PLC0415  slow, and wanted only here

    env, params = gymnax.make("CartPole-v1")
    ours = partial(play_rates, env, as_array(params), partial(make_pool, env, as_array(params)))
    return against_each("cartpole", ours, "gymnax")


def against_each(measure: str, ours: Callable[[], list[float]], *libraries: str) -> list[Row]:
    """A row for each library, which all take turns with ours."""
    calls: dict[str, Callable[[], Samples]] = {"ours": lambda: {"steps_per_second": ours()}}
    calls |= {name: partial(run_peer, name, "run_stepping.py", name) for name in libraries}
    rate = {name: each.get("steps_per_second", []) for name, each in by_turns(calls).items()}
    command = f"python -m benchmarks.stepping --only {measure}"
    return [
        against(f"{measure}, against {name}", rate["ours"], rate[name], RECORDED[name], (1.1, 1.5), command)
        for name in libraries
    ]


def maze_pool(env: Maze) -> DrawPool:
    """Fresh levels of full difficulty, made all at once."""
    params, levels = as_array(env.default_params), maze_levels(env)

    def draw(key: jax.Array, count: int) -> LevelPool:
        states = levels.generate(key, params, jnp.ones(count))
        return plain_pool(jax.vmap(levels.observe, (0, None))(states, params), states)

    return draw


def play_rates(env: Any, params: PyTree, draw_pool: DrawPool, fresh: bool = True) -> list[float]:
    """Steps per second of random play in 1,024 environments, on all devices together.

    Args:
        env: an environment of the gymnax contract.
        params: its parameters.
        draw_pool: draws as many levels as there are environments.
        fresh: whether it does so every 16 steps, which is more often than episodes begin, or once.
    """
    local = NUM_ENVS // jax.local_device_count()

    def run(keys: jax.Array) -> PyTree:
        pool_key, age_key, run_key = jax.random.split(keys[0], 3)
        pool = draw_pool(pool_key, local)
        actor = init_actor(params, pool, age_key, local, stagger=True)

        def rollout(actor: ActorState, key: jax.Array) -> tuple[ActorState, jax.Array]:
            fresh_key, act_key, step_key = jax.random.split(key, 3)
            current = draw_pool(fresh_key, local) if fresh else pool
            actions = draw_actions(act_key, env.num_actions, (NUM_STEPS, local))
            chances = draw_chance(step_key, NUM_STEPS, local)

            def step(actor: ActorState, inputs: tuple) -> tuple[ActorState, jax.Array]:
                action, chance = inputs
                actor, result, _ = step_environments(env, params, actor, current, action, chance)
                return actor, result.reward.sum()

            actor, rewards = jax.lax.scan(step, actor, (actions, chances))
            return actor, rewards.sum()

        actor, rewards = jax.lax.scan(rollout, actor, jax.random.split(run_key, NUM_ROLLOUTS))
        return actor.observation, rewards.sum()[None]

    return rates(NUM_ENVS * NUM_STEPS * NUM_ROLLOUTS, seconds_of(on_all_devices(run), repeats=15))


def draw_actions(key: jax.Array, num_actions: int, shape: tuple[int, ...]) -> jax.Array:
    """Uniformly random actions, by a byte each; their number has to divide 256."""
    return (jax.random.bits(key, shape, jnp.uint8) % num_actions).astype(jnp.int32)


MEASURES = {"mazes": mazes, "cartpole": cartpole}

if __name__ == "__main__":
    take("stepping", MEASURES, str(__doc__))
