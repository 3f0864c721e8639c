"""Pools made of levels, and what is logged of them."""

import jax
import jax.numpy as jnp

from purerl.types import LevelPool, Levels, Mean, Metrics, PyTree

QUANTILES = {"q10": 0.1, "q50": 0.5, "q90": 0.9}


def observed_pool(levels: Levels, env_state: PyTree, params: PyTree) -> LevelPool:
    """A pool of levels, leaves [P, ...], all of them drawn alike and learned from."""
    count = jax.tree.leaves(env_state)[0].shape[0]
    return LevelPool(
        observation=jax.vmap(levels.observe, (0, None))(env_state, params),
        env_state=env_state,
        draw=jnp.arange(count, dtype=jnp.int32),
        learnable=jnp.ones(count, bool),
    )


def mean_of(value: jax.Array) -> Mean:
    """A metric of one number, float32 []."""
    return Mean(total=jnp.asarray(value, jnp.float32), weight=jnp.float32(1.0))


def quantile_metrics(name: str, values: jax.Array, there: jax.Array | None = None) -> Metrics:
    """Metrics `level_NAME_q10`, `_q50` and `_q90` of those values, float32 [R], that are `there`, bool [R].

    Where there is none, the metrics have no weight.
    """
    there = jnp.ones(values.shape, bool) if there is None else there
    ordered, count = jnp.sort(jnp.where(there, values, jnp.inf)), there.sum(dtype=jnp.float32)
    metrics: Metrics = {}
    for label, share in QUANTILES.items():
        place = jnp.round(share * jnp.maximum(count - 1.0, 0.0)).astype(jnp.int32)
        total = jnp.where(count > 0, ordered[place], 0.0)
        metrics[f"level_{name}_{label}"] = Mean(total=total, weight=jnp.minimum(count, 1.0))
    return metrics


def describe_draws(levels: Levels, pool: LevelPool, params: PyTree) -> Metrics:
    """How the levels that resets draw are distributed, by each of their descriptions."""
    drawn = jax.tree.map(lambda leaf: leaf[pool.draw], pool.env_state)
    described = jax.vmap(levels.describe, (0, None))(drawn, params)
    metrics: Metrics = {}
    for name, values in described.items():
        metrics |= quantile_metrics(name, values)
    return metrics
