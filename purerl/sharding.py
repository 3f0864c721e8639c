"""Means and sums over the shards of one program, and over metrics. Without an axis they change nothing."""

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from purerl.types import Mean, Metrics, PyTree


def mean_across(tree: PyTree, axis_name: str | None) -> PyTree:
    """The mean of each leaf over the shards, as one collective however many leaves there are."""
    if axis_name is None:
        return tree
    flat, unravel = ravel_pytree(tree)
    return unravel(jax.lax.pmean(flat, axis_name))


def sum_across(tree: PyTree, axis_name: str | None) -> PyTree:
    """The sum of each leaf over the shards, as one collective however many leaves there are."""
    if axis_name is None:
        return tree
    flat, unravel = ravel_pytree(tree)
    return unravel(jax.lax.psum(flat, axis_name))


def shard_key(key: jax.Array, axis_name: str | None) -> jax.Array:
    """A key of this shard's own, from the run's replicated key."""
    return key if axis_name is None else jax.random.fold_in(key, jax.lax.axis_index(axis_name))


def num_shards(axis_name: str | None) -> int:
    """The number of shards: 1 without an axis."""
    return 1 if axis_name is None else jax.lax.axis_size(axis_name)


def as_mean(value: jax.Array) -> Mean:
    """The mean of all entries of an array, each of weight one."""
    return Mean(total=jnp.sum(value, dtype=jnp.float32), weight=jnp.float32(jnp.size(value)))


def sum_metrics(metrics: Metrics, axis: int = 0) -> Metrics:
    """Adds up metrics that were stacked along an axis, such as that of the updates of a chunk."""
    return jax.tree.map(lambda leaf: leaf.sum(axis), metrics)
