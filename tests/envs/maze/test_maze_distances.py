"""Packed boards, and distances against a plain breadth-first search."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_mazes import search, to_boards, to_grids

from envs.maze import packed
from envs.maze.boards import unpack
from envs.maze.distances import at_most, distance_grid, distances_to, free_squares
from envs.maze.selection import choose, nth_bit

SIZES = st.sampled_from([5, 9, 15])
SEEDS = st.integers(0, 2**31 - 1)


def random_walls(size, seed, count, share=0.4):
    """Walls at random, [count, N, N], some squares out of reach; free squares as goals, [2, count]."""
    rng = np.random.default_rng(seed)
    walls = np.pad(
        rng.random((count, size - 2, size - 2)) < share, ((0, 0), (1, 1), (1, 1)), constant_values=True
    )
    goal = rng.integers(1, size - 1, (2, count))
    walls[np.arange(count), goal[0], goal[1]] = False
    return walls, goal


@cache
def solver():
    return jax.jit(distance_grid)


def check_distances(walls, goal):
    distances, largest = solver()(to_boards(walls), jnp.asarray(goal))
    expected = [search(walls[index], goal[:, index]) for index in range(len(walls))]
    np.testing.assert_array_equal(distances, np.stack(expected, axis=-1))
    np.testing.assert_array_equal(largest, [found.max() for found in expected])


@settings(max_examples=30, deadline=None)
@given(SIZES, SEEDS, st.floats(0.0, 0.6))
def test_distances_are_those_of_a_breadth_first_search(size, seed, share):
    check_distances(*random_walls(size, seed, 16, share))


def test_distances_on_a_board_wider_than_a_word_are_those_of_a_breadth_first_search():
    check_distances(*random_walls(35, 0, 16, 0.3))


@pytest.mark.parametrize("size", [5, 9, 15])
def test_the_longest_way_there_is_has_digits_enough(size):
    walls = np.ones((size, size), bool)
    walls[1:-1:2, 1:-1] = False
    walls[2:-1:4, -2] = False
    walls[4:-1:4, 1] = False
    walls, goal = np.broadcast_to(walls, (16, size, size)), np.ones((2, 16), int)
    _, largest = solver()(to_boards(walls), jnp.asarray(goal))
    rows = (size - 1) // 2
    # A serpentine: `rows` corridors of size - 2 squares, and a square between each two.
    assert largest[0] == rows * (size - 2) + rows - 1 - 1
    check_distances(walls, goal)


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_squares_within_a_bound_are_those_whose_distance_is_at_most_it(seed):
    walls, goal = random_walls(9, seed, 16, 0.3)
    distances, _ = solver()(to_boards(walls), jnp.asarray(goal))
    bound = np.random.default_rng(seed).integers(0, 100, 16)
    within = to_grids(squares_within()(to_boards(walls), jnp.asarray(goal), jnp.asarray(bound)))
    numbers = np.asarray(distances).transpose(2, 0, 1)
    np.testing.assert_array_equal(within, (numbers >= 0) & (numbers <= bound[:, None, None]))


@cache
def squares_within():
    def within(walls, goal, bound):
        found = distances_to(packed.at_square(goal, 7), free_squares(walls), 7)
        return packed.unpack(at_most(found, bound), 9)

    return jax.jit(within)


@pytest.mark.parametrize("size", [5, 9, 15, 33, 35, 67])
def test_packing_keeps_the_squares_within_the_border_and_unpacking_gives_them_back(size):
    grids = np.random.default_rng(0).random((4, size, size)) < 0.5
    inner = np.pad(grids[:, 1:-1, 1:-1], ((0, 0), (1, 1), (1, 1)))
    words = packed.pack(to_boards(grids))
    np.testing.assert_array_equal(to_grids(packed.unpack(words, size)), inner)
    assert all(
        (word & ~np.uint32(mask)).max() == 0 for word, mask in zip(words, packed.cells(size - 2), strict=True)
    )


@pytest.mark.parametrize("size", [5, 9, 35])
def test_moves_shift_by_one_square_and_lose_what_leaves(size):
    inner = np.random.default_rng(1).random((4, size - 2, size - 2)) < 0.5
    grids = np.pad(inner, ((0, 0), (1, 1), (1, 1)))
    moved = packed.moves(packed.pack(to_boards(grids)), size - 2)
    for words, (axis, step) in zip(moved, ((1, -1), (2, -1), (2, 1), (1, 1)), strict=True):
        expected = np.zeros_like(grids)
        expected[:, 1:-1, 1:-1] = np.roll(grids, step, axis)[:, 1:-1, 1:-1]
        found = to_grids(packed.unpack(packed.within(words, size - 2), size))
        np.testing.assert_array_equal(found, expected)


def test_a_choice_is_uniform_over_the_squares_set_in_several_words():
    count, size = 60_000, 15
    squares = np.random.default_rng(2).random((size - 2, size - 2)) < 0.3
    grid = np.pad(squares, 1)
    board = tuple(jnp.broadcast_to(word, (count,)) for word in packed.pack(to_boards(grid[None])))
    row, column = jax.jit(lambda words: choose(words, board, size - 2))(
        jax.random.bits(jax.random.key(0), (count,), jnp.uint32)
    )
    counts = np.zeros((size, size), int)
    np.add.at(counts, (np.asarray(row), np.asarray(column)), 1)
    assert counts[~grid].sum() == 0
    expected = count / grid.sum()
    freedom = grid.sum() - 1
    statistic = ((counts[grid] - expected) ** 2 / expected).sum()
    assert abs(statistic - freedom) < 4 * np.sqrt(2 * freedom)


@given(st.integers(1, 2**32 - 1), st.data())
def test_the_nth_bit_is_the_nth_bit(word, data):
    positions = [bit for bit in range(32) if word >> bit & 1]
    rank = data.draw(st.integers(0, len(positions) - 1))
    assert nth_bit_of_one()(jnp.uint32(word), jnp.uint32(rank)) == positions[rank]


@cache
def nth_bit_of_one():
    return jax.jit(nth_bit)


def test_unpacking_gives_bits_of_the_right_columns():
    board = jnp.zeros((35, 2, 1), jnp.uint32).at[3, 1, 0].set(0b101)
    assert np.argwhere(np.asarray(unpack(board, 35))[..., 0]).tolist() == [[3, 32], [3, 34]]
