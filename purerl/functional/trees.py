"""Functions of pytrees of arrays."""

import jax
import jax.numpy as jnp

from purerl.types import PyTree


def select(condition: jax.Array, chosen: PyTree, other: PyTree) -> PyTree:
    """Takes `chosen` where the condition, bool [E], holds; leaves [E, ...]."""

    def leaf(a, b):
        return jnp.where(condition.reshape(-1, *(1,) * (jnp.ndim(b) - 1)), a, b).astype(jnp.asarray(b).dtype)

    return jax.tree.map(leaf, chosen, other)
