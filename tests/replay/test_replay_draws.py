"""How often steps are drawn: against their priorities, after many changes of these."""

import jax
import jax.numpy as jnp
import numpy as np
from histories import example, history

from purerl.replay import prioritized, sum_tree, uniform
from purerl.replay.rows import unpack
from purerl.replay.storage import OPEN, ring_size


def drawn_shares(draw, size, num_batches=200, batch=1024):
    """The share of each index among many draws."""
    count = lambda total, key: (total.at[draw(key, batch)].add(1), None)  # noqa: E731
    keys = jax.random.split(jax.random.key(7), num_batches)
    total = jax.jit(lambda: jax.lax.scan(count, jnp.zeros(size, jnp.int32), keys)[0])()
    return np.asarray(total) / (num_batches * batch)


def leaves_of(tree):
    return lambda key, batch: sum_tree.choose_leaves(tree, sum_tree.draw(tree, key, 1, batch))


def test_sums_are_exact_after_a_million_updates():
    # 10,000 rounds of 100 leaves, priorities over seven orders of magnitude. What was written last counts; a
    # tree that adds differences would be off by more than its small leaves by then.
    size, rounds, each = 5000, 10_000, 100

    def change(tree, key):
        index_key, size_key = jax.random.split(key)
        index = jax.random.randint(index_key, (1,), 0, size) * 7 + 13 * jnp.arange(each)
        priority = 10.0 ** jax.random.uniform(size_key, (each,), minval=-4.0, maxval=3.0)
        return sum_tree.set_priorities(tree, index % size, priority), None

    keys = jax.random.split(jax.random.key(0), rounds)
    tree = jax.jit(lambda: jax.lax.scan(change, sum_tree.init_tree(size), keys)[0])()
    leaves = np.asarray(tree[0], np.float64)
    assert (leaves[:size] > 0).mean() > 0.99
    for level, sums in enumerate(tree):
        exact = leaves.reshape(-1, 32**level) if len(leaves) % 32**level == 0 else None
        if exact is not None:
            np.testing.assert_allclose(sums[: len(exact)], exact.sum(1), rtol=1e-6)
    np.testing.assert_allclose(sum_tree.total(tree), leaves.sum(), rtol=1e-6)


def test_frequencies_follow_priorities_after_a_million_updates():
    size = 200
    priority = jnp.where(jnp.arange(size) % 10 == 3, 0.0, 1.0 + jnp.arange(size) % 7)

    def churn(tree, key):
        values = jax.random.uniform(key, (size,), maxval=1e4)
        return sum_tree.set_priorities(tree, jnp.arange(size), values), None

    keys = jax.random.split(jax.random.key(0), 5000)
    tree = jax.jit(lambda: jax.lax.scan(churn, sum_tree.init_tree(size), keys)[0])()
    tree = sum_tree.set_priorities(tree, jnp.arange(size), priority)
    shares = drawn_shares(leaves_of(tree), size)
    expected = np.asarray(priority / priority.sum())
    deviation = np.sqrt(expected / (200 * 1024))
    assert (shares[expected == 0] == 0).all()
    assert (np.abs(shares - expected) < 5 * deviation + 1e-9).all()


def test_a_million_equal_leaves_are_drawn_alike():
    # One float32 between 0 and 1 for the whole way would reach some of them three times as often as others.
    size = 1_000_000
    tree = sum_tree.init_tree(size)
    tree = jax.jit(sum_tree.set_priorities)(tree, jnp.arange(size), jnp.full(size, 0.1))
    shares = drawn_shares(
        leaves_of(tree),
        size,
        num_batches=400,
    )
    last_bits = shares.reshape(-1, 16).sum(0) * 16
    np.testing.assert_allclose(last_bits, 1.0, atol=5 * np.sqrt(16 / (400 * 1024)))


def test_sums_fit_the_leaves_where_a_leaf_is_named_twice():
    tree = sum_tree.set_priorities(sum_tree.init_tree(40), jnp.array([3, 39]), jnp.array([9.0, 1.0]))
    tree = sum_tree.set_priorities(tree, jnp.array([3, 5, 3]), jnp.array([2.0, 4.0, 1.0]))
    assert tree[0][3] in (1.0, 2.0)
    assert sum_tree.total(tree) == tree[0][3] + 4.0 + 1.0


