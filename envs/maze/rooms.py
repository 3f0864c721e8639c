"""Rooms and corridors: rectangles within a maze whose dead ends are cut back."""

import jax
import jax.numpy as jnp

from envs import random
from envs.maze import boards

CELLS_PER_ROOM = 12
SMALLEST = 2
"""Cells along the shorter sides of the smallest rooms."""


def carve_rooms(seeds: jax.Array, walls: jax.Array) -> jax.Array:
    """Opens rectangular rooms in mazes and cuts back the dead ends outside of them.

    A room spans 2 to side / 2 cells (2 in grids of fewer than six cells a side) along either axis, uniformly,
    at a uniform place; there is one for every twelve cells, at least one, and rooms may overlap. Dead ends
    become shorter by as many squares as a row has cells; the bottom-right cell is never filled. What is free
    stays connected, and squares without a free neighbour are filled.

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
    kept = rooms | corner

    def cut_back(_: jax.Array, free: jax.Array) -> jax.Array:
        return free & (kept | beside_several(free))

    free = boards.full(size)[..., None] & ~walls | rooms
    return boards.full(size)[..., None] & ~jax.lax.fori_loop(0, side, cut_back, free)


def _span(words: jax.Array, side: int) -> tuple[jax.Array, jax.Array]:
    """First cell and number of cells along an axis, int32 [B] each, from words uint32 [2, B]."""
    largest = max(SMALLEST, side // 2)
    length = SMALLEST + random.index_below(words[0], jnp.uint32(largest - SMALLEST + 1))
    first = random.index_below(words[1], side - length + 1)
    return first.astype(jnp.int32), length.astype(jnp.int32)


def rectangle(top: jax.Array, left: jax.Array, height: jax.Array, width: jax.Array, size: int) -> jax.Array:
    """Boards with a rectangle of set squares: int32 [B] each -> uint32 [N, W, B]."""
    index = jnp.arange(size)[:, None]
    rows = (index >= top) & (index < top + height)
    columns = (index >= left) & (index < left + width)
    return boards.pack(rows[:, None] & columns[None])


def beside_several(free: jax.Array) -> jax.Array:
    """Squares with two free neighbours or more: uint32 [N, W, B]."""
    north, south, west, east = (move(free) for move in (boards.north, boards.south, boards.west, boards.east))
    return (north & south) | (west & east) | ((north | south) & (west | east))
