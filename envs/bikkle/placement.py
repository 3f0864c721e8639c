"""Where pellets go: rejection sampling with a fixed number of candidates.

The first valid one of K independent uniform points has the distribution of plain rejection sampling, but
for the event that none is valid, whose probability is below (closed share of the arena) ** K.
"""

from typing import TypeAlias

import jax
import jax.numpy as jnp

from envs import random

Board: TypeAlias = tuple[jax.Array, jax.Array]
"""x and y of points, float32 [...] each."""

FAR = 9.0
"""Above every squared distance within the unit square."""
MAX_TOUCHED = 5
"""Points further than r from each other of which a disc of radius r can hold: 5 at most."""
MAX_CANDIDATES = 32
FREE = 2**30
"""Above every score of a candidate that is not free."""


def clearances(candidates: Board, board: Board, mask: jax.Array) -> jax.Array:
    """Squared distance of each candidate to the nearest pellet.

    Args:
        candidates: [K].
        board: the pellets, [N].
        mask: bool [N], which pellets count.

    Returns:
        float32 [K]; `FAR` where no pellet counts.
    """
    nearest = jnp.full_like(candidates[0], FAR)
    for i in range(mask.shape[0]):
        squared = squared_distance(candidates, (board[0][i], board[1][i]))
        nearest = jnp.minimum(nearest, jnp.where(mask[i], squared, FAR))
    return nearest


def squared_distance(a: Board, b: Board) -> jax.Array:
    """Squared Euclidean distance between points, with broadcasting: float32 [...]."""
    return (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2


def first_free(words: jax.Array, clearance: jax.Array, squared_radius: jax.Array) -> jax.Array:
    """The word of the first candidate with a clearance above the radius, or else of the widest clearance.

    Both reductions are over integers, which XLA vectorizes on CPU where it does not for floats.

    Args:
        words: uint32 [K], the candidates.
        clearance: squared distance to the nearest pellet, float32 [K].
        squared_radius: float32 [].

    Returns:
        uint32 [].
    """
    index = jnp.arange(words.shape[0], dtype=jnp.int32)
    widest = (clearance * 2**20).astype(jnp.int32) * MAX_CANDIDATES + index
    best = jnp.max(jnp.where(clearance > squared_radius, FREE - index, widest))
    taken = jnp.where(best > FREE - MAX_CANDIDATES, FREE - best, best % MAX_CANDIDATES)
    return jnp.bitwise_or.reduce(jnp.where(index == taken, words, jnp.uint32(0)))


def respawn(
    words: jax.Array, board: Board, kept: jax.Array, touched: jax.Array, squared_radius: jax.Array
) -> Board:
    """Takes touched pellets off the board and puts them back, one after another.

    Each goes to the first candidate that is free of every pellet on the board. A candidate before the one
    taken was not free then and is not free later, so each further pellet draws from fresh points.

    Args:
        words: uint32 [K], uniform: the candidates, shared.
        board: the pellets, [N].
        kept: bool [N], pellets that are there and untouched.
        touched: bool [N], pellets to be put back, 5 at most.
        squared_radius: of the disc to be free, float32 [].

    Returns:
        The board, [N].
    """
    x, y = board
    candidates = random.points(words)
    clearance = clearances(candidates, board, kept)
    flags = jnp.int32(1) << jnp.arange(touched.shape[0], dtype=jnp.int32)
    waiting = jnp.sum(jnp.where(touched, flags, 0))
    for _ in range(min(MAX_TOUCHED, touched.shape[0])):
        place = random.points(first_free(words, clearance, squared_radius))
        first = waiting & -waiting
        x = jnp.where(flags == first, place[0], x)
        y = jnp.where(flags == first, place[1], y)
        waiting ^= first
        clearance = jnp.minimum(clearance, squared_distance(candidates, place))
    return x, y


def scatter(words: jax.Array, squared_radius: jax.Array) -> Board:
    """Places pellets one after another, each free of those before it.

    Args:
        words: uint32 [N, K], uniform: candidates of each.
        squared_radius: of the disc to be free, float32 [].

    Returns:
        The board, [N].
    """
    slots = jnp.arange(words.shape[0])

    def put(board: Board, slot_and_words: tuple[jax.Array, jax.Array]) -> tuple[Board, None]:
        slot, candidates = slot_and_words
        x, y = free_point(candidates, board, slots < slot, squared_radius)
        return (jnp.where(slots == slot, x, board[0]), jnp.where(slots == slot, y, board[1])), None

    empty = jnp.zeros(slots.shape, jnp.float32)
    return jax.lax.scan(put, (empty, empty), (slots, words))[0]


def free_point(words: jax.Array, board: Board, mask: jax.Array, squared_radius: jax.Array) -> Board:
    """A uniform point that is free of the pellets in `mask`: [].

    Args:
        words: uint32 [K], uniform: the candidates.
        board: the pellets, [N].
        mask: bool [N], which pellets count.
        squared_radius: of the disc to be free, float32 [].
    """
    x, y = random.points(words)
    # One reduction: `clearances` is faster to run, but a reset is run rarely and compiled often.
    squared = squared_distance((x[:, None], y[:, None]), board)  # [K, N]
    clearance = jnp.where(mask, squared, FAR).min(axis=1)
    return random.points(first_free(words, clearance, squared_radius))
