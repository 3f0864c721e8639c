import jax
import numpy as np
import pytest

from purerl.permutation import grid_permutations


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 7), (9, 1), (12, 8), (5, 13)])
def test_every_cell_comes_once(rows, columns):
    orders = grid_permutations(jax.random.key(1), 50, rows, columns)
    assert (np.sort(orders, axis=1) == np.arange(rows * columns)).all()


@pytest.mark.parametrize(("rows", "columns"), [(4, 6), (8, 3)])
def test_every_cell_is_equally_likely_at_every_place(rows, columns):
    # Chi-squared over 24 cells at place 0 and at the last place, 6,000 draws: 99.9 % bound for 23 degrees.
    draws = 6000
    orders = np.asarray(grid_permutations(jax.random.key(0), draws, rows, columns))
    for place in (0, rows * columns - 1):
        counts = np.bincount(orders[:, place], minlength=rows * columns)
        expected = draws / (rows * columns)
        assert ((counts - expected) ** 2 / expected).sum() < 49.7


def test_neighbours_are_torn_apart():
    # In a random order of 4,096, two cells of one row are rarely next to each other: 31 / 4095 of all pairs.
    rows = np.asarray(grid_permutations(jax.random.key(2), 40, 128, 32)) // 32
    same_row = np.mean(rows[:, 1:] == rows[:, :-1])
    assert abs(same_row - 31 / 4095) < 0.004
