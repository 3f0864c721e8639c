"""Random spanning trees of a square grid of cells, batched: every maze advances with each vector instruction.

A tree is held as the direction in which each cell but the root is left on the way to the root: two packed
boards (`envs.maze.packed`), `vertical` and `forward`. South is (1, 1), north (1, 0), east (0, 1) and west
(0, 0). Stepping forward and back is shifting and masking; nothing is gathered or scattered.
"""

import jax
import jax.numpy as jnp
from flax import struct

from envs import random
from envs.maze import packed
from envs.maze.packed import Words

STEPS_PER_WORD = 16
"""A word gives as many directions of two bits."""


@struct.dataclass
class Tree:
    """A spanning tree; each field is a packed board.

    Attributes:
        vertical: cells that are left to the north or the south.
        forward: cells that are left to the south or the east.
        inner: cells that are left: all but the root.
    """

    vertical: Words
    forward: Words
    inner: Words


def depth_first(seeds: jax.Array, side: int) -> Tree:
    """The tree of a randomized depth-first search from a uniformly random cell.

    Each step goes to one of the neighbors not yet visited, uniformly, or back where there is none. Every
    cell but the root is entered once and left once for its parent, so 2 (cells - 1) steps suffice.

    Args:
        seeds: two random words a maze, uint32 [2, B].
        side: cells along a side.
    """
    first = random.index_below(random.batch_words(seeds, 0), jnp.uint32(side * side))
    position = packed.single(first // side, first % side, side)
    empty = packed.zeros(side, seeds.shape[1])
    everything = packed.within((jnp.full_like(first, packed.FULL),) * len(empty), side)
    inner = packed.without(everything, position)

    def step(index: jax.Array, carry: tuple[Words, ...]) -> tuple[Words, ...]:
        return _search_step(random.batch_words(seeds, index + 1), *carry, side=side)

    carry = (position, inner, empty, empty)
    _, _, vertical, forward = jax.lax.fori_loop(0, 2 * (side * side - 1), step, carry)
    return Tree(vertical=vertical, forward=forward, inner=inner)


def _search_step(
    word: jax.Array, position: Words, unseen: Words, vertical: Words, forward: Words, *, side: int
) -> tuple[Words, ...]:
    """One step forward or back; `word` is uniform, uint32 [B]."""
    beside = [packed.both(moved, unseen) for moved in packed.moves(position, side)]
    open_ = [packed.occupied(board).astype(jnp.uint32) for board in beside]
    before = [jnp.zeros_like(word), open_[0], open_[0] + open_[1], open_[0] + open_[1] + open_[2]]
    count = before[3] + open_[3]
    choice = random.index_below(word, count)
    # Where several directions have as many open ones before them, all but one of them are closed.
    north, west, east, south = (
        packed.where(packed.as_mask(choice == number), board)
        for number, board in zip(before, beside, strict=True)
    )
    ahead = packed.either(north, west, east, south)
    back = packed.where(packed.as_mask(count == 0), followed(position, vertical, forward, side))
    return (
        packed.either(ahead, back),
        packed.without(unseen, ahead),
        packed.either(vertical, north, south),  # the way back from a cell to the north is south
        packed.either(forward, north, west),
    )


def followed(position: Words, vertical: Words, forward: Words, side: int) -> Words:
    """Where each set cell leads, one step toward the root."""
    lengthwise, sideways = packed.both(position, vertical), packed.without(position, vertical)
    return packed.either(
        packed.raised(packed.both(lengthwise, forward), side + 1),
        packed.lowered(packed.without(lengthwise, forward), side + 1),
        packed.raised(packed.both(sideways, forward), 1),
        packed.lowered(packed.without(sideways, forward), 1),
    )


@struct.dataclass
class Walks:
    """Where Wilson's algorithm stands; boards are packed.

    Attributes:
        position: the cell where the walk is; empty once a maze is complete.
        start: the cell where it began.
        outside: cells that do not belong to the tree yet.
        vertical: as in `Tree`, for the direction in which a walk left a cell last.
        forward: likewise.
        joining: ones where a walk that has hit the tree is followed once more to join it, uint32 [B].
    """

    position: Words
    start: Words
    outside: Words
    vertical: Words
    forward: Words
    joining: jax.Array


def wilson(seeds: jax.Array, side: int) -> Tree:
    """A uniform spanning tree: loop-erased random walks, one after another, from a cell to the tree.

    Wilson, "Generating random spanning trees more quickly than the cover time" (STOC 1996). A cell remembers
    the direction in which the walk left it last: that alone erases loops. A walk that has hit the tree is
    followed from its start to join the tree, then the next starts. A direction that leads off the grid is
    drawn again. The loop ends when every maze of the batch is complete.

    Args:
        seeds: two random words a maze, uint32 [2, B].
        side: cells along a side.
    """
    batch = seeds.shape[1]
    middle = jnp.full(batch, side // 2)
    empty = packed.zeros(side, batch)
    everything = packed.within((jnp.full(batch, packed.FULL, jnp.uint32),) * len(empty), side)
    inner = packed.without(everything, packed.single(middle, middle, side))
    walks = Walks(
        position=lowest(inner),
        start=lowest(inner),
        outside=inner,
        vertical=empty,
        forward=empty,
        joining=jnp.zeros(batch, jnp.uint32),
    )

    def unfinished(carry: tuple[jax.Array, Walks]) -> jax.Array:
        return jnp.any(packed.occupied(carry[1].outside))

    def walk_on(carry: tuple[jax.Array, Walks]) -> tuple[jax.Array, Walks]:
        index, walks = carry
        word = random.batch_words(seeds, index)

        def step(number: jax.Array, walks: Walks) -> Walks:
            return _walk_step(word >> (2 * number).astype(jnp.uint32), walks, side)

        return index + 1, jax.lax.fori_loop(0, STEPS_PER_WORD, step, walks)

    _, walks = jax.lax.while_loop(unfinished, walk_on, (jnp.int32(0), walks))
    return Tree(vertical=walks.vertical, forward=walks.forward, inner=inner)


def _walk_step(bits: jax.Array, walks: Walks, side: int) -> Walks:
    """One step of a walk, or of its joining the tree; the two lowest bits are a direction, uint32 [B]."""
    position, joining = walks.position, walks.joining
    # A walk that joins the tree keeps its directions.
    drawn = packed.where(~joining, position)
    vertical = packed.either(
        packed.without(walks.vertical, drawn), packed.where(packed.as_mask((bits & 1) != 0), drawn)
    )
    forward = packed.either(
        packed.without(walks.forward, drawn), packed.where(packed.as_mask((bits & 2) != 0), drawn)
    )
    # Without barriers XLA computes what is shared here once for each word of each result.
    vertical, forward = jax.lax.optimization_barrier((vertical, forward))
    ahead = packed.within(followed(position, vertical, forward, side), side)
    off_grid = packed.as_mask(~packed.occupied(ahead))
    ahead = packed.either(ahead, packed.where(off_grid, position))
    outside = packed.without(walks.outside, packed.where(joining, position))
    hit = packed.as_mask(~packed.occupied(packed.both(ahead, outside)))
    hit, ahead, outside = jax.lax.optimization_barrier((hit, ahead, outside))
    joined = hit & joining
    start = packed.either(packed.where(~joined, walks.start), packed.where(joined, lowest(outside)))
    after = Walks(
        position=packed.either(packed.where(hit, start), packed.where(~hit, ahead)),
        start=start,
        outside=outside,
        vertical=vertical,
        forward=forward,
        joining=joining ^ hit,
    )
    return jax.lax.optimization_barrier(after)


def lowest(a: Words) -> Words:
    """The board with the lowest set cell alone; empty where there is none."""
    found, first = jnp.zeros(a[0].shape, bool), []
    for word in a:
        first.append(jnp.where(found, jnp.uint32(0), word & (0 - word)))
        found = found | (word != 0)
    return tuple(first)
