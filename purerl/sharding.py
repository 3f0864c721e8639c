"""Functions on several devices; means, sums, maxima and keys over shards: without an axis, no change."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding

from purerl.types import AxisName, PyTree


def over_devices(function: Callable, mesh: Mesh, in_specs: Any, out_specs: Any) -> Callable:
    """The function on each device's part of its arguments.

    XLA (jaxlib 0.11.2) ends the process where an array without elements enters a mapped program. Such
    arguments stay outside, and are made anew within; `refuse_empty_constants` is for what is closed over.

    Args:
        function: of pytrees of arrays.
        mesh: the devices.
        in_specs: for each argument, a `PartitionSpec` or a tree of them, a prefix of the argument's.
        out_specs: the same for the result.
    """

    def mapped(*arguments: Any) -> Any:
        leaves, structure = jax.tree.flatten(arguments, is_leaf=_is_none)
        empty = {i: leaf for i, leaf in enumerate(leaves) if leaf is not None and jnp.size(leaf) == 0}
        specs = jax.tree.leaves(jax.tree.broadcast(in_specs, arguments, is_leaf=_is_none), is_leaf=_is_none)

        def complete(*present: Any) -> Any:
            found = jax.tree.leaves(present, is_leaf=_is_none)
            for i, leaf in empty.items():
                found[i] = jnp.zeros(NamedSharding(mesh, specs[i]).shard_shape(leaf.shape), leaf.dtype)
            return function(*jax.tree.unflatten(structure, found))

        present = jax.tree.unflatten(
            structure, [None if i in empty else leaf for i, leaf in enumerate(leaves)]
        )
        return jax.shard_map(
            complete if empty else function,
            mesh=mesh,
            in_specs=in_specs,
            out_specs=out_specs,
            check_vma=False,
        )(*present)

    return mapped


def _is_none(leaf: Any) -> bool:
    return leaf is None


def trace(function: Callable, *arguments: Any, **jit_options: Any) -> Any:
    """A jitted function, traced for arguments: what `jax.jit(...).trace(...)` returns.

    Raises:
        ValueError: as `refuse_empty_constants` does.
    """
    traced = jax.jit(function, **jit_options).trace(*arguments)
    refuse_empty_constants(traced)
    return traced


def refuse_empty_constants(traced: Any) -> None:
    """Raises ValueError, with one line, where a mapped function of a program closes over an empty array."""
    for equation in traced.jaxpr.eqns:
        if equation.primitive.name == "shard_map" and any(v.aval.size == 0 for v in equation.invars):
            raise ValueError(
                "the environment, the network or the loss closes over an array without elements, at which "
                "XLA ends the process on several devices: make the array within the function that uses it"
            )


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
