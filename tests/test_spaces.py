"""Spaces are what they say: whatever is drawn is a member, all of a space is drawn, and actions fit it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from purerl import spaces

MANY = jax.random.split(jax.random.key(0), 4000)
INTEGERS = (jnp.int8, jnp.uint8, jnp.int16, jnp.uint16, jnp.int32, jnp.uint32)


def draws(space):
    return np.asarray(jax.vmap(space.sample)(MANY))


def bounds(numbers):
    """Low and high in order, either of which may be missing."""

    def arrange(drawn):
        (first, second), open_below, open_above = drawn
        low, high = min(first, second), max(first, second)
        return (-np.inf if open_below else low, np.inf if open_above else high)

    return st.tuples(st.tuples(numbers, numbers), st.booleans(), st.booleans()).map(arrange)


@st.composite
def boxes(draw):
    dtype = draw(st.sampled_from((jnp.float32, jnp.bfloat16, bool, *INTEGERS)))
    shape = draw(st.sampled_from(((), (2,), (2, 3))))
    if dtype is bool:
        return spaces.Box(0, 1, shape, bool)
    if dtype in INTEGERS:
        limits = np.iinfo(dtype)
        numbers = st.integers(int(limits.min), int(limits.max))
    else:
        numbers = st.floats(-(2.0**120), 2.0**120, width=32, allow_subnormal=False)
    each = [draw(bounds(numbers)) for _ in range(int(np.prod(shape)))]
    low, high = (np.array([pair[end] for pair in each]).reshape(shape) for end in (0, 1))
    if dtype == jnp.bfloat16:
        low, high = (np.asarray(jnp.asarray(end, jnp.bfloat16)) for end in (low, high))
    return spaces.Box(low, high, shape, dtype)


def nested(parts):
    return st.one_of(
        st.dictionaries(st.sampled_from("abc"), parts, max_size=3).map(spaces.Dict),
        st.lists(parts, max_size=3).map(lambda members: spaces.Tuple(tuple(members))),
        st.tuples(parts, parts).map(lambda both: spaces.TwoViews(*both)),
    )


PLAIN = st.one_of(
    boxes(),
    st.integers(1, 9).map(spaces.Discrete),
    st.lists(st.integers(1, 9), min_size=1, max_size=4).map(lambda n: spaces.MultiDiscrete(tuple(n))),
    st.tuples(st.integers(1, 4), st.integers(1, 4), bounds(st.floats(-1e3, 1e3, width=32))).map(
        lambda drawn: spaces.Tokens(*drawn[:2], kind=0, low=drawn[2][0], high=drawn[2][1])
    ),
)


@settings(max_examples=40, deadline=None)
@given(st.recursive(PLAIN, nested, max_leaves=4), st.integers(0, 2**32 - 1))
def test_what_a_space_draws_is_one_of_its_members(space, seed):
    assert bool(space.contains(space.sample(jax.random.key(seed))))


@settings(max_examples=40, deadline=None)
@given(boxes(), st.integers(0, 2**32 - 1))
def test_a_box_draws_its_own_shape_and_dtype_and_no_infinity(space, seed):
    drawn = space.sample(jax.random.key(seed))
    assert drawn.shape == space.shape
    assert drawn.dtype == jnp.dtype(space.dtype)
    assert np.isfinite(np.asarray(drawn, np.float32)).all()


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_reach_both_ends_and_all_between(dtype):
    assert set(draws(spaces.Box(1, 4, (), dtype)).tolist()) == {1, 2, 3, 4}
    limits = np.iinfo(dtype)
    drawn = draws(spaces.Box(-np.inf, limits.max, (), dtype) if limits.min == 0 else spaces.Box(
        limits.min, limits.max, (), dtype
    )).astype(np.float64)  # fmt: skip
    # Uniform on the whole type: mean in the middle, deviation its width over sqrt(12), 4,000 draws.
    width = float(limits.max) - float(limits.min)
    assert abs(drawn.mean() - (float(limits.max) + float(limits.min)) / 2) < 4 * width / np.sqrt(12 * 4000)


def test_both_booleans_are_drawn_alike():
    assert abs(draws(spaces.Box(0, 1, (), bool)).mean() - 0.5) < 4 * 0.5 / np.sqrt(4000)


def test_without_bounds_numbers_are_normal_and_beyond_one_bound_exponential():
    normal = draws(spaces.Box(-np.inf, np.inf, ()))
    np.testing.assert_allclose([normal.mean(), normal.std()], [0.0, 1.0], atol=0.07)
    above = draws(spaces.Box(3.0, np.inf, ()))
    np.testing.assert_allclose([above.min(), above.mean(), above.std()], [3.0, 4.0, 1.0], atol=0.1)
    below = draws(spaces.Box(-np.inf, 3.0, ()))
    np.testing.assert_allclose([below.max(), below.mean(), below.std()], [3.0, 2.0, 1.0], atol=0.1)


def test_bounds_further_apart_than_a_number_can_tell_are_drawn_between():
    drawn = draws(spaces.Box(-3e38, 3e38, ()))
    assert np.isfinite(drawn).all()
    assert abs(np.sign(drawn).mean()) < 4 / np.sqrt(4000)


def test_an_action_becomes_one_of_its_space():
    low = np.array([[-1.0, -2.0, 0.0], [0.0, 0.0, 5.0]])
    box = spaces.Box(low, low + 1.0, (2, 3))
    # Clipped entry by entry: -9 to the lower bounds, 9 to the upper ones, and 0.5, -2.5, ... where they are.
    np.testing.assert_array_equal(spaces.fit_action(jnp.full(6, -9.0), box), low)
    np.testing.assert_array_equal(spaces.fit_action(jnp.full(6, 9.0), box), low + 1.0)
    inside = low + 0.25
    np.testing.assert_array_equal(spaces.fit_action(jnp.asarray(inside.ravel(), jnp.float32), box), inside)
    told = spaces.fit_action(jnp.array([0.4, 1.6, 7.0, -7.0]), spaces.Box(0, 3, (4,), jnp.int8))
    assert told.dtype == jnp.int8
    assert told.tolist() == [0, 2, 3, 0]
    assert spaces.fit_action(jnp.array([2.0]), spaces.Box(-1.0, 1.0, ())).shape == ()
    assert spaces.fit_action(jnp.int32(2), spaces.Discrete(3, dtype=jnp.uint8)).dtype == jnp.uint8


def test_an_angle_turns_on_beyond_its_ends():
    # Modulo 1: 1.25 is 0.25, and -0.25 is 0.75.
    circle = spaces.Box(0.0, 1.0, (3,), periodic=True)
    np.testing.assert_allclose(spaces.fit_action(jnp.array([0.5, 1.25, -0.25]), circle), [0.5, 0.25, 0.75])
