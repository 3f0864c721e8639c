"""Behind the end of an episode there is nothing, and no target sees it; learners in `test_contract.py`."""

import jax
import jax.numpy as jnp
import numpy as np

from purerl.functional.losses import q_learning_target
from purerl.functional.returns import bootstrap, gae

NAN = jnp.float32(jnp.nan)


def test_a_return_goes_on_where_something_follows():
    # Reward 1, factor 0.5, value 4: 1 + 0.5 * 4 = 3; where nothing follows 1, whatever the value.
    follows = jnp.array([True, False, False])
    worth = bootstrap(jnp.ones(3), follows, 0.5, jnp.array([4.0, NAN, jnp.inf]))
    np.testing.assert_array_equal(worth, [3.0, 1.0, 1.0])
    slope = jax.grad(lambda value: bootstrap(jnp.ones(3), follows, 0.5, value).sum())
    np.testing.assert_array_equal(slope(jnp.array([4.0, NAN, jnp.inf])), [0.5, 0.0, 0.0])


def test_no_target_sees_the_value_behind_an_end():
    # One step, reward 1, value 2, terminated: 1 - 2 = -1.
    one, yes = jnp.ones((1, 1)), jnp.ones((1, 1), bool)
    assert gae(one, 2 * one, NAN * one, yes, ~yes, 0.5, 0.9) == -1.0
    # Nor does an advantage cross an end backwards: the first step is as before, the second is NaN's own.
    two, ends = jnp.array([[1.0], [NAN]]), jnp.array([[True], [False]])
    assert gae(two, 2 * jnp.ones((2, 1)), jnp.ones((2, 1)), ends, ~yes, 0.5, 0.9)[0] == -1.0
    values = jnp.array([[NAN, 2.0], [NAN, 1.0]])
    target = q_learning_target(jnp.ones(2), jnp.array([0.0, 0.5]), values, values)
    np.testing.assert_array_equal(target, [1.0, 2.0])
