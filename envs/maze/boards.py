"""Bitboards: one bit a cell of a square grid, so that a maze of 15 x 15 is fifteen words.

A board is uint32 [N, W, ...]: row, word of the row, and any batch axes last. Bit c % 32 of word c // 32 is
column c, and W = ceil(N / 32). Bits beyond column N - 1 are zero. A CPU works on one bit of every maze of a
batch with each vector instruction, which is why the batch comes last.
"""

import jax
import jax.numpy as jnp

WORD = 32


def num_words(size: int) -> int:
    """Words in each row of a board of `size` columns."""
    return -(-size // WORD)


def pack(grid: jax.Array) -> jax.Array:
    """Board of a grid, bool [N, N, ...] -> uint32 [N, W, ...]."""
    size, words = grid.shape[1], num_words(grid.shape[1])
    padding = [(0, 0)] * grid.ndim
    padding[1] = (0, words * WORD - size)
    bits = jnp.pad(grid, padding).reshape(grid.shape[0], words, WORD, *grid.shape[2:]).astype(jnp.uint32)
    weight = jnp.uint32(1) << jnp.arange(WORD, dtype=jnp.uint32)
    return (bits * weight.reshape(WORD, *(1,) * (grid.ndim - 2))).sum(2, dtype=jnp.uint32)


def unpack(board: jax.Array, size: int) -> jax.Array:
    """Grid of a board, uint32 [N, W, ...] -> bool [N, size, ...]."""
    column = jnp.arange(size)
    shift = (column % WORD).astype(jnp.uint32).reshape(size, *(1,) * (board.ndim - 2))
    return ((board[:, column // WORD] >> shift) & 1).astype(bool)


def full(size: int) -> jax.Array:
    """The board with every cell set: uint32 [N, W]."""
    return pack(jnp.ones((size, size), bool))


def north(board: jax.Array) -> jax.Array:
    """Every set cell moves one row up; what leaves the board is lost."""
    return jnp.concatenate([board[1:], jnp.zeros_like(board[:1])])


def south(board: jax.Array) -> jax.Array:
    """Every set cell moves one row down; what leaves the board is lost."""
    return jnp.concatenate([jnp.zeros_like(board[:1]), board[:-1]])


def west(board: jax.Array) -> jax.Array:
    """Every set cell moves one column to the left; what leaves the board is lost."""
    moved = board >> 1
    if board.shape[1] == 1:
        return moved
    carry = jnp.concatenate([board[:, 1:] << (WORD - 1), jnp.zeros_like(board[:, :1])], axis=1)
    return moved | carry


def east(board: jax.Array) -> jax.Array:
    """Every set cell moves one column to the right.

    Cells of the last column go beyond the board: mask the result, as with `& free`.
    """
    moved = board << 1
    if board.shape[1] == 1:
        return moved
    carry = jnp.concatenate([jnp.zeros_like(board[:, :1]), board[:, :-1] >> (WORD - 1)], axis=1)
    return moved | carry


def neighbors(board: jax.Array) -> jax.Array:
    """Cells beside a set cell (up, down, left, right); mask the result, as with `& free`."""
    return north(board) | south(board) | west(board) | east(board)


def test(board: jax.Array, row: jax.Array, column: jax.Array) -> jax.Array:
    """Whether the cell of one board, uint32 [N, W], is set: bool of the shape of row and column, int32."""
    return ((board[row, column // WORD] >> (column % WORD).astype(jnp.uint32)) & 1).astype(bool)


def single(row: jax.Array, column: jax.Array, size: int) -> jax.Array:
    """The board with one cell set: row and column int32 [...] -> uint32 [N, W, ...]."""
    shape = (1,) * jnp.ndim(row)
    rows = jnp.arange(size).reshape(size, 1, *shape)
    words = jnp.arange(num_words(size)).reshape(1, -1, *shape)
    bit = jnp.uint32(1) << (column % WORD).astype(jnp.uint32)
    return jnp.where((rows == row) & (words == column // WORD), bit, jnp.uint32(0))
