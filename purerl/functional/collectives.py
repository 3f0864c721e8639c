"""Means, sums, maxima and keys over shards: without an axis, no change."""

import jax
from jax.flatten_util import ravel_pytree

from purerl.types import AxisName, PyTree


def mean_across(tree: PyTree, axis_name: AxisName) -> PyTree:
    """The mean of each leaf over the shards, as one collective however many leaves there are."""
    if axis_name is None:
        return tree
    flat, unravel = ravel_pytree(tree)
    return unravel(jax.lax.pmean(flat, axis_name))


def sum_across(tree: PyTree, axis_name: AxisName) -> PyTree:
    """The sum of each leaf over the shards, as one collective however many leaves there are."""
    if axis_name is None:
        return tree
    flat, unravel = ravel_pytree(tree)
    return unravel(jax.lax.psum(flat, axis_name))


def max_across(value: jax.Array, axis_name: AxisName) -> jax.Array:
    """The highest over the shards, of each entry."""
    return value if axis_name is None else jax.lax.pmax(value, axis_name)


def split_key(key: jax.Array, num_shared: int, num_own: int, axis_name: AxisName) -> tuple[jax.Array, ...]:
    """Splits a run's replicated key: keys that all shards share, then keys of this shard's own."""
    keys = jax.random.split(key, num_shared + num_own * num_shards(axis_name))
    own = keys[num_shared:]
    if axis_name is not None:
        own = jax.lax.dynamic_slice_in_dim(own, jax.lax.axis_index(axis_name) * num_own, num_own)
    return (*keys[:num_shared], *own)


def num_shards(axis_name: AxisName) -> int:
    """The number of shards: 1 without an axis."""
    return 1 if axis_name is None else jax.lax.axis_size(axis_name)
