import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from purerl.permutation import grid_permutation


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(1, 20), columns=st.integers(1, 20), seed=st.integers(0, 2**31))
def test_every_cell_comes_once(rows, columns, seed):
    order = grid_permutation(jax.random.key(seed), rows, columns)
    assert sorted(np.asarray(order)) == list(range(rows * columns))


@pytest.mark.parametrize(("rows", "columns"), [(4, 6), (8, 3)])
def test_every_cell_is_equally_likely_at_every_place(rows, columns):
    # Chi-squared over 24 cells at place 0 and at the last place, 6,000 draws: 99.9 % bound for 23 degrees.
    draws = 6000
    keys = jax.random.split(jax.random.key(0), draws)
    orders = np.asarray(jax.vmap(lambda key: grid_permutation(key, rows, columns))(keys))
    for place in (0, rows * columns - 1):
        counts = np.bincount(orders[:, place], minlength=rows * columns)
        expected = draws / (rows * columns)
        assert ((counts - expected) ** 2 / expected).sum() < 49.7


def test_neighbours_are_torn_apart():
    # In a random order of 4,096, two cells of one row are rarely next to each other: 31 / 4095 of all pairs.
    orders = [np.asarray(grid_permutation(jax.random.key(seed), 128, 32)) for seed in range(40)]
    same_row = np.mean([np.mean(order[1:] // 32 == order[:-1] // 32) for order in orders])
    assert abs(same_row - 31 / 4095) < 0.004
