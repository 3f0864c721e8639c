"""Walls of random mazes, in batch: boards, uint32 [N, W, B], see `envs.maze.boards`; a set bit is a wall."""

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

    * `dfs`: the tree of a randomized depth-first search from a random cell: long corridors, few branches.
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
    return random.finalize(seeds ^ random.finalize(jnp.uint32(number + 1)))


def carved(tree: Tree, size: int) -> jax.Array:
    """Free squares of the maze that a spanning tree of its cells makes: uint32 [N, W, B].

    Cell (i, j) is square (2 i + 1, 2 j + 1), and the way on which it is left begins with a square beside it.
    """
    side = (size - 1) // 2
    boards_of_tree = (tree.vertical, tree.forward, tree.inner)
    vertical, forward, inner = (_cell_rows(board, side) for board in boards_of_tree)
    west, east = (inner & ~vertical & turned for turned in (~forward, forward))
    north, south = (inner & vertical & turned for turned in (~forward, forward))
    cells = jnp.array([_odd_columns(word, side) for word in range(boards.num_words(size))], jnp.uint32)
    # The last cell of a word opens the first square of the next word.
    across = jnp.pad(spread(east)[:, :-1] >> 30, ((0, 0), (1, 0), (0, 0)))
    within_rows = cells[:, None] | spread(west) | spread(east) << 2 | across
    between_rows = spread(south | boards.north(north)) << 1
    rows = jnp.stack([within_rows, between_rows], axis=1).reshape(size - 1, *within_rows.shape[1:])
    return jnp.concatenate([jnp.zeros_like(rows[:1]), rows])


def _odd_columns(word: int, side: int) -> int:
    """Bits of the columns 1, 3, ... of the cells that lie in one word of a row."""
    return sum(1 << (2 * cell + 1) for cell in range(16) if 16 * word + cell < side)


def _cell_rows(a: Words, side: int) -> jax.Array:
    """A packed board row by row, sixteen cells a word: uint32 [side, W, B]."""
    pieces = []
    for row in range(side):
        for first in range(0, side + 1, 16):
            cells = (1 << min(16, side - first)) - 1
            pieces.append(packed.taken(a, row * (side + 1) + first) & jnp.uint32(cells))
    return jnp.stack(pieces).reshape(side, -1, *a[0].shape)


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
