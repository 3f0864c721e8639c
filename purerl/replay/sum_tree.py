r"""Sampling in proportion to priorities: a tree of sums with 32 children a node.

A sum is always computed anew from its children, never adjusted by a difference, so nothing drifts however
often priorities change. A sample descends from the root and draws a fresh random number at each level: one
number for the whole way would have to tell a million leaves apart with the 24 bits of a float32.

Source of the use: Schaul et al. 2016 (arXiv:1511.05952), appendix B.2.1.
"""

from typing import TypeAlias

import jax
import jax.numpy as jnp

WIDTH = 32
"""Children of a node: enough for a million leaves in four levels, few enough to add up in a few registers."""

SumTree: TypeAlias = tuple[jax.Array, ...]
"""Priorities of the leaves, float32, then the sums of each level up to the children of the root."""


def init_tree(num_leaves: int) -> SumTree:
    """A tree in which every priority is 0."""
    levels, size = [], num_leaves
    while True:
        nodes = -(-size // WIDTH)
        levels.append(jnp.zeros(nodes * WIDTH, jnp.float32))
        if nodes == 1:
            return tuple(levels)
        size = nodes


def set_priorities(tree: SumTree, index: jax.Array, priority: jax.Array) -> SumTree:
    """Gives leaves new priorities.

    Args:
        tree: the tree.
        index: int32 [M]; a leaf that is named twice gets one of its priorities: the last on a CPU, either on
            a GPU. The sums fit it in any case.
        priority: float32 [M], 0 or more.
    """
    # One write: a second one to the same leaves, to settle which value stays, would copy them all.
    levels = [tree[0].at[index].set(priority, mode="promise_in_bounds")]
    for level in tree[1:]:
        index = index // WIDTH
        sums = _children(levels[-1], index).sum(-1)
        levels.append(level.at[index].set(sums, mode="promise_in_bounds"))
    return tuple(levels)


def total(tree: SumTree) -> jax.Array:
    """The sum of all priorities, float32 []."""
    return tree[-1].sum()


def draw(tree: SumTree, key: jax.Array, num_batches: int, batch_size: int) -> jax.Array:
    """What chance decides in drawing G batches of B leaves: numbers in [0, 1), float32 [levels, G * B].

    Those for the root are spread evenly (stratified sampling): of the G * B strata that the sum is cut into,
    each is met once. Leaves are in the order of environments and of time, and so are strata: each batch has
    one of every G neighbors, drawn at random, so that each is a stratified sample of the whole.
    """
    count = num_batches * batch_size
    numbers = jax.random.uniform(key, (len(tree) * count + (batch_size if num_batches > 1 else 0),))
    uniforms, turn = numbers[: len(tree) * count].reshape(len(tree), count), numbers[len(tree) * count :]
    stratum = jnp.arange(count)
    if num_batches > 1:
        first = (turn * num_batches).astype(jnp.int32)  # where in its neighborhood the first batch draws
        place = (jnp.arange(num_batches)[:, None] + first) % num_batches
        stratum = (jnp.arange(batch_size) * num_batches + place).ravel()
    # Rounding can make the last one 1, which lies beyond the last leaf.
    return uniforms.at[0].set(jnp.minimum((stratum + uniforms[0]) / count, 1.0 - 2.0**-23))


def choose_leaves(tree: SumTree, uniforms: jax.Array) -> jax.Array:
    """Leaves in proportion to their priorities, int32 [B]; any leaf where all priorities are 0.

    Args:
        tree: the tree.
        uniforms: as `draw` gives them.
    """
    index = jnp.zeros(uniforms.shape[1], jnp.int32)
    for level, numbers in zip(reversed(tree), uniforms, strict=True):
        index = index * WIDTH + _choose(_children(level, index), numbers)
    return index


def _children(level: jax.Array, node: jax.Array) -> jax.Array:
    """float32 [M, WIDTH]."""
    return level.reshape(-1, WIDTH).at[node].get(mode="promise_in_bounds")


def _choose(weight: jax.Array, draw: jax.Array) -> jax.Array:
    """One of the columns of weight [M, WIDTH] in proportion to them, draw in [0, 1): int32 [M].

    A column without weight is never chosen: the running sum stands still there.
    """
    upto = jnp.triu(jnp.ones((WIDTH, WIDTH)))  # a product with it is a running sum, and the faster one
    running = jnp.matmul(weight, upto, precision=jax.lax.Precision.HIGHEST)
    passed = running <= draw[:, None] * running[:, -1:]
    return jnp.minimum(passed.sum(-1, dtype=jnp.int32), WIDTH - 1)
