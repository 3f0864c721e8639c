"""Small changes of levels, as in ACCEL (Parker-Holder et al., "Evolving curricula", arXiv 2203.01302)."""

import jax
import jax.numpy as jnp

from envs import random
from envs.maze import packed
from envs.maze.distances import free_squares
from envs.maze.generate import stream
from envs.maze.held_out import is_held_out
from envs.maze.levels import Layout, solved_layouts
from envs.maze.packed import Words
from envs.maze.selection import choose

FLIP, MOVE_START, MOVE_GOAL = range(3)


def mutate(
    key: jax.Array,
    layouts: Layout,
    num_edits: jax.Array | int,
    keep_solvable: jax.Array | bool = True,
    random_goal: jax.Array | bool = False,
) -> Layout:
    """Changes each level by a few edits.

    An edit, each kind as likely as the others, sets or removes a wall within the border that is not under
    start or goal, or moves the start, or, with `random_goal`, the goal to another free square; squares are
    drawn uniformly. A level whose walls are held out from training is given up for its parent.

    Args:
        key: `jax.random.key`.
        layouts: the parents, leading axis L.
        num_edits: edits of each level, int []; some may cancel out.
        keep_solvable: True gives up levels without a path from start to goal for their parents, bool [].
        random_goal: whether the goal may move, bool [].

    Returns:
        Levels, leading axis L.
    """
    walls = layouts.walls.transpose(1, 2, 0)
    size, count = walls.shape[0], walls.shape[2]
    seeds = random.words(random.key_words(key), 2 * count).reshape(2, count)

    def edit(index: jax.Array, carry: tuple) -> tuple:
        words = [random.batch_words(stream(seeds, number), index) for number in range(2)]
        kind = random.index_below(words[0], jnp.where(random_goal, jnp.uint32(3), jnp.uint32(2)))
        return _edited(kind, words[1], *carry, side=size - 2)

    carry = (free_squares(walls), layouts.goal.T, layouts.start.T)
    free, goal, start = jax.lax.fori_loop(0, num_edits, edit, carry)
    border = walls & ~packed.unpack(free_squares(jnp.zeros_like(walls)), size)
    inner = packed.unpack(packed.without(free_squares(jnp.zeros_like(walls)), free), size)
    children = solved_layouts(border | inner, goal, start)
    given_up = is_held_out(border | inner) | (jnp.asarray(keep_solvable) & (children.shortest < 0))

    def keep(child: jax.Array, parent: jax.Array) -> jax.Array:
        return jnp.where(given_up.reshape(-1, *(1,) * (child.ndim - 1)), parent, child)

    return jax.tree.map(keep, children, layouts)


def _edited(
    kind: jax.Array, word: jax.Array, free: Words, goal: jax.Array, start: jax.Array, *, side: int
) -> tuple[Words, jax.Array, jax.Array]:
    """One edit of each level; goal and start are int32 [2, L]. Nothing happens where no square is left."""
    ends = packed.either(packed.at_square(goal, side), packed.at_square(start, side))
    flips = packed.as_mask(kind == FLIP)
    inside = packed.within((jnp.full_like(free[0], packed.FULL),) * len(free), side)
    squares = packed.without(packed.either(packed.where(flips, inside), free), ends)
    possible = packed.occupied(squares)
    square = choose(word, squares, side)
    flipped = packed.where(flips & packed.as_mask(possible), packed.at_square(square, side))
    free = tuple(old ^ bit for old, bit in zip(free, flipped, strict=True))
    goal = jnp.where(possible & (kind == MOVE_GOAL), square, goal)
    start = jnp.where(possible & (kind == MOVE_START), square, start)
    return free, goal, start
