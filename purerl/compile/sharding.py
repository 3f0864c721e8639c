"""Functions on several devices: the one place that maps a function over them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding


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