def filled(replay, num_steps=40, num_envs=2, buffer_size=60):
    batches, plain = history(num_steps, num_envs, truncates=0.3)
    state = replay.init(example(batches), buffer_size, num_envs)
    add = jax.jit(replay.add)
    for batch in batches:
        state = add(state, batch)
    return state, plain


def test_uniform_draws_give_every_step_the_same_share():
    replay = uniform()
    state, _ = filled(replay)
    is_step = np.asarray(unpack(state.storage.rows).mark != OPEN).ravel()
    size = is_step.size

    def draw(key, batch):
        _, index, weight = replay.sample(state, key, batch, 0.9)
        return jnp.where(weight > 0, index, size)

    shares = drawn_shares(draw, size + 1)
    assert (shares[:size][~is_step] == 0).all()
    # Two candidates, of which about one in seven holds no step: both miss in about 3 % of the draws.
    assert shares[size] < 0.05
    expected = (1 - shares[size]) / is_step.sum()
    np.testing.assert_allclose(shares[:size][is_step], expected, atol=5 * np.sqrt(expected / (200 * 1024)))


def test_a_share_of_events_is_drawn_from_rewards_other_than_zero():
    replay = uniform(event_share=0.25)
    batches, _ = history(40, 4)
    quiet = [
        batch.replace(reward=np.where(np.arange(4) == t % 29, batch.reward, 0))
        for t, batch in enumerate(batches)
    ]
    state = replay.init(example(batches), 400, 4)
    sample = jax.jit(lambda state: replay.sample(state, jax.random.key(0), 64, 0.9))
    add = jax.jit(replay.add)
    state = add(state, batches[0].replace(reward=np.zeros(4)))
    assert (sample(state)[0].reward == 0).all()  # no event yet: the whole batch is uniform
    for batch in quiet:
        state = add(state, batch)
    drawn, _, weight = sample(state)
    assert (drawn.reward[:16] != 0).all()
    assert (drawn.reward[16:] == 0).mean() > 0.8
    assert (weight[:16] == 1).all()


def test_events_that_are_overwritten_are_forgotten():
    replay = uniform(event_share=1.0)
    batches, _ = history(60, 3)
    add = jax.jit(replay.add)
    state = add(replay.init(example(batches), 45, 3), batches[0])
    assert sum_tree.total(state.tree) == 3
    for batch in batches:
        state = add(state, batch.replace(reward=np.zeros(3)))
    assert sum_tree.total(state.tree) == 0


def test_new_steps_get_the_highest_priority_and_weights_undo_the_draw():
    replay = prioritized()
    state, _ = filled(replay, num_steps=10, buffer_size=100)
    _, index, weight = replay.sample(state, jax.random.key(0), 256, 0.9)
    second = index >= ring_size(state.storage)
    priority = 1.0 + 4.0 * second  # 1 in the first environment, 5 in the second
    state = replay.update(state, index, priority)
    assert state.max_priority == 5
    mark = unpack(state.storage.rows).mark
    leaves = np.asarray(state.tree[0])[: mark.size].reshape(mark.shape)
    assert (leaves[mark == OPEN] == 0).all()
    _, index, weight = replay.sample(state, jax.random.key(1), 4096, 0.9)
    # P(i) is proportional to the priority, so weights are to its inverse, and the mean over draws is 1.
    np.testing.assert_allclose(np.asarray(weight * state.tree[0][index]).std(), 0, atol=1e-5)
    rows_without_step = (leaves[:, : state.storage.num_rows[0]] == 0).mean()
    np.testing.assert_allclose(weight.mean(), 1 - rows_without_step, atol=0.05)
    np.testing.assert_allclose((index >= ring_size(state.storage)).mean(), 5 / 6, atol=0.05)


def test_a_step_without_experience_can_get_no_priority():
    replay = prioritized()
    state, _ = filled(replay, num_steps=3, buffer_size=100)
    outside = jnp.array([80])
    assert replay.update(state, outside, jnp.array([9.0])).tree[0][80] == 0


