"""Packed boards: the rows of a square one after another in as few words as hold them.

A packed board of `side` x `side` cells is a tuple of words, uint32 [B] each: cell (row, column) is bit
row * (side + 1) + column, 32 bits a word. A bit that stays zero ends each row, so that a shift by one never
leads from one row to another. The cells of a 9 x 9 maze take one word in place of four rows, the squares
within its border two in place of seven.

A tuple of words, and not an array [M, B]: on CPU, XLA compiles a shift across words to straight vector code
only where the words are separate. Moves may set the bits between rows: mask what they give.
"""

from typing import TypeAlias

import jax
import jax.numpy as jnp

from envs.maze import boards
from envs.maze.boards import WORD

Words: TypeAlias = tuple[jax.Array, ...]

FULL = 0xFFFFFFFF


def num_words(side: int) -> int:
    """Words of a packed board."""
    return -(-side * (side + 1) // WORD)


def cells(side: int) -> tuple[int, ...]:
    """The board with every cell set, as numbers."""
    row = (1 << side) - 1
    whole = sum(row << (index * (side + 1)) for index in range(side))
    return tuple((whole >> (WORD * word)) & FULL for word in range(num_words(side)))


def zeros(side: int, batch: int) -> Words:
    """Empty boards."""
    return (jnp.zeros(batch, jnp.uint32),) * num_words(side)


def both(a: Words, b: Words) -> Words:
    """Cells set in both boards."""
    return tuple(x & y for x, y in zip(a, b, strict=True))


def either(*several: Words) -> Words:
    """Cells set in any of the boards."""
    first, *others = several
    for other in others:
        first = tuple(x | y for x, y in zip(first, other, strict=True))
    return first


def without(a: Words, b: Words) -> Words:
    """Cells set in the first board and not in the second."""
    return tuple(x & ~y for x, y in zip(a, b, strict=True))


def where(mask: jax.Array, a: Words) -> Words:
    """The board where `mask`, a word, has every bit set; the empty one where it has none."""
    return tuple(mask & x for x in a)


def within(a: Words, side: int) -> Words:
    """The board without the bits between its rows."""
    return tuple(x & jnp.uint32(mask) for x, mask in zip(a, cells(side), strict=True))


def occupied(a: Words) -> jax.Array:
    """True where any cell is set: bool [B]."""
    union = a[0]
    for word in a[1:]:
        union = union | word
    return union != 0


def as_mask(flag: jax.Array) -> jax.Array:
    """A word of ones where True, of zeros where False."""
    return jnp.where(flag, jnp.uint32(FULL), jnp.uint32(0))


def raised(a: Words, distance: int) -> Words:
    """Every bit moves to a position higher by `distance`; what leaves the board is lost."""
    return _moved(a, distance)


def lowered(a: Words, distance: int) -> Words:
    """Every bit moves to a position lower by `distance`; what leaves the board is lost."""
    return _moved(a, -distance)


def moves(a: Words, side: int) -> tuple[Words, Words, Words, Words]:
    """The board moved by one cell north, west, east and south."""
    return lowered(a, side + 1), lowered(a, 1), raised(a, 1), raised(a, side + 1)


def neighbors(a: Words, side: int) -> Words:
    """Cells beside a set cell; mask the result."""
    return either(*moves(a, side))


def single(row: jax.Array, column: jax.Array, side: int) -> Words:
    """The board with one cell set: row and column are int32 [B]."""
    position = (row * (side + 1) + column).astype(jnp.uint32)
    bit = jnp.uint32(1) << (position % WORD)
    return tuple(jnp.where(position // WORD == word, bit, jnp.uint32(0)) for word in range(num_words(side)))


def at_square(square: jax.Array, side: int) -> Words:
    """The board with one square set, whose row and column count the border: int32 [2, B]."""
    return single(square[0] - 1, square[1] - 1, side)


def pack(board: jax.Array) -> Words:
    """The squares within the border of boards, uint32 [N, W, B], as packed boards of side N - 2."""
    size = board.shape[0]
    side = size - 2
    words = list(zeros(side, board.shape[2]))
    for row in range(side):
        for word in range(board.shape[1]):
            inner = sum(1 << bit for bit in range(WORD) if 1 <= WORD * word + bit <= side)
            piece = board[row + 1, word] & jnp.uint32(inner)
            _place(words, piece, row * (side + 1) + WORD * word - 1)
    return tuple(words)


def unpack(a: Words, size: int) -> jax.Array:
    """The inverse of `pack`, without a border: packed boards of side N - 2 as boards, uint32 [N, W, ...].

    The words may have further axes; the result has them last.
    """
    side, empty = size - 2, jnp.zeros_like(a[0])
    rows = []
    for row in range(size):
        for word in range(boards.num_words(size)):
            inner = sum(1 << bit for bit in range(WORD) if 1 <= WORD * word + bit <= side)
            inside = 1 <= row <= side and inner
            first = (row - 1) * (side + 1) + WORD * word - 1
            rows.append(taken(a, first) & jnp.uint32(inner) if inside else empty)
    return jnp.stack(rows).reshape(size, boards.num_words(size), *a[0].shape)


def taken(a: Words, first: int) -> jax.Array:
    """The 32 bits from position `first` on, which may lie before the board: uint32 [B]."""
    word, shift = divmod(first, WORD)
    low = a[word] if 0 <= word < len(a) else jnp.zeros_like(a[0])
    high = a[word + 1] if 0 <= word + 1 < len(a) else jnp.zeros_like(a[0])
    return (low >> shift) | (high << (WORD - shift)) if shift else low


def _place(words: list[jax.Array], piece: jax.Array, first: int) -> None:
    """Sets the bits of a piece from position `first` on; what would lie outside of the words is lost."""
    word, shift = divmod(first, WORD)
    if 0 <= word < len(words):
        words[word] = words[word] | (piece << shift)
    if shift and 0 <= word + 1 < len(words):
        words[word + 1] = words[word + 1] | (piece >> (WORD - shift))


def _moved(a: Words, distance: int) -> Words:
    return tuple(taken(a, WORD * word - distance) for word in range(len(a)))
