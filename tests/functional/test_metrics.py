"""Metrics are sums inside, so that they can be added up, and arrays by name where they are handed out."""

import jax.numpy as jnp
import numpy as np

from purerl.functional.metrics import Packed, add_up, means
from purerl.types import Mean


def test_a_mean_handed_out_is_a_number_and_nan_where_nothing_went_into_it():
    # Update 1: returns 3 and 5 ended, mean 4; update 2: none ended.
    sums = Packed(values=jnp.array([[[8.0, 2.0]], [[0.0, 0.0]]]), names=("episode_return",))
    told = means(sums)
    assert set(told) == {"episode_return"}
    np.testing.assert_array_equal(told["episode_return"], np.float32([4.0, np.nan]))
    # Added up, 8 over 2 stays 4: an update without episodes counts for nothing.
    assert means(add_up(sums))["episode_return"] == 4.0


def test_means_take_metrics_by_name_as_well():
    told = means({"loss": Mean(total=jnp.float32(3.0), weight=jnp.float32(2.0))})
    assert told["loss"] == 1.5