def rare_events(num_steps=200, num_envs=4):
    """A replay in which every twentieth step has a reward, and batches are a quarter events."""
    replay = uniform(event_share=0.25)
    batches, _ = history(num_steps, num_envs, truncates=0.0)
    state, add = replay.init(example(batches), 2 * num_steps * num_envs, num_envs), jax.jit(replay.add)
    for t, batch in enumerate(batches):
        state = add(state, batch.replace(reward=np.full(num_envs, float(t % 20 == 7), np.float32)))
    return replay, state


def in_rounds(replay, state, num_rounds, num_batches, batch_size):
    """Samples, indices and weights of many rounds, [rounds, G, B]."""
    keys = jax.random.split(jax.random.key(3), num_rounds)
    draw = lambda key: replay.sample(state, key, batch_size, 0.9, num_batches=num_batches)  # noqa: E731
    sample, index, weight = jax.jit(lambda: jax.lax.map(draw, keys))()
    shape = num_rounds, num_batches, batch_size
    return (np.asarray(each).reshape(shape) for each in (sample.reward, index, weight))


def test_each_batch_of_a_round_has_its_share_of_events_from_everywhere():
    replay, state = rare_events()
    reward, index, _ = in_rounds(replay, state, 400, 8, 32)
    # 8 events of 32 are drawn as such, and of the 24 others every twentieth is one: 8 + 1.2 = 9.2 of 32.
    assert (reward[..., :8] == 1).all()
    shares = (reward != 0).mean((0, 2))
    np.testing.assert_allclose(shares, 9.2 / 32, atol=0.01)
    # Events of each of the four environments, 10 of each, are drawn alike in each of the batches.
    owner = index[..., :8] // ring_size(state.storage)
    for batch in range(8):
        np.testing.assert_allclose(np.bincount(owner[:, batch].ravel()) / (400 * 8), 0.25, atol=0.02)
    assert len(np.unique(index[..., :8])) == 40


def test_each_batch_of_a_round_is_a_stratified_sample_of_all_priorities():
    # 1,024 equal leaves under 32 children of the root, 4 batches of 8: one draw below each 4 children in a
    # batch, and one below each child in the round.
    tree = sum_tree.set_priorities(sum_tree.init_tree(1024), jnp.arange(1024), jnp.ones(1024))
    keys = jax.random.split(jax.random.key(5), 2000)
    draw = lambda key: sum_tree.choose_leaves(tree, sum_tree.draw(tree, key, 4, 8))  # noqa: E731
    child = np.asarray(jax.jit(jax.vmap(draw))(keys)).reshape(2000, 4, 8) // 32
    assert (child // 4 == np.arange(8)).all()
    assert (np.sort(child.reshape(2000, 32), axis=1) == np.arange(32)).all()
    # Each child is as likely in every batch: 2,000 * 8 draws over 32 children, 500 each.
    for batch in range(4):
        counts = np.bincount(child[:, batch].ravel(), minlength=32)
        assert (np.abs(counts - 500) < 5 * np.sqrt(500)).all()
    # Where a batch draws among neighbors is anew for each neighborhood: 1 in 4 times as in the one before.
    place = child[:, 0] % 4
    assert abs((place[:, 0] == place[:, 1]).mean() - 0.25) < 0.05


def test_weights_belong_to_their_draws_in_each_batch_of_a_round():
    replay = prioritized()
    state, _ = filled(replay, num_steps=10, buffer_size=100)
    index = jnp.flatnonzero(state.tree[0] > 0)
    state = replay.update(state, index, 1.0 + (index % 5))
    _, drawn, weight = in_rounds(replay, state, 400, 4, 16)
    undone = weight * np.asarray(state.tree[0])[drawn]
    np.testing.assert_allclose(undone, undone.flat[0], rtol=1e-5)
    # The mean of 1 / (N P) over draws is the share of rows that hold a step, in each batch.
    rows = state.storage.num_rows[0] * state.storage.head.size
    np.testing.assert_allclose(weight.mean((0, 2)), index.size / rows, rtol=0.02)
