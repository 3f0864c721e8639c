"""Rings of rows, the numbers of a row side by side in memory.

Rows are drawn at random from a buffer that fits into no cache, and each array that a row is gathered from is
one more wait for memory. So short leaves of 32 bits lie in one array, as words that hold their bits, and each
row lies beside the one that follows it: a transition is one stretch of memory. Other leaves, as the bytes of
pictures, have arrays of their own. What is taken is what was put, bit for bit and in its dtype.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from purerl.types import PyTree

LONGEST = 16
"""Numbers of the longest leaf that shares an array with others: as many as a line of the cache holds."""


class Form(NamedTuple):
    """What one row is: its leaves [...] as shapes and dtypes, and their tree."""

    leaves: tuple[jax.ShapeDtypeStruct, ...]
    structure: Any


@struct.dataclass
class Rows:
    """Packed rows: rings [E, T], or rows [...] on their way in or out.

    Attributes:
        words: the short leaves of 32 bits, W numbers in all, uint32 [E, T, W].
        others: the other leaves, [E, T, ...].
        form: what one row is.
    """

    words: jax.Array
    others: list[jax.Array]
    form: Form = struct.field(pytree_node=False)


def init_rows(row: PyTree, num_envs: int, num_rows: int) -> Rows:
    """E rings of T copies of one row, leaves [...]."""
    leaves, structure = jax.tree.flatten(row)
    form = Form(tuple(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves), structure)
    return jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, (num_envs, num_rows, *leaf.shape)), pack(row, form)
    )


def pack(tree: PyTree, form: Form) -> Rows:
    """Rows of this form from a tree, leaves [..., *shape of one], at least one of them short."""
    words, others = [], []
    for leaf, one in zip(jax.tree.leaves(tree), form.leaves, strict=True):
        values = leaf.astype(one.dtype)
        if _is_word(one):
            before = values.shape[: values.ndim - len(one.shape)]
            bits = jax.lax.bitcast_convert_type(values, jnp.uint32)
            words.append(bits.reshape(*before, math.prod(one.shape)))
        else:
            others.append(values)
    return Rows(words=jnp.concatenate(words, axis=-1), others=others, form=form)


def unpack(rows: Rows) -> PyTree:
    """The tree of rows [...]: leaves [..., *shape of one]."""
    others, leaves, end = iter(rows.others), [], 0
    for one in rows.form.leaves:
        if _is_word(one):
            start, end = end, end + math.prod(one.shape)
            words = rows.words[..., start:end].reshape(*rows.words.shape[:-1], *one.shape)
            leaves.append(jax.lax.bitcast_convert_type(words, one.dtype))
        else:
            leaves.append(next(others))
    return jax.tree.unflatten(rows.form.structure, leaves)


def put(rows: Rows, index: jax.Array, tree: PyTree) -> Rows:
    """Writes rows, leaves [M, ...], where the rings have these indices: all different, int32 [M]."""

    def leaf(ring, values):
        places = _flat(ring).at[index]
        written = places.set(
            values, mode="promise_in_bounds", unique_indices=True, wrap_negative_indices=False
        )
        return written.reshape(ring.shape)

    return jax.tree.map(leaf, rows, pack(tree, rows.form))


def take(rows: Rows, index: jax.Array) -> PyTree:
    """The rows with these indices, environment * T + row, int32 [...]; leaves [..., *shape of one]."""

    def leaf(ring):
        return _flat(ring).at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)

    return unpack(jax.tree.map(leaf, rows))


def _is_word(leaf: jax.ShapeDtypeStruct) -> bool:
    return leaf.dtype in (jnp.float32, jnp.int32, jnp.uint32) and math.prod(leaf.shape) <= LONGEST


def _flat(ring: jax.Array) -> jax.Array:
    """[E, T, ...] -> [E * T, ...]."""
    return ring.reshape(-1, *ring.shape[2:])
