import jax
import numpy as np
import pytest

from purerl.functional.permutation import permutations


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 7), (9, 1), (12, 8), (5, 13)])
def test_every_cell_comes_once(rows, columns):
    orders = permutations(jax.random.key(1), 50, rows, columns)
    assert (np.sort(orders, axis=1) == np.arange(rows * columns)).all()


@pytest.mark.parametrize(("rows", "columns"), [(4, 6), (8, 3), (1, 24), (24, 1)])
def test_every_cell_is_equally_likely_at_every_place(rows, columns):
    # Chi-squared over 24 cells at place 0 and at the last place, 6,000 draws: 99.9 % bound for 23 degrees.
    draws = 6000
    orders = np.asarray(permutations(jax.random.key(0), draws, rows, columns))
    for place in (0, rows * columns - 1):
        counts = np.bincount(orders[:, place], minlength=rows * columns)
        expected = draws / (rows * columns)
        assert ((counts - expected) ** 2 / expected).sum() < 49.7


def test_neighbors_are_torn_apart():
    # In a random order of 4,096, two cells of one row are rarely next to each other: 31 / 4095 of all pairs.
    rows = np.asarray(permutations(jax.random.key(2), 40, 128, 32)) // 32
    same_row = np.mean(rows[:, 1:] == rows[:, :-1])
    assert abs(same_row - 31 / 4095) < 0.004


@pytest.mark.parametrize(("rows", "columns"), [(1, 64), (64, 1), (2, 64), (64, 2), (8, 16), (16, 8)])
def test_a_grid_of_any_shape_is_shuffled_and_not_turned(rows, columns):
    # In a random order one in n of the n - 1 cells that had another behind them has it there still: about 1
    # in all. A rotation keeps n - 2 of them.
    size, count = rows * columns, 1000
    place = np.argsort(permutations(jax.random.key(0), count, rows, columns), axis=1)
    assert abs((np.diff(place, axis=1) == 1).sum(1).mean() - 1) < 0.3
    # How many of the first half of the cells are in the first quarter of the order: a hypergeometric number,
    # of variance m / 4 * (n - m) / (n - 1) with m = n / 4; a rotation has fourteen times that.
    quarter = size // 4
    variance = quarter / 4 * (size - quarter) / (size - 1)
    found = (place[:, : size // 2] < quarter).sum(1)
    assert abs(found.var() / variance - 1) < 0.2
