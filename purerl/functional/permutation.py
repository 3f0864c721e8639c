"""Shuffling the samples of a rollout, at a small part of the cost of sorting random numbers."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Integer, Key

LEAST_SIDE = 8
"""Rows and columns of a grid whose cells moves along its sides mix."""


def permutations(
    key: Key[Array, ""], count: int, num_rows: int, num_columns: int
) -> Integer[Array, "count {num_rows}*{num_columns}"]:
    """Random permutations of the cells of a grid, of any shape.

    Grids with long sides are mixed by moves along them, see `grid_permutations`. In a single row such moves
    are rotations, and in a few rows nearly so: there random numbers are sorted.

    Args:
        key: a `jax.random.key`.
        count: how many permutations.
        num_rows: R, at least 1.
        num_columns: C, at least 1.

    Returns:
        int32 [count, R * C], each of 0 to R * C - 1 once.
    """
    if min(num_rows, num_columns) >= LEAST_SIDE:
        return grid_permutations(key, count, num_rows, num_columns)
    # Equal numbers, which keep their order, are one pair in 2 ** 32.
    bits = jax.random.bits(key, (count, num_rows * num_columns))
    return jnp.argsort(bits, axis=1).astype(jnp.int32)


def grid_permutations(
    key: Key[Array, ""], count: int, num_rows: int, num_columns: int, num_rounds: int = 4
) -> Integer[Array, "count {num_rows}*{num_columns}"]:
    """Permutations of the cells of a grid, each from a few random numbers for each row and column.

    Each round moves every cell along its column by an offset that belongs to the column's number, then along
    its row by an offset that belongs to the row's; each move is a bijection, and so is their composition: an
    unbalanced Feistel network on Z_rows x Z_columns.

    Args:
        key: a `jax.random.key`.
        count: how many permutations.
        num_rows: R, some at least: of one row, or one column, there are rotations alone.
        num_columns: C, the same.
        num_rounds: rounds of both moves; four mix well.

    Returns:
        int32 [count, R * C], each of 0 to R * C - 1 once.

    Source: Black and Rogaway 2002, "Ciphers with arbitrary finite domains", section 5.
    """
    bits = jax.random.bits(key, (count, num_rounds, num_columns + num_rows))
    # The remainder favors small offsets by no more than R or C in 2 ** 32.
    row_offsets = (bits[..., :num_columns] % num_rows).astype(jnp.int32)
    column_offsets = (bits[..., num_columns:] % num_columns).astype(jnp.int32)
    in_order = jnp.repeat(jnp.arange(num_rows), num_columns), jnp.tile(jnp.arange(num_columns), num_rows)

    def move(cell, offsets):
        row_offset, column_offset = offsets
        row = (cell[0] + row_offset[cell[1]]) % num_rows
        return (row, (cell[1] + column_offset[row]) % num_columns), None

    def permute(offsets):
        row, column = jax.lax.scan(move, in_order, offsets)[0]
        return row * num_columns + column

    return jax.lax.map(permute, (row_offsets, column_offsets))
