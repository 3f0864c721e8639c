"""Evaluation of policies: whole episodes of fixed length under a mask, in blocks that stay in the cache."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from purerl.types import PyTree

Policy = Callable[[PyTree, jax.Array], jax.Array]


def episode_returns(
    env: Any, params: PyTree, policy: Policy, key: jax.Array, num_episodes: int, num_steps: int
) -> jax.Array:
    """Undiscounted returns of whole episodes, stepped side by side.

    Args:
        env: an environment of the gymnax contract.
        params: its parameters.
        policy: `(observations [B, ...], key) -> actions [B, ...]`.
        key: a `jax.random.key`.
        num_episodes: M.
        num_steps: longest episode; what is still running then counts as it stands.

    Returns:
        float32 [M].
    """
    reset_key, run_key = jax.random.split(key)
    observation, state = jax.vmap(env.reset_env, (0, None))(jax.random.split(reset_key, num_episodes), params)
    step_env = jax.vmap(env.step_env, (0, 0, 0, None))

    def step(carry, step_key):
        observation, state, alive, total = carry
        act_key, env_key = jax.random.split(step_key)
        action = policy(observation, act_key)
        keys = jax.random.split(env_key, num_episodes)
        observation, state, reward, terminated, _ = step_env(keys, state, action, params)
        ended = terminated | jax.vmap(env.is_truncated, (0, None))(state, params)
        return (observation, state, alive & ~ended, total + jnp.where(alive, reward, 0.0)), None

    state = jax.tree.map(jnp.asarray, state)
    start = (observation, state, jnp.ones(num_episodes, bool), jnp.zeros(num_episodes))
    return jax.lax.scan(step, start, jax.random.split(run_key, num_steps))[0][3]


def evaluate(
    env: Any,
    params: PyTree,
    policy: Callable[[PyTree, PyTree, jax.Array], jax.Array],
    learners: PyTree,
    key: jax.Array,
    num_episodes: int,
    num_steps: int,
    block: int | None = None,
) -> np.ndarray:
    """Returns of every learner under every set of parameters, on all local devices.

    Every learner and every set of parameters meets the same keys, whatever the number of devices.

    Args:
        env: an environment of the gymnax contract.
        params: parameters, leaves [G, ...].
        policy: `(learner, observations [B, ...], key) -> actions [B, ...]`.
        learners: leaves [S, ...].
        key: a `jax.random.key`.
        num_episodes: M, for each learner and each set of parameters.
        num_steps: longest episode.
        block: episodes stepped side by side; by default 128 on a CPU and all of them on a GPU.

    Returns:
        float32 [S, G, M].
    """
    on_cpu = jax.default_backend() == "cpu"
    block = min(block or (128 if on_cpu else num_episodes), num_episodes)
    num_blocks = -(-num_episodes // block)
    num_seeds, num_params = (jax.tree.leaves(tree)[0].shape[0] for tree in (learners, params))
    items = [axis.ravel() for axis in np.indices((num_seeds, num_params, num_blocks))]
    devices = jax.local_devices()
    padding = -len(items[0]) % len(devices)
    items = [np.pad(axis, (0, padding)) for axis in items]

    def run(learners, params, keys, items):
        def one_block(item):
            seed, row, number = item
            learner = jax.tree.map(lambda leaf: leaf[seed], learners)
            row_params = jax.tree.map(lambda leaf: leaf[row], params)
            act = lambda observation, act_key: policy(learner, observation, act_key)  # noqa: E731
            return episode_returns(env, row_params, act, keys[number], block, num_steps)

        return jax.lax.map(one_block, tuple(items))

    shared, split = PartitionSpec(), PartitionSpec("devices")
    mesh = Mesh(np.array(devices), ("devices",))
    run = jax.shard_map(
        run, mesh=mesh, in_specs=(shared, shared, shared, split), out_specs=split, check_vma=False
    )
    learners, params = jax.tree.map(np.asarray, (learners, params))
    result = jax.jit(run)(learners, params, jax.random.split(key, num_blocks), items)
    result = np.asarray(result)[: num_seeds * num_params * num_blocks]
    return result.reshape(num_seeds, num_params, -1)[..., :num_episodes]


def summarize(returns: np.ndarray) -> dict[str, Any]:
    """What a report says of returns, float32 [S, M].

    Returns:
        `mean` over all; `sem`, the standard error of the mean: over seeds where there are several (they are
        the independent draws), else over episodes; `episodes`, for each seed; `per_seed`, one mean a seed.
    """
    num_seeds, num_episodes = returns.shape
    per_seed = returns.astype(np.float64).mean(1)
    draws = per_seed if num_seeds > 1 else returns[0].astype(np.float64)
    sem = draws.std(ddof=1) / np.sqrt(draws.size) if draws.size > 1 else 0.0
    return {
        "mean": float(per_seed.mean()),
        "sem": float(sem),
        "episodes": num_episodes,
        "per_seed": per_seed.tolist(),
    }
