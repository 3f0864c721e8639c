"""Interquartile means and their intervals."""

import numpy as np

from purerl.functional.statistics import (
    bootstrap_interval,
    interquartile_interval,
    interquartile_mean,
    probability_of_improvement,
)


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


def test_missing_seeds_are_left_out_of_the_mean_and_rows_without_any_have_none():
    values = np.array([[1.0, 2.0, np.nan], [5.0, 7.0, 9.0], [np.nan] * 3])
    mean, low, high = interquartile_interval(values)
    np.testing.assert_allclose(mean, [1.5, 7.0, np.nan])
    assert (low[:2] < mean[:2]).all() and (mean[:2] < high[:2]).all()


def test_the_probability_of_improvement_counts_wins_and_halves_of_ties():
    # First task: 3 beats 1 and 2; 2 beats 1 and equals 2: 3.5 of 4. Second: 0 loses to both: 0 of 2.
    ours, theirs = [np.array([3.0, 2.0]), np.array([0.0])], [np.array([1.0, 2.0]), np.array([1.0, 2.0])]
    mean, low, high = probability_of_improvement(ours, theirs)
    np.testing.assert_allclose(mean, (3.5 / 4 + 0) / 2)
    assert low < mean < high
    # Resampling our two runs and their two: all wins (1/2 after averaging) are possible, and at worst 1/4.
    np.testing.assert_allclose([low, high], [0.25, 0.5])


def test_the_interval_of_an_improvement_holds_the_truth_about_as_often_as_it_says():
    random = np.random.default_rng(2)
    intervals = [
        probability_of_improvement([random.normal(size=15)], [random.normal(size=15)], num_samples=400)[1:]
        for _ in range(200)
    ]
    share = np.mean([low < 0.5 < high for low, high in intervals])
    assert 0.86 < share < 0.99
