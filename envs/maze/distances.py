"""Lengths of shortest paths to a goal: a wavefront over packed boards, batched.

A distance is held in binary, one packed board a digit: the squares that the wave reaches in a step get the
digits of its number by one `or` each, and comparing all distances of a maze with a bound takes a few
operations a digit.
"""

import jax
import jax.numpy as jnp
from flax import struct

from envs.maze import boards, packed
from envs.maze.packed import Words

UNREACHABLE = -1
"""Distance of walls, and of squares from which no path leads to the goal."""
LOW_DIGITS = 3
"""In 2 ** 3 steps only so many digits change; then it is looked whether all waves have come to rest."""


@struct.dataclass
class Distances:
    """Distance of each square to the goal; boards are packed, of side N - 2.

    Attributes:
        digits: the lowest binary digit first; zero where `reached` is not set.
        reached: squares from which a path leads to the goal, which is one of them.
        largest: the largest distance, int32 [B].
    """

    digits: tuple[Words, ...]
    reached: Words
    largest: jax.Array


def distances_to(goal: Words, free: Words, side: int) -> Distances:
    """Distances to the goal over free squares.

    Args:
        goal: packed boards with one square set, which is free.
        free: packed boards of the squares that are no walls.
        side: N - 2, of the packed boards.
    """
    batch = goal[0].shape[0]
    nowhere = packed.zeros(side, batch)
    digits = (nowhere,) * max(LOW_DIGITS, (side * side - 1).bit_length())

    def alive(carry: tuple) -> jax.Array:
        return jnp.any(packed.occupied(carry[1]))

    def steps(carry: tuple) -> tuple:
        """As many steps as the low digits count, which leave the higher ones as they are."""
        number, front, untouched, digits, largest = carry

        def step(index: jax.Array, carry: tuple) -> tuple:
            front, passed, untouched, low_digits, largest = carry
            passed, low_digits = packed.either(passed, front), _marked(low_digits, index, front)
            front = packed.both(packed.neighbors(front, side), untouched)
            largest += packed.occupied(front).astype(jnp.int32)
            return front, passed, packed.without(untouched, front), low_digits, largest

        carry = (front, nowhere, untouched, digits[:LOW_DIGITS], largest)
        front, passed, untouched, low, largest = jax.lax.fori_loop(0, 1 << LOW_DIGITS, step, carry)
        high = _marked(digits[LOW_DIGITS:], number, passed)
        return number + 1, front, untouched, (*low, *high), largest

    untouched = packed.without(free, goal)
    carry = (jnp.int32(0), goal, untouched, digits, jnp.zeros(batch, jnp.int32))
    _, _, untouched, digits, largest = jax.lax.while_loop(alive, steps, carry)
    return Distances(digits=digits, reached=packed.without(free, untouched), largest=largest)


def _marked(digits: tuple[Words, ...], number: jax.Array, squares: Words) -> tuple[Words, ...]:
    """Sets the digits of a number, int32 [], on squares where they are zero so far."""
    return tuple(
        packed.either(digit, packed.where(packed.as_mask((number >> place) & 1 != 0), squares))
        for place, digit in enumerate(digits)
    )


def at_most(distances: Distances, bound: jax.Array) -> Words:
    """Squares reached whose distance is at most `bound`, int32 [B], as packed boards."""
    num_digits = len(distances.digits)
    digits = jnp.stack([jnp.stack(digit) for digit in distances.digits])  # [K, M, B]
    # Larger bounds than the digits can tell from each other hold for all.
    bound = jnp.minimum(bound, (1 << num_digits) - 1)

    def compare(number: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        equal, less = carry
        place = num_digits - 1 - number
        wanted, digit = packed.as_mask((bound >> place) & 1 != 0), digits[place]
        return equal & ~(digit ^ wanted), less | (equal & wanted & ~digit)

    reached = jnp.stack(distances.reached)
    equal, less = jax.lax.fori_loop(0, num_digits, compare, (reached, jnp.zeros_like(reached)))
    return tuple(equal | less)


def as_grid(distances: Distances, size: int) -> jax.Array:
    """Distances as numbers: int16 [N, N, B], `UNREACHABLE` for walls and what cannot reach the goal."""
    # One pass over all digits at once: uint32 [N, W, K + 1, B].
    stacked = tuple(jnp.stack(words) for words in zip(distances.reached, *distances.digits, strict=True))
    rows = packed.unpack(stacked, size)
    total = jnp.zeros((), jnp.int16)
    for place in range(len(distances.digits)):
        total += boards.unpack(rows[:, :, place + 1], size).astype(jnp.int16) << place
    return jnp.where(boards.unpack(rows[:, :, 0], size), total, jnp.int16(UNREACHABLE))


def distance_grid(walls: jax.Array, goal: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Distances to a goal in each maze, as numbers.

    Args:
        walls: uint32 [N, W, B].
        goal: row and column, int32 [2, B]; a free square.

    Returns:
        Distances, int16 [N, N, B], `UNREACHABLE` where there is no path, and the largest of each, int32 [B].
    """
    size = walls.shape[0]
    found = distances_to(packed.at_square(goal, size - 2), free_squares(walls), size - 2)
    return as_grid(found, size), found.largest


def free_squares(walls: jax.Array) -> Words:
    """Squares that are no walls, as packed boards, of walls uint32 [N, W, B]."""
    side = walls.shape[0] - 2
    return packed.within(packed.pack(~walls), side)
