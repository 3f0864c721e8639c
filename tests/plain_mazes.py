"""Mazes in plain Python, to compare with: grids of bools, True for a wall."""

from collections import deque
from functools import cache, partial
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np

from envs.maze.generate import generate

AT_ONCE = 1024


@cache
def generator(style, size):
    return jax.jit(partial(generate, style, size))


def draw(style, size, seed, count, difficulty=1.0):
    """Walls of random mazes: bool [count, N, N]; difficulty a number, or one for each maze.

    All are drawn in batches of one size, so that one program serves all tests.
    """
    batches = -(-count // AT_ONCE)
    seeds = jax.random.bits(jax.random.key(seed), (batches, 2, AT_ONCE), jnp.uint32)
    difficulty = np.resize(np.asarray(difficulty, np.float32), (batches, AT_ONCE))
    walls = [generator(style, size)(*batch) for batch in zip(seeds, difficulty, strict=True)]
    return to_grids(np.concatenate(walls, axis=-1)[..., :count])


def to_grids(walls):
    """Boards, uint32 [N, W, B], as bool [B, N, N]."""
    walls = np.asarray(walls)
    columns = [walls[:, column // 32] >> np.uint32(column % 32) & 1 for column in range(len(walls))]
    return np.stack(columns, axis=-1).astype(bool).swapaxes(0, 1)


def to_boards(grids):
    """The inverse."""
    size = grids.shape[-1]
    padded = np.pad(grids, ((0, 0), (0, 0), (0, -size % 32))).reshape(*grids.shape[:2], -1, 32)
    words = (padded << np.arange(32, dtype=np.uint32)).sum(-1, dtype=np.uint32)
    return jnp.asarray(words.transpose(1, 2, 0))


def distinct(grids):
    """The different ones among mazes, bool [D, N, N], and how often each occurs, int [D]."""
    packed = np.packbits(grids.reshape(len(grids), -1), axis=1)
    _, first, counts = np.unique(packed, axis=0, return_index=True, return_counts=True)
    return grids[first], counts


def search(walls, goal):
    """Steps from each square to the goal by breadth-first search: int [N, N], -1 where there is no path."""
    distance = np.full(walls.shape, -1)
    distance[tuple(goal)] = 0
    queue = deque([tuple(goal)])
    while queue:
        row, column = queue.popleft()
        for square in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            if not walls[square] and distance[square] < 0:
                distance[square] = distance[row, column] + 1
                queue.append(square)
    return distance


def is_spanning_tree(walls):
    """Whether all cells at odd coordinates are joined, without a cycle, and everything else is wall."""
    cells = walls[1::2, 1::2].size
    corners_closed = walls[::2, ::2].all() and walls[0].all() and walls[-1].all() and walls[:, 0].all()
    joined = (search(walls, (1, 1))[1::2, 1::2] >= 0).all()
    # A connected graph without a cycle has one edge less than nodes; each edge is an open square.
    return bool(corners_closed and walls[:, -1].all() and joined and (~walls).sum() == 2 * cells - 1)


def open_edges(walls):
    """The set of squares between cells that are open, of one maze."""
    return frozenset(
        (row, column) for row, column in np.argwhere(~walls).tolist() if (row % 2, column % 2) != (1, 1)
    )


def cell_neighbors(cell, side):
    for step in ((-1, 0), (0, -1), (0, 1), (1, 0)):
        other = cell[0] + step[0], cell[1] + step[1]
        if 0 <= other[0] < side and 0 <= other[1] < side:
            yield other


def edge_between(a, b):
    return a[0] + b[0] + 1, a[1] + b[1] + 1


@cache
def spanning_trees(side):
    """All spanning trees of a grid of cells, each as a set of open edges."""
    cells = [(row, column) for row in range(side) for column in range(side)]
    pairs = [(a, b) for a in cells for b in cell_neighbors(a, side) if a < b]
    return [
        frozenset(edge_between(a, b) for a, b in chosen)
        for chosen in combinations(pairs, len(cells) - 1)
        if joins_all(chosen, cells)
    ]


def joins_all(pairs, cells):
    part = {cell: {cell} for cell in cells}
    for a, b in pairs:
        union = part[a] | part[b]
        part.update(dict.fromkeys(union, union))
    return len(part[cells[0]]) == len(cells)


@cache
def depth_first_trees(side):
    """Probability of each spanning tree, as a set of open edges, under a depth-first search from any cell."""
    cells = [(row, column) for row in range(side) for column in range(side)]
    found = {}

    def visit(path, seen, edges, probability):
        if len(seen) == len(cells):
            found[edges] = found.get(edges, 0.0) + probability
            return
        ahead = [cell for cell in cell_neighbors(path[-1], side) if cell not in seen]
        if not ahead:
            visit(path[:-1], seen, edges, probability)
        for cell in ahead:
            edge = edge_between(path[-1], cell)
            visit((*path, cell), seen | {cell}, edges | {edge}, probability / len(ahead))

    for cell in cells:
        visit((cell,), frozenset([cell]), frozenset(), 1.0 / len(cells))
    return found


def surprise(counts, expected):
    """Pearson's statistic, standardized: about N(0, 1) if counts follow what is expected."""
    counts, expected = np.asarray(counts, float), np.asarray(expected, float)
    freedom = len(counts) - 1
    statistic = ((counts - expected) ** 2 / expected).sum()
    return (statistic - freedom) / np.sqrt(2 * freedom)


def tree_surprise(grids, probabilities):
    """Surprise of mazes about the probabilities of trees; fails on a tree that has none."""
    counts = dict.fromkeys(probabilities, 0)
    for walls, number in zip(*distinct(grids), strict=True):
        counts[open_edges(walls)] += int(number)  # a KeyError where the tree is impossible
    expected = [len(grids) * probability for probability in probabilities.values()]
    return surprise(list(counts.values()), expected)
