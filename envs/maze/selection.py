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
    boards = jnp.stack(squares)  # [M, B]
    zero = jnp.zeros_like(word)

    # Loops, short as they are: XLA on CPU would otherwise compute again, for each word, what leads to it.
    def count(index: jax.Array, total: jax.Array) -> jax.Array:
        return total + jax.lax.population_count(boards[index])

    rank = random.index_below(word, jax.lax.fori_loop(0, len(squares), count, zero))

    def look(index: jax.Array, carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        """Takes this word where all before it have `passed` bits, no more than the rank."""
        passed, before, chosen, first = carry
        here = rank >= passed
        return (
            passed + jax.lax.population_count(boards[index]),
            jnp.where(here, passed, before),
            jnp.where(here, boards[index], chosen),
            jnp.where(here, (WORD * index).astype(jnp.uint32), first),
        )

    _, before, chosen, first = jax.lax.fori_loop(0, len(squares), look, (zero, zero, zero, zero))
    position = (first + nth_bit(chosen, rank - before)).astype(jnp.int32)
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
