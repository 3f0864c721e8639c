"""Behind the end of an episode there is nothing: what is seen there reaches no learner, NaN or not."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from learners import LEARNERS, PARAMS
from probes import LastLook

from purerl.compile.program import train
from purerl.functional.losses import q_learning_target
from purerl.functional.metrics import unpack
from purerl.functional.returns import bootstrap, gae

NAN = jnp.float32(jnp.nan)


@cache
def runs(name):
    """Three of four updates, with 0 and with NaN behind the end: learner, metrics, diagnosis."""
    make, config = LEARNERS[name]
    algorithm = make(LastLook())

    @jax.jit
    def run(seen):
        chosen = config.replace(total_updates=4, env_params=PARAMS.replace(seen=seen))
        state, metrics = train(algorithm, chosen, jax.random.key(0), 3)
        return state.learner, metrics, unpack(algorithm.diagnose(state, chosen))

    quick = run.lower(0.0).compile({"xla_backend_optimization_level": 0})
    return quick(0.0), quick(jnp.nan)


@pytest.mark.parametrize("name", LEARNERS)
def test_what_is_seen_behind_the_end_reaches_nothing(name):
    (learned, *told), (learned_beside_nan, *told_beside_nan) = runs(name)
    for leaf in jax.tree.leaves(learned_beside_nan):
        assert np.isfinite(leaf).all()
    jax.tree.map(np.testing.assert_array_equal, learned_beside_nan, learned)
    jax.tree.map(np.testing.assert_array_equal, told_beside_nan, told)


@pytest.mark.parametrize("name", ["ppo", "grpo", "pqn", "dqn", "c51", "sac, three steps", "td3"])
def test_the_first_update_has_the_full_rate_and_the_last_of_four_a_quarter_of_it(name):
    rate = runs(name)[0][1]["learning_rate"]
    start = LEARNERS[name][1].learning_rate
    expected = np.array([1.0, 0.75, 0.5])
    # 16 rounds in each update: the mean over 0, 1, ..., 15 of 64, then of 16, ..., 31.
    if name.startswith(("dqn", "c51", "sac", "td3")):
        expected -= 7.5 / 64
    np.testing.assert_allclose(rate, start * expected, rtol=1e-5)


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
