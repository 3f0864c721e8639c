"""Uniform choice of one square among those set on a packed board."""

import jax
import jax.numpy as jnp

from envs import random
from envs.maze.boards import WORD
from envs.maze.packed import Words


def choose(word: jax.Array, squares: Words, side: int) -> jax.Array:
    """A square set on each board, uniformly: the k-th one, k uniform.

    Args:
        word: uniform, uint32 [B].
        squares: packed boards, each with at least one square set.
        side: of the packed boards, which lie within a border.

    Returns:
        Row and column on the board with its border, int32 [2, B].
    """
    counts = [jax.lax.population_count(board) for board in squares]
    rank = random.index_below(word, sum(counts[1:], counts[0]))
    chosen, base, first = squares[0], jnp.zeros_like(word), jnp.zeros_like(word)
    passed = counts[0]
    for index in range(1, len(squares)):
        beyond = rank >= passed
        chosen = jnp.where(beyond, squares[index], chosen)
        base = jnp.where(beyond, passed, base)
        first = jnp.where(beyond, jnp.uint32(WORD * index), first)
        passed = passed + counts[index]
    position = (first + nth_bit(chosen, rank - base)).astype(jnp.int32)
    return jnp.stack([position // (side + 1) + 1, position % (side + 1) + 1])


def nth_bit(word: jax.Array, rank: jax.Array) -> jax.Array:
    """Position of the set bit that `rank` set bits lie below: uint32 [...], by bisection."""
    position = jnp.zeros_like(word)
    for half in (16, 8, 4, 2, 1):
        below = jax.lax.population_count(word & jnp.uint32((1 << half) - 1))
        upper = rank >= below
        rank = jnp.where(upper, rank - below, rank)
        word = jnp.where(upper, word >> half, word)
        position = jnp.where(upper, position + half, position)
    return position
