"""Walls of random mazes, in batch: boards, uint32 [N, W, B], see `envs.maze.boards`; a set bit is a wall."""

from functools import partial

import jax
import jax.numpy as jnp

from envs import random
from envs.maze import boards, packed, spanning_trees
from envs.maze.packed import Words
from envs.maze.rooms import carve_rooms
from envs.maze.spanning_trees import Tree

STYLES = {
    "dfs": spanning_trees.depth_first,
    "wilson": spanning_trees.wilson,
    "rooms": spanning_trees.depth_first,
}
"""Names of the styles, and the spanning tree that each begins with."""
SHARE_BITS = 16
"""Bits of the probability that a wall is removed."""


def generate(style: str, size: int, seeds: jax.Array, difficulty: jax.Array) -> jax.Array:
    """Mazes: a spanning tree of the cells at odd coordinates, then fewer walls, by chance.

    * `dfs`: the tree of a randomised depth-first search from a random cell: long corridors, few branches.
    * `wilson`: a uniformly random spanning tree: short dead ends, many branches.
    * `rooms`: as `dfs`, then rectangular rooms are opened and dead ends cut back (`envs.maze.rooms`).

    Every wall that remains within the border, between two cells or at the corner of four, is removed with
    probability 1 - difficulty, rounded to a multiple of 2 ** -16. A corner may be free within four walls; all
    other free squares are connected, and in `rooms` all are.

    Args:
        style: one of `STYLES`.
        size: N, squares along a side with the border, odd, at least 5.
        seeds: two random words a maze, uint32 [2, B].
        difficulty: share of the walls that stay, in [0, 1], float32 [B]: 1 is a perfect maze, 0 an open room.

    Returns:
        Walls, uint32 [N, W, B]; border included.
    """
    check(style, size)
    tree_seeds, removal_seeds, room_seeds = (stream(seeds, number) for number in range(3))
    free = carved(STYLES[style](tree_seeds, (size - 1) // 2), size)
    # Perfect mazes are common, and need no random numbers for walls to be removed.
    free = jax.lax.cond(
        jnp.all(difficulty >= 1.0),
        lambda: free,
        lambda: free | removed(removal_seeds, size, 1.0 - difficulty),
    )
    walls = boards.full(size)[..., None] & ~free
    return carve_rooms(room_seeds, walls) if style == "rooms" else walls


def check(style: str, size: int) -> None:
    """Raises ValueError for a style or a size that does not exist."""
    if style not in STYLES:
        raise ValueError(f"style = {style!r} is not one of {tuple(STYLES)}")
    if size < 5 or size % 2 == 0:
        raise ValueError(f"size = {size} must be odd and at least 5; try {max(5, size + 1 - size % 2)}")


def stream(seeds: jax.Array, number: int) -> jax.Array:
    """Seeds of one of several independent sequences: uint32 [2, B]."""
    return random.finalise(seeds ^ random.finalise(jnp.uint32(number + 1)))


def carved(tree: Tree, size: int) -> jax.Array:
    """Free squares of the maze that a spanning tree of its cells makes: uint32 [N, W, B]."""
    side = (size - 1) // 2
    east, south = spanning_trees.passages(tree, side)
    words = boards.num_words(size)
    nothing = jnp.zeros((words, east[0].shape[0]), jnp.uint32)
    rows = [nothing]
    for row in range(side):
        take = partial(_row_of_cells, row=row, side=side, num_words=words)
        cells = jnp.stack([jnp.full_like(east[0], _odd_columns(word, side)) for word in range(words)])
        corridors = spread(take(east))
        across = jnp.concatenate([nothing[:1], corridors[:-1] >> 30])  # the last corridor of each word
        rows += [cells | corridors << 2 | across, spread(take(south)) << 1]
    return jnp.stack(rows)


def _odd_columns(word: int, side: int) -> int:
    """Bits of the columns 1, 3, ... of the cells that lie in one word of a row."""
    return sum(1 << (2 * cell + 1) for cell in range(16) if 16 * word + cell < side)


def _row_of_cells(a: Words, row: int, side: int, num_words: int) -> jax.Array:
    """One row of a packed board, sixteen cells a word: uint32 [W, B]."""
    pieces = []
    for word in range(num_words):
        cells = min(16, max(0, side - 16 * word))
        piece = packed.taken(a, row * (side + 1) + 16 * word)
        pieces.append(piece & jnp.uint32((1 << cells) - 1))
    return jnp.stack(pieces)


def spread(cells: jax.Array) -> jax.Array:
    """Moves bit j to bit 2 j, for sixteen bits (Morton, 1966)."""
    for shift, mask in ((8, 0x00FF00FF), (4, 0x0F0F0F0F), (2, 0x33333333), (1, 0x55555555)):
        cells = (cells | cells << shift) & jnp.uint32(mask)
    return cells


def removed(seeds: jax.Array, size: int, share: jax.Array) -> jax.Array:
    """Squares within the border, each with probability `share`, float32 [B]: uint32 [N, W, B].

    Whether a number of random digits r_k is below the share, of digits s_k, is decided from the last digit
    to the first: where r_k and s_k are equal, the answer so far stands, elsewhere it is s_k. That is the
    majority of the answer, s_k and not r_k, and 32 squares take it at once.
    """
    words = packed.num_words(size - 2)
    threshold = jnp.round(share * 2**SHARE_BITS).astype(jnp.uint32)
    number = jnp.arange(words)[:, None]

    def digit(index: jax.Array, below: jax.Array) -> jax.Array:
        lower = ~random.batch_words(seeds, index * words + number)
        wanted = packed.as_mask((threshold >> index.astype(jnp.uint32)) & 1 != 0)
        return (below & (lower | wanted)) | (lower & wanted)

    below = jax.lax.fori_loop(0, SHARE_BITS, digit, jnp.zeros((words, share.shape[0]), jnp.uint32))
    below |= packed.as_mask(threshold >= 2**SHARE_BITS)
    return packed.unpack(tuple(below), size)
