"""Evaluation of a policy: whole episodes of fixed length under a mask, in blocks that stay in the cache."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from purerl.types import PyTree

Policy = Callable[[PyTree, jax.Array], jax.Array]


def evaluate(
    env: Any, params: PyTree, policy: Policy, key: jax.Array, num_episodes: int, num_steps: int, block: int = 128
) -> jax.Array:
    """Undiscounted returns of whole episodes.

    Args:
        env: an environment of the gymnax contract.
        params: its parameters.
        policy: `(observations [B, ...], key) -> actions [B, ...]`.
        key: a `jax.random.key`.
        num_episodes: M.
        num_steps: longest episode; what is still running then counts as it stands.
        block: episodes stepped side by side.

    Returns:
        float32 [M].
    """
    block = min(block, num_episodes)
    num_blocks = -(-num_episodes // block)

    def one_block(block_key):
        return episode_block(env, params, policy, block_key, block, num_steps)

    return jax.lax.map(one_block, jax.random.split(key, num_blocks)).reshape(-1)[:num_episodes]


def episode_block(
    env: Any, params: PyTree, policy: Policy, key: jax.Array, num_episodes: int, num_steps: int
) -> jax.Array:
    """Returns of `num_episodes` episodes stepped side by side, float32 [num_episodes]."""
    reset_key, run_key = jax.random.split(key)
    observation, state = jax.vmap(env.reset_env, (0, None))(jax.random.split(reset_key, num_episodes), params)
    state = jax.tree.map(jnp.asarray, state)

    def step(carry, step_key):
        observation, state, alive, total = carry
        act_key, env_key = jax.random.split(step_key)
        action = policy(observation, act_key)
        keys = jax.random.split(env_key, num_episodes)
        observation, state, reward, terminated, _ = jax.vmap(env.step_env, (0, 0, 0, None))(
            keys, state, action, params
        )
        ended = terminated | jax.vmap(env.is_truncated, (0, None))(state, params)
        return (observation, state, alive & ~ended, total + jnp.where(alive, reward, 0.0)), None

    start = (observation, state, jnp.ones(num_episodes, bool), jnp.zeros(num_episodes))
    return jax.lax.scan(step, start, jax.random.split(run_key, num_steps))[0][3]
