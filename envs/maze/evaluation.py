"""Levels for evaluation: random ones that are held out from training, and mazes of the literature."""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from envs import random
from envs.maze import boards
from envs.maze.generate import check, generate, stream
from envs.maze.held_out import is_held_out, level_fingerprint
from envs.maze.levels import Layout, make_layouts, solved_layouts
from envs.maze.named import NAMED, parse

CANDIDATES_A_ROUND, MAX_ROUNDS = 16, 64


def held_out_layouts(
    key: jax.Array,
    size: int,
    style: str,
    difficulty: jax.Array,
    distance: jax.Array,
    random_goal: bool = False,
) -> Layout:
    """Random levels for evaluation: each is held out from training. Runs on the host, in rounds.

    Levels differ from each other, unless there are too few of them.

    Args:
        key: `jax.random.key`.
        size: N, odd, at least 5.
        style: one of `envs.maze.generate.STYLES`.
        difficulty: in [0, 1], float32 [L].
        distance: in [0, 1], float32 [L].
        random_goal: True draws the goal too.

    Returns:
        Levels, leading axis L.

    Raises:
        ValueError: no maze of a difficulty that was asked for is held out, as where there are very few.
    """
    check(style, size)
    draw = partial(_held_out_round, size=size, style=style)
    levels, found, marks = _on_host(draw(key, difficulty, distance, random_goal))
    known: set[int] = set()
    settled = _first_seen(marks, found, known)
    for number in range(1, MAX_ROUNDS):
        if settled.all():
            break
        round_key = jax.random.fold_in(key, number)
        others, other_found, marks = _on_host(draw(round_key, difficulty, distance, random_goal))
        fresh = _first_seen(marks, other_found & ~settled, known)
        renewed = fresh | (other_found & ~found)
        for old, new in zip(jax.tree.leaves(levels), jax.tree.leaves(others), strict=True):
            old[renewed] = new[renewed]
        settled, found = settled | fresh, found | other_found
    if not found.all():
        failed = float(difficulty[np.argmin(found)])
        raise ValueError(
            f"none of {MAX_ROUNDS * CANDIDATES_A_ROUND} {style} mazes of {size} x {size} at difficulty "
            f"{failed:g} is held out from training; try a larger size, or a difficulty nearer to 1"
        )
    return jax.tree.map(jnp.asarray, levels)


def _on_host(tree: Any) -> Any:
    """Every leaf as a NumPy array that can be written to."""
    return jax.tree.map(np.array, tree)


@partial(jax.jit, static_argnames=("size", "style"))
def _held_out_round(
    key: jax.Array, difficulty: jax.Array, distance: jax.Array, random_goal: jax.Array, size: int, style: str
) -> tuple[Layout, jax.Array, jax.Array]:
    """One level for each member, whether it is held out (bool [L]), and its fingerprint (uint32 [L])."""
    count = difficulty.shape[0]
    words = random.words(random.key_words(key), 2 * count * CANDIDATES_A_ROUND)
    seeds = words.reshape(2, -1)
    walls = generate(style, size, seeds, jnp.repeat(difficulty, CANDIDATES_A_ROUND))
    held_out = is_held_out(walls).reshape(count, CANDIDATES_A_ROUND)
    chosen = jnp.arange(count) * CANDIDATES_A_ROUND + jnp.argmax(held_out, axis=1)
    level_seeds = stream(seeds[:, ::CANDIDATES_A_ROUND], 3)
    layouts = make_layouts(level_seeds, walls[..., chosen], distance, random_goal)
    marks = jax.vmap(level_fingerprint)(layouts.walls, layouts.goal, layouts.start)
    return layouts, held_out.any(1), marks


def _first_seen(marks: np.ndarray, wanted: np.ndarray, known: set[int]) -> np.ndarray:
    """Which of those wanted have a fingerprint that none before them has; adds these to the known ones."""
    fresh = np.zeros_like(wanted)
    for index in np.flatnonzero(wanted):
        fresh[index] = int(marks[index]) not in known
        known.add(int(marks[index]))
    return fresh


def named_layouts(names: tuple[str, ...] = tuple(NAMED)) -> Layout:
    """Mazes of the literature, all of 15 x 15, in the order of their names.

    Raises:
        ValueError: a name is not in `envs.maze.named.NAMED`.
    """
    unknown = [name for name in names if name not in NAMED]
    if unknown:
        raise ValueError(f"no maze is called {unknown[0]!r}; there are {', '.join(NAMED)}")
    index = jnp.array([list(NAMED).index(name) for name in names])
    return jax.tree.map(lambda leaf: leaf[index], _all_named())


@cache
def _all_named() -> Layout:
    plans = [parse(maze.text) for maze in NAMED.values()]
    walls = boards.pack(jnp.asarray(np.stack([plan.walls for plan in plans], axis=-1)))
    goal, start = (jnp.array([getattr(plan, end) for plan in plans]).T for end in ("goal", "start"))
    return jax.jit(solved_layouts)(walls, goal, start)
