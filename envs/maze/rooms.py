"""Rooms and corridors: rectangles within a maze whose dead ends are cut back."""

import jax
import jax.numpy as jnp

from envs import random
from envs.maze import boards, packed
from envs.maze.packed import Words

CELLS_PER_ROOM = 12
SMALLEST = 2
"""Cells along the shorter sides of the smallest rooms."""


def carve_rooms(seeds: jax.Array, walls: jax.Array) -> jax.Array:
    """Opens rectangular rooms in mazes and cuts back the dead ends outside of them.

    A room spans 2 to side / 2 cells (2 in grids of fewer than six cells a side) along either axis, uniformly,
    at a uniform place; there is one for every twelve cells, at least one, and rooms may overlap. Dead ends
    become shorter by as many squares as a row has cells; the bottom-right cell is never filled. What is free
    stays connected, and squares without a free neighbor are filled.

    Args:
        seeds: two random words a maze, uint32 [2, B].
        walls: connected mazes, uint32 [N, W, B].

    Returns:
        Walls, uint32 [N, W, B].
    """
    size, side = walls.shape[0], (walls.shape[0] - 1) // 2
    num_rooms = max(1, side * side // CELLS_PER_ROOM)

    def add(index: jax.Array, rooms: jax.Array) -> jax.Array:
        words = random.batch_words(seeds, 4 * index + jnp.arange(4)[:, None])
        top, height = _span(words[:2], side)
        left, width = _span(words[2:], side)
        return rooms | rectangle(2 * top + 1, 2 * left + 1, 2 * height - 1, 2 * width - 1, size)

    rooms = jax.lax.fori_loop(0, num_rooms, add, jnp.zeros_like(walls))
    corner = boards.single(jnp.int32(size - 2), jnp.int32(size - 2), size)[..., None]
    kept = packed.pack(rooms | corner)

    def cut_back(_: jax.Array, free: Words) -> Words:
        return packed.both(free, packed.either(kept, beside_several(free, size - 2)))

    free = jax.lax.fori_loop(0, side, cut_back, packed.pack(rooms | ~walls))
    return boards.full(size)[..., None] & ~packed.unpack(free, size)


def _span(words: jax.Array, side: int) -> tuple[jax.Array, jax.Array]:
    """First cell and number of cells along an axis, int32 [B] each, from words uint32 [2, B]."""
    largest = max(SMALLEST, side // 2)
    length = SMALLEST + random.index_below(words[0], jnp.uint32(largest - SMALLEST + 1))
    first = random.index_below(words[1], side - length + 1)
    return first.astype(jnp.int32), length.astype(jnp.int32)


def rectangle(top: jax.Array, left: jax.Array, height: jax.Array, width: jax.Array, size: int) -> jax.Array:
    """Boards with a rectangle of set squares: int32 [B] each -> uint32 [N, W, B]."""
    rows = jnp.arange(size)[:, None, None]
    columns = _below(left + width, size) & ~_below(left, size)
    return jnp.where((rows >= top) & (rows < top + height), columns, jnp.uint32(0))


def _below(column: jax.Array, size: int) -> jax.Array:
    """Bits of the columns before one: int32 [B] -> uint32 [W, B]."""
    first = boards.WORD * jnp.arange(boards.num_words(size))[:, None]
    count = jnp.clip(column - first, 0, boards.WORD).astype(jnp.uint32)
    return jnp.where(count == boards.WORD, jnp.uint32(packed.FULL), (jnp.uint32(1) << count) - 1)


def beside_several(free: Words, side: int) -> Words:
    """Squares with two free neighbors or more, as packed boards; mask the result."""
    north, west, east, south = packed.moves(free, side)
    across = packed.both(packed.either(north, south), packed.either(west, east))
    return packed.either(packed.both(north, south), packed.both(west, east), across)
