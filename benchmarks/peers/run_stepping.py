"""Random play in an environment of another library, with resets, where that library is; prints JSON, a line.

python run_stepping.py navix --num-envs 1024 --num-steps 512
"""

# ruff: noqa: PLC0415  each library is alone in its environment

import argparse
import json
import time
from collections.abc import Callable

import jax

Play = tuple[Callable, Callable, int]
"""`reset(key) -> state`, `step(key, state, action) -> state`, number of actions; of one environment."""


def gymnax() -> Play:
    """CartPole; a state to reset to is drawn at every step."""
    import gymnax

    env, params = gymnax.make("CartPole-v1")

    def step(key, state, action):
        observation, state, reward, *_ = env.step(key, state, action, params)
        return state, (observation.sum(), reward)

    return (lambda key: env.reset(key, params)[1]), step, env.action_space(params).n


def jaxued() -> Play:
    """Mazes of 13 x 13, first person; each reset is to a random level, made at every step."""
    jax.tree_map = jax.tree.map  # jaxued 0.0.1 is older than its removal
    from jaxued.environments import Maze
    from jaxued.environments.maze import make_level_generator
    from jaxued.wrappers import AutoResetWrapper

    sample_level = make_level_generator(13, 13, 25)
    env = AutoResetWrapper(Maze(max_height=13, max_width=13, agent_view_size=5), sample_level)
    params = env.default_params

    def reset(key):
        return env.reset_to_level(key, sample_level(key), params)[1]

    def step(key, state, action):
        observation, state, reward, *_ = env.step(key, state, action, params)
        return state, (observation.image.sum(), reward)

    return reset, step, env.action_space(params).n


def navix() -> Play:
    """An empty room of 8 x 8, seen as a whole."""
    import navix

    env = navix.make("Navix-Empty-8x8-v0", observation_fn=navix.observations.symbolic)

    def step(_, timestep, action):
        timestep = env.step(timestep, action)
        return timestep, (timestep.observation.sum(), timestep.reward)

    return env.reset, step, len(env.action_set)


def xminigrid() -> Play:
    """An empty room of 8 x 8, first person."""
    import xminigrid
    from xminigrid.wrappers import GymAutoResetWrapper

    env, params = xminigrid.make("MiniGrid-Empty-8x8")
    env = GymAutoResetWrapper(env)

    def step(_, timestep, action):
        timestep = env.step(params, timestep, action)
        return timestep, (timestep.observation.sum(), timestep.reward)

    return (lambda key: env.reset(params, key)), step, env.num_actions(params)


LIBRARIES = {each.__name__: each for each in (gymnax, jaxued, navix, xminigrid)}


def main() -> None:
    """Plays twice to warm up, because types may change after the first time, then for the clock."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("library", choices=LIBRARIES)
    options.add_argument("--num-envs", type=int, default=1024)
    options.add_argument("--num-steps", type=int, default=512)
    options.add_argument("--samples", type=int, default=3)
    given = options.parse_args()
    reset, step, num_actions = LIBRARIES[given.library]()

    def play(state, key):
        act_key, step_key = jax.random.split(key)
        actions = jax.random.randint(act_key, (given.num_steps, given.num_envs), 0, num_actions)

        def steps(state, inputs):
            action, key = inputs
            return jax.vmap(step)(jax.random.split(key, given.num_envs), state, action)

        state, told = jax.lax.scan(steps, state, (actions, jax.random.split(step_key, given.num_steps)))
        return state, jax.tree.map(lambda leaf: leaf.sum(), told)

    state = jax.jit(jax.vmap(reset))(jax.random.split(jax.random.PRNGKey(0), given.num_envs))
    play, rates = jax.jit(play), []
    for turn in range(given.samples + 2):
        started = time.perf_counter()
        state, _ = jax.block_until_ready(play(state, jax.random.PRNGKey(turn)))
        rates.append(given.num_envs * given.num_steps / (time.perf_counter() - started))
    print(json.dumps({"steps_per_second": rates[2:]}))


if __name__ == "__main__":
    main()
