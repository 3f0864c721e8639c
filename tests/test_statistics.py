"""Interquartile means and their intervals."""

import numpy as np

from purerl.statistics import bootstrap_interval, interquartile_mean


def test_the_interquartile_mean_leaves_out_a_quarter_at_each_end():
    # Of eight values two are left out at each end: (3 + 4 + 5 + 6) / 4; of five, one: (2 + 3 + 4) / 3.
    np.testing.assert_allclose(interquartile_mean(np.array([8, 1, 2, 3, 100, 4, 5, 6])), 4.5)
    np.testing.assert_allclose(interquartile_mean(np.array([-50, 2, 3, 4, 99])), 3.0)
    np.testing.assert_allclose(interquartile_mean(np.array([[1.0, 2.0], [5.0, 7.0]])), [1.5, 6.0])


def test_the_interval_holds_the_true_mean_about_as_often_as_it_says():
    random = np.random.default_rng(1)
    values = random.normal(size=(300, 20))
    low, high = bootstrap_interval(values, 0.9)
    share = ((low < 0.0) & (high > 0.0)).mean()
    # The percentile bootstrap of 20 values is somewhat too narrow; binomial error of 300 trials: 0.02.
    assert 0.8 < share < 0.96


def test_equal_seeds_leave_no_doubt():
    low, high = bootstrap_interval(np.full((3, 5), 0.25))
    np.testing.assert_array_equal(low, 0.25)
    np.testing.assert_array_equal(high, 0.25)
