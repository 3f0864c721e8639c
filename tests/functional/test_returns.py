"""Advantages against a plain loop, and against chains whose value is known."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from purerl.functional.returns import gae, running_returns


def plain_gae(reward, value, next_value, terminated, truncated, gamma, lam):
    advantages = np.zeros_like(reward)
    for environment in range(reward.shape[1]):
        following = 0.0
        for t in reversed(range(reward.shape[0])):
            at = (t, environment)
            bootstrap = 0.0 if terminated[at] else next_value[at]
            delta = reward[at] + gamma * bootstrap - value[at]
            carried = 0.0 if terminated[at] or truncated[at] else following
            following = delta + gamma * lam * carried
            advantages[at] = following
    return advantages


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), gamma=st.floats(0, 1), lam=st.floats(0, 1))
def test_gae_equals_a_plain_loop_with_both_flags_at_random(seed, gamma, lam):
    random = np.random.default_rng(seed)
    reward, value, next_value = random.normal(size=(3, 7, 3))
    terminated, truncated = random.random((2, 7, 3)) < 0.3
    ours = jax.jit(gae)(*map(jnp.float32, (reward, value, next_value)), terminated, truncated, gamma, lam)
    plain = plain_gae(reward, value, next_value, terminated, truncated, gamma, lam)
    np.testing.assert_allclose(ours, plain, atol=2e-5)


def test_truncation_bootstraps_and_termination_does_not():
    # One step, reward 1, V(s) = 2, V(s') = 10, gamma 0.5:
    # truncated: 1 + 0.5 * 10 - 2 = 4; terminated: 1 - 2 = -1.
    ones = jnp.ones((1, 1))
    flags = jnp.ones((1, 1), bool)
    assert gae(ones, 2 * ones, 10 * ones, ~flags, flags, 0.5, 0.9)[0, 0] == 4.0
    assert gae(ones, 2 * ones, 10 * ones, flags, ~flags, 0.5, 0.9)[0, 0] == -1.0


def test_nothing_crosses_the_end_of_an_episode():
    reward = jnp.zeros((3, 2)).at[2].set(100.0)
    zeros, none = jnp.zeros((3, 2)), jnp.zeros((3, 2), bool)
    ended = none.at[1].set(True)
    for terminated, truncated in ((ended, none), (none, ended)):
        advantage = gae(reward, zeros, zeros, terminated, truncated, 0.9, 1.0)
        assert (advantage[:2] == 0).all()
        assert (advantage[2] == 100).all()


def test_lambda_one_gives_the_discounted_return_of_a_chain():
    # Rewards 1, 1, 1 then the end, gamma 0.5: returns 1.75, 1.5, 1.
    ones, none = jnp.ones((3, 1)), jnp.zeros((3, 1), bool)
    advantage = gae(ones, 0 * ones, 0 * ones, none.at[2].set(True), none, 0.5, 1.0)
    np.testing.assert_allclose(advantage[:, 0], [1.75, 1.5, 1.0])


def test_running_returns_start_anew_after_each_episode():
    # gamma 0.5, past sum 2, rewards 1 | end | 1, 1: 0.5 * 2 + 1 = 2, then 1, then 0.5 + 1 = 1.5.
    ended = jnp.array([[True], [False], [False]])
    totals, final = running_returns(jnp.ones((3, 1)), ended, jnp.array([2.0]), 0.5)
    np.testing.assert_allclose(totals[:, 0], [2.0, 1.0, 1.5])
    np.testing.assert_allclose(final, [1.5])
