"""Memories: stepping is the segment, nothing crosses the border of an episode, and all is remembered."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purerl.networks.kernels.past import attend_to_past, to_distance_order, to_key_order
from purerl.networks.memory import MemoryConfig, make_memory
from purerl.networks.memory_linear import linear_recurrence
from purerl.networks.memory_transformer import episode_ages

NUM_STEPS, BATCH, WIDTH, LENGTH = 14, 3, 8, 4
CONFIG = MemoryConfig(width=WIDTH, num_heads=2, length=LENGTH, feed_forward=8)
NAMES = ("gru", "lstm", "transformer", "lru")


@pytest.fixture(scope="module", params=NAMES)
def memory(request):
    """A memory with parameters away from their start, a segment, and a carry from steps before it."""
    module = make_memory(request.param, CONFIG)()
    keys = jax.random.split(jax.random.key(0), 5)
    x = jax.random.normal(keys[0], (WIDTH, NUM_STEPS, BATCH))
    is_first = (
        jax.random.bernoulli(keys[1], 0.2, (NUM_STEPS, BATCH)).at[0].set(jnp.array([True, False, False]))
    )

    @jax.jit
    def prepare():
        carry = module.initial(BATCH)
        params = module.init(keys[2], carry, x[:, 0], is_first[0], method="step")
        params = jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(keys[3], leaf.shape), params)
        before = jax.random.normal(keys[4], (LENGTH + 2, WIDTH, BATCH))
        return params, step_through(module, params, carry, before, jnp.zeros((LENGTH + 2, BATCH), bool))[0]

    params, carry = prepare()
    return module, params, carry, x, is_first


def step_through(module, params, carry, x, is_first):
    """The carry after the steps of x, [T, W, B], and their results, [T, W, B]."""
    step = lambda carry, at: module.apply(params, carry, *at, method="step")  # noqa: E731
    return jax.lax.scan(step, carry, (x, is_first))


@pytest.mark.parametrize("num_steps", [NUM_STEPS, 3 * LENGTH])  # the second is cut into blocks
def test_stepping_equals_the_segment_with_episodes_that_begin_anywhere(memory, num_steps):
    module, params, carry, x, is_first = memory
    x, is_first = x[:, :num_steps], is_first[:num_steps]
    assert 3 < is_first.sum() < num_steps * BATCH / 2
    _, stepped = jax.jit(partial(step_through, module))(params, carry, jnp.moveaxis(x, 1, 0), is_first)
    segment = jax.jit(module.apply)(params, carry, x, is_first)
    np.testing.assert_allclose(jnp.moveaxis(stepped, 0, 1), segment, atol=1e-5)


def test_information_never_crosses_the_border_of_an_episode_and_reaches_all_of_it(memory):
    module, params, carry, x, _ = memory
    is_first = jnp.zeros((NUM_STEPS, BATCH), bool).at[6].set(True)

    def sizes(step):
        """Gradients of the result of one step by each step of the segment, [T]."""
        out = lambda x: jnp.sin(module.apply(params, carry, x, is_first)[:, step]).sum()  # noqa: E731
        return jnp.abs(jax.grad(out)(x)).sum((0, 2))

    late, last_before = jax.jit(sizes, static_argnums=0)(8), jax.jit(sizes, static_argnums=0)(5)
    assert (late[:6] == 0).all()
    assert (late[6:9] > 1e-6).all()
    assert (late[9:] == 0).all()
    assert (last_before[1:6] > 1e-6).all()
    assert (last_before[6:] == 0).all()


def test_what_was_remembered_before_counts_where_the_episode_goes_on_and_not_where_one_begins(memory):
    module, params, carry, x, is_first = memory
    # The first of the three environments begins an episode with the segment, the others go on.
    scaled = jax.tree.map(lambda leaf: 2 * leaf if leaf.dtype == jnp.float32 else leaf, carry)
    run = jax.jit(lambda carry: module.apply(params, carry, x, is_first)[:, 0])
    change = jnp.abs(run(scaled) - run(carry)).max(0)
    assert change[0] == 0
    assert (change[1:] > 1e-4).all()


def test_the_transformer_sees_as_far_as_its_memory_and_its_layers_and_no_farther():
    # Each of L layers looks M steps back, so L M in all.
    module = make_memory("transformer", dataclasses.replace(CONFIG, num_layers=2))()
    x = jax.random.normal(jax.random.key(0), (WIDTH, NUM_STEPS, 1))
    is_first = jnp.zeros((NUM_STEPS, 1), bool)
    carry = module.initial(1)
    params = module.init(jax.random.key(1), carry, x[:, 0], is_first[0], method="step")
    out = lambda x: jnp.sin(module.apply(params, carry, x, is_first)[:, 12]).sum()  # noqa: E731
    reach = jnp.abs(jax.jit(jax.grad(out))(x)).sum((0, 2))
    assert (reach[: 12 - 2 * LENGTH] == 0).all()
    assert (reach[12 - 2 * LENGTH : 13] > 0).all()


def test_ages_count_the_steps_of_the_episode_up_to_the_limit():
    is_first = jnp.array([[0, 0, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0]], bool).T
    ages = episode_ages(is_first, jnp.array([2, 5]), 3)
    np.testing.assert_array_equal(ages.T, [[2, 3, 0, 1, 2, 3], [0, 1, 2, 3, 3, 3]])


def test_distances_become_keys_and_back():
    # Two steps after two remembered ones: step t sees keys t, t + 1 and t + 2, the last is itself.
    by_distance = jnp.array([[1, 2, 3, 0, 0], [4, 5, 6, 0, 0]])
    np.testing.assert_array_equal(to_key_order(by_distance), [[1, 2, 3, 0], [0, 4, 5, 6]])
    by_key = jnp.array([[1, 2, 3, 4], [5, 6, 7, 8]])
    np.testing.assert_array_equal(to_distance_order(by_key, 3), [[1, 2, 3], [6, 7, 8]])


def plain_attend_to_past(query, key, value, positions, biases, age):
    """The equation, key by key; the softmax over those that are visible."""
    num_keys, steps, length = key.shape[2], query.shape[2], positions.shape[2] - 1
    distance = length + jnp.arange(steps)[:, None] - jnp.arange(num_keys)  # [T, S]
    r = positions[..., jnp.clip(length - distance, 0, length)]  # [H, D, T, S]
    u, v = biases[..., None, None]
    by_content = jnp.einsum("hdtb,hdsb->htsb", query + u, key)
    scores = (by_content + jnp.einsum("hdtb,hdts->htsb", query + v, r)) / query.shape[1] ** 0.5
    visible = (distance >= 0)[..., None] & (distance[..., None] <= age[:, None])
    weights = jax.nn.softmax(jnp.where(visible, scores, -jnp.inf), axis=2)
    return jnp.einsum("htsb,hdsb->hdtb", weights, value)


@pytest.mark.parametrize("steps", [3, 4, 12])  # less than the memory, as much, and blocks of it
def test_attention_to_the_past_and_its_gradients_are_those_of_the_equation(steps):
    length, keys = 4, jax.random.split(jax.random.key(0), 7)
    shapes = [(2, 3, steps, 5), *2 * [(2, 3, length + steps, 5)], (2, 3, length + 1), (2, 2, 3)]
    arguments = [jax.random.normal(k, shape) for k, shape in zip(keys, shapes, strict=False)]
    age = jax.random.randint(keys[5], (steps, 5), 0, length + 1)
    expected, expected_backward = jax.vjp(lambda *xs: plain_attend_to_past(*xs, age), *arguments)
    result, backward = jax.vjp(lambda *xs: attend_to_past(*xs, age), *arguments)
    cotangent = jax.random.normal(keys[6], result.shape)
    for a, b in zip((result, *backward(cotangent)), (expected, *expected_backward(cotangent)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_attention_to_the_past_is_finite_whatever_the_scores():
    keys = jax.random.split(jax.random.key(0), 3)
    query = 1e3 * jax.random.normal(keys[0], (2, 3, 16, 4))
    key, value = jax.random.normal(keys[1], (2, 2, 3, 32, 4))
    positions, biases = jax.random.normal(keys[2], (2, 3, 17)), jnp.zeros((2, 2, 3))
    age = jnp.full((16, 4), 16)
    result, backward = jax.vjp(lambda *xs: attend_to_past(*xs, age), query, key, value, positions, biases)
    assert all(jnp.isfinite(leaf).all() for leaf in (result, *backward(result)))


def test_a_linear_recurrence_is_solved_as_a_loop_would():
    a, b, s = (jax.random.normal(jax.random.key(i), (2, 3, 7, 2)) for i in range(3))
    found = jax.jit(linear_recurrence)((a[0], a[1]), (b[0], b[1]), (s[0, :, 0], s[1, :, 0]))
    decay, inputs = np.asarray(a[0] + 1j * a[1]), np.asarray(b[0] + 1j * b[1])
    state = np.asarray(s[0, :, 0] + 1j * s[1, :, 0])
    for t in range(7):
        state = decay[:, t] * state + inputs[:, t]
        np.testing.assert_allclose(found[0][:, t] + 1j * found[1][:, t], state, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_heads": 3}, "num_heads = 3 does not divide width = 8"),
        ({"length": 0}, "memory length = 0 must be at least 1"),
        ({"max_radius": 1.0}, "max_radius = 1.0 must be at least 0 and below 1"),
        ({"min_radius": 0.999}, "min_radius = 0.999 must be below max_radius = 0.999"),
    ],
)
def test_memories_that_cannot_be_built_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make_memory("transformer", dataclasses.replace(CONFIG, **changes))
