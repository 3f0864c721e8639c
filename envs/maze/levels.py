"""Levels: walls, a goal, a start and the distances between them; those that training draws."""

import jax
import jax.numpy as jnp
from flax import struct

from envs import random
from envs.maze import packed
from envs.maze.distances import Distances, as_grid, at_most, distances_to, free_squares
from envs.maze.generate import generate
from envs.maze.held_out import is_held_out
from envs.maze.selection import choose

FEWEST_CANDIDATES = 24
"""Mazes drawn at least, to find some that are not held out: all of 24 are with probability 8 ** -24."""


@struct.dataclass
class Layout:
    """Levels; leading axis L, or none for one level. Positions are row and column.

    Attributes:
        walls: 1 is wall, border included, uint32 [L, N, W]; see `envs.maze.boards`.
        goal: int32 [L, 2].
        start: int32 [L, 2].
        distance_map: steps from each square to the goal, int16 [L, N, N]; -1 where there is no path.
        shortest: steps from the start to the goal, int32 [L]; -1 where there is no path.
    """

    walls: jax.Array
    goal: jax.Array
    start: jax.Array
    distance_map: jax.Array
    shortest: jax.Array


def make_layouts(seeds: jax.Array, walls: jax.Array, distance: jax.Array, random_goal: jax.Array) -> Layout:
    """Puts a goal and a start into mazes.

    The goal is the bottom-right square, or uniform over the free squares with a free neighbor. The start is
    uniform over the squares, other than the goal, from which a shortest path takes at most
    max(1, floor(distance * largest)) steps; `largest` is the largest of these in the maze.

    Args:
        seeds: two random words a maze, uint32 [2, L].
        walls: uint32 [N, W, L]; the bottom-right square is free.
        distance: in [0, 1], float32 [L].
        random_goal: True draws the goal, bool [] or [L].

    Returns:
        Levels, leading axis L.
    """
    side = walls.shape[0] - 2
    free = free_squares(walls)
    beside_free = packed.both(free, packed.neighbors(free, side))
    drawn = choose(random.batch_words(seeds, 0), beside_free, side)
    goal = jnp.where(random_goal, drawn, side)
    found = distances_to(packed.at_square(goal, side), free, side)
    bound = jnp.floor(distance * found.largest.astype(jnp.float32) + 1e-3).astype(jnp.int32)
    near = packed.without(at_most(found, jnp.maximum(bound, 1)), packed.at_square(goal, side))
    start = choose(random.batch_words(seeds, 1), near, side)
    return _assembled(walls, goal, start, found)


def solved_layouts(walls: jax.Array, goal: jax.Array, start: jax.Array) -> Layout:
    """Levels of given walls, uint32 [N, W, L], goals and starts, int32 [2, L]: adds the distances."""
    side = walls.shape[0] - 2
    found = distances_to(packed.at_square(goal, side), free_squares(walls), side)
    return _assembled(walls, goal, start, found)


def _assembled(walls: jax.Array, goal: jax.Array, start: jax.Array, found: Distances) -> Layout:
    size = walls.shape[0]
    at_start = packed.at_square(start, size - 2)
    shortest = jnp.zeros(start.shape[1], jnp.int32)
    for place, digit in enumerate(found.digits):
        shortest += packed.occupied(packed.both(digit, at_start)).astype(jnp.int32) << place
    solvable = packed.occupied(packed.both(found.reached, at_start))
    return Layout(
        walls=walls.transpose(2, 0, 1),
        goal=goal.T,
        start=start.T,
        distance_map=as_grid(found, size).transpose(2, 0, 1),
        shortest=jnp.where(solvable, shortest, -1),
    )


def training_layouts(
    key: jax.Array,
    size: int,
    style: str,
    difficulty: jax.Array,
    distance: jax.Array,
    random_goal: jax.Array | bool = False,
) -> Layout:
    """Random levels, none of which is held out.

    A maze that is held out is replaced by the walls of the next one of the batch that is not. All members of
    equal difficulty are drawn alike, so each has the distribution of `generate`, conditioned on not being
    held out; an eighth of the batch shares its walls with another member, not the start.

    Args:
        key: `jax.random.key`.
        size: N, odd, at least 5.
        style: one of `envs.maze.generate.STYLES`.
        difficulty: in [0, 1], float32 [L]. Where it differs among members, so may that of a replacement.
        distance: in [0, 1], float32 [L].
        random_goal: True draws the goal too, bool [].

    Returns:
        Levels, leading axis L.
    """
    count = difficulty.shape[0]
    each = -(-FEWEST_CANDIDATES // count)
    words = random.words(random.key_words(key), 2 * count * (each + 1))
    seeds, level_seeds = words[: 2 * count * each].reshape(2, -1), words[2 * count * each :].reshape(2, -1)
    walls = generate(style, size, seeds, jnp.repeat(difficulty, each))
    chosen = next_true(~is_held_out(walls))[::each]
    return make_layouts(level_seeds, walls[..., chosen], distance, jnp.asarray(random_goal))


def next_true(flags: jax.Array) -> jax.Array:
    """For each index the first one from there on, then from the front, whose flag is set: int32 [L]."""
    count = flags.shape[0]
    index = jnp.where(flags, jnp.arange(count), 2 * count)
    following = jax.lax.cummin(index, reverse=True)
    return jnp.minimum(jnp.where(following < count, following, following[0]), count - 1)
