"""Mazes are spanning trees with some walls removed, drawn as they should be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_mazes import (
    AT_ONCE,
    depth_first_trees,
    distinct,
    draw,
    generator,
    is_spanning_tree,
    search,
    spanning_trees,
    tree_surprise,
)

from envs.maze.generate import generate

TREES = st.sampled_from(["dfs", "wilson"])
SIZES = st.sampled_from([5, 9, 15])
SIZES_OF_ROOMS = st.sampled_from([5, 15])
SEEDS = st.integers(0, 2**31 - 1)
SHARES = st.floats(0.0, 1.0, width=32)
few = settings(max_examples=25, deadline=None)


@few
@given(TREES, SIZES, SEEDS)
def test_a_perfect_maze_is_a_spanning_tree(style, size, seed):
    for walls in draw(style, size, seed, 16):
        assert is_spanning_tree(walls)


def test_a_maze_wider_than_a_word_is_a_spanning_tree():
    grids = draw("dfs", 35, 0, 8)
    assert all(is_spanning_tree(walls) for walls in grids)
    assert len(distinct(grids)[0]) == 8


@few
@given(TREES, SIZES, SEEDS, SHARES)
def test_with_fewer_walls_all_is_connected_but_corners_within_four_walls(style, size, seed, difficulty):
    for walls in draw(style, size, seed, 16, difficulty):
        assert not walls[1::2, 1::2].any()
        assert walls[0].all() and walls[-1].all() and walls[:, 0].all() and walls[:, -1].all()
        for row, column in np.argwhere(~walls & (search(walls, (1, 1)) < 0)):
            assert (row % 2, column % 2) == (0, 0)
            assert walls[row - 1, column] and walls[row + 1, column]
            assert walls[row, column - 1] and walls[row, column + 1]


@few
@given(SIZES_OF_ROOMS, SEEDS, SHARES)
def test_rooms_are_connected_with_the_bottom_right_cell_and_with_nothing_else_free(size, seed, difficulty):
    for walls in draw("rooms", size, seed, 16, difficulty):
        assert walls[0].all() and walls[-1].all() and walls[:, 0].all() and walls[:, -1].all()
        assert not walls[size - 2, size - 2]
        assert (~walls == (search(walls, (size - 2, size - 2)) >= 0)).all()
        rooms = ~(walls[:-2, :-2] | walls[1:-1, 1:-1] | walls[2:, 2:] | walls[:-2, 2:] | walls[2:, :-2])
        assert rooms.any()


def test_rooms_have_fewer_dead_ends_than_the_maze_that_they_were_carved_from():
    def dead_ends(walls):
        beside = sum(~np.roll(walls, step, axis) for step in (1, -1) for axis in (1, 2))
        return (~walls & (beside == 1)).sum()

    # The corridors that are left end where cutting stopped: seven squares are cut, a corridor may be longer.
    assert dead_ends(draw("rooms", 15, 0, 256)) < 0.3 * dead_ends(draw("dfs", 15, 0, 256))


@pytest.mark.parametrize("style", ["dfs", "wilson"])
def test_the_four_trees_of_four_cells_are_equally_likely(style):
    # By symmetry: a tree of a 2 x 2 grid leaves out one of the four edges.
    probabilities = depth_first_trees(2)
    assert sorted(probabilities.values()) == pytest.approx([0.25] * 4)
    assert abs(tree_surprise(draw(style, 5, 1, 40_000), probabilities)) < 4.0


def test_wilson_draws_each_of_the_192_trees_of_nine_cells_equally_often():
    # By the matrix-tree theorem, the 3 x 3 grid has 192 spanning trees.
    probabilities = dict.fromkeys(spanning_trees(3), 1 / 192)
    assert len(probabilities) == 192
    assert abs(tree_surprise(draw("wilson", 7, 2, 50_000), probabilities)) < 4.0


def test_depth_first_search_draws_the_trees_of_nine_cells_as_often_as_the_plain_search_does():
    probabilities, grids = depth_first_trees(3), draw("dfs", 7, 3, 50_000)
    assert sum(probabilities.values()) == pytest.approx(1.0)
    assert abs(tree_surprise(grids, probabilities)) < 4.0
    # 88 of 192 trees: an edge between two branches is never left out. The test tells apart how often.
    assert tree_surprise(grids, dict.fromkeys(probabilities, 1 / len(probabilities))) > 100.0


def test_each_wall_is_removed_with_the_probability_asked_for_and_independently():
    count, difficulties = 60_416, np.array([0.0, 0.3, 0.75, 1.0], np.float32)
    each = np.tile(difficulties, count // 4)
    perfect, grids = draw("dfs", 9, 4, count), draw("dfs", 9, 4, count, each)
    assert not (grids & ~perfect).any()  # the same tree: walls only go
    inner = np.zeros((9, 9), bool)
    inner[1:-1, 1:-1] = True
    for difficulty in difficulties:
        before, after = (mazes[each == difficulty][:, inner] for mazes in (perfect, grids))
        stayed = after.sum(0) / before.sum(0).clip(1)
        if difficulty in (0.0, 1.0):
            assert (stayed[before.any(0)] == difficulty).all()
            continue
        # 33 of 49 squares are walls of some mazes; corners, of all: all of the 15,000. Five standard errors.
        error = np.sqrt(difficulty * (1 - difficulty) / before.sum(0).clip(1))
        assert (np.abs(stayed - difficulty) < 5 * error)[before.any(0)].all()
        corners = after.reshape(-1, 7, 7)[:, 1::2, 1::2].reshape(-1, 9)
        correlation = np.corrcoef(corners.T) - np.eye(9)
        assert np.abs(correlation).max() < 5 / np.sqrt(len(corners))


@pytest.mark.parametrize("style", ["dfs", "wilson", "rooms"])
def test_a_maze_depends_on_its_own_seeds_alone(style):
    seeds = jax.random.bits(jax.random.key(0), (2, AT_ONCE), jnp.uint32)
    order = jax.random.permutation(jax.random.key(1), AT_ONCE)
    difficulty = jnp.full(AT_ONCE, 0.7)
    mazes = generator(style, 15)(seeds, difficulty)
    assert (generator(style, 15)(seeds[:, order], difficulty) == mazes[..., order]).all()
    assert len(np.unique(np.asarray(mazes), axis=2).T) > 0.95 * AT_ONCE


def test_rooms_are_anywhere():
    corners = ~draw("rooms", 15, 5, 20_000)[:, 2:-1:2, 2:-1:2]  # a corner of four cells is free in rooms only
    share = corners.mean(0)
    assert share.min() > 0.05
    np.testing.assert_allclose(share, share[::-1], atol=0.02)
    np.testing.assert_allclose(share, share.T, atol=0.02)


@pytest.mark.parametrize(
    ("style", "size", "message"),
    [
        ("dfs", 8, "size = 8 must be odd and at least 5; try 9"),
        ("dfs", 3, "size = 3 must be odd and at least 5; try 5"),
        ("prim", 9, "style = 'prim' is not one of"),
    ],
)
def test_styles_and_sizes_that_do_not_exist_are_refused(style, size, message):
    with pytest.raises(ValueError, match=message):
        generate(style, size, jnp.zeros((2, 1), jnp.uint32), jnp.ones(1))
