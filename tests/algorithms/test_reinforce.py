"""REINFORCE: returns of whole episodes, and nothing but them."""

import jax.numpy as jnp
import numpy as np
import pytest

from purerl.functional.returns import reward_to_go

T, F = True, False


def test_returns_are_summed_up_to_the_end_of_the_episode_and_known_where_it_is_seen():
    # gamma 1/2: the first episode brings 1 + 2/2 + 4/4 = 3, 2 + 4/2 = 4, 4; the second one has not ended.
    reward = jnp.array([[1.0], [2.0], [4.0], [8.0], [8.0]])
    ended = jnp.array([[F], [F], [T], [F], [F]])
    returns, whole = reward_to_go(reward, ended, 0.5)
    np.testing.assert_allclose(returns[:, 0], [3.0, 4.0, 4.0, 12.0, 8.0])
    np.testing.assert_array_equal(whole[:, 0], [T, T, T, F, F])


@pytest.mark.parametrize("follows", [jnp.nan, jnp.inf])
def test_what_follows_the_end_of_an_episode_is_not_even_multiplied(follows):
    reward = jnp.array([[1.0], [follows]])
    returns, _ = reward_to_go(reward, jnp.array([[T], [F]]), 0.5)
    assert returns[0, 0] == 1.0
