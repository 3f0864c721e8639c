"""What comes out of a replay against whole transitions kept in a list."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from histories import example, history
from plain_replay import window

from purerl.replay import Experience, prioritized, uniform
from purerl.replay.rows import unpack
from purerl.replay.storage import OPEN, newest_frame, ring_size

GAMMA = 0.9


def filled(replay, batches, buffer_size):
    num_envs = len(batches[0].reward)
    state = replay.init(example(batches), buffer_size, num_envs)

    @jax.jit
    def fill(state, stacked):
        return jax.lax.scan(lambda state, batch: (replay.add(state, batch), None), state, stacked)[0]

    return fill(state, jax.tree.map(lambda *leaves: jnp.stack(leaves), *batches))


def compare(replay, batches, plain, buffer_size, num_samples=400):
    """Draws samples, finds each in the plain list, compares; returns which steps were met."""
    met, state = set(), filled(replay, batches, buffer_size)
    num_steps = compare.num_steps
    sample, index, weight = jax.device_get(replay.sample(state, jax.random.key(1), num_samples, GAMMA))
    for position in np.flatnonzero(weight):
        env = int(index[position]) // ring_size(state.storage)
        steps = plain[env]
        seen = sample.observation[position]
        # Frames are all different, and the newest tells which step this is.
        (start,) = (t for t, step in enumerate(steps) if (step.observation[..., -1] == seen[..., -1]).all())
        expected = window(steps, start, num_steps, GAMMA)
        np.testing.assert_array_equal(seen, expected.observation)
        np.testing.assert_array_equal(sample.action[position], expected.action)
        np.testing.assert_allclose(sample.reward[position], expected.reward, atol=1e-5)
        np.testing.assert_allclose(sample.discount[position], expected.discount, rtol=1e-5)
        if expected.discount > 0:
            np.testing.assert_array_equal(sample.next_observation[position], expected.next_observation)
        met.add((env, start))
    return met


@pytest.mark.parametrize("make", [uniform, prioritized])
@pytest.mark.parametrize("num_frames", [1, 4])
@pytest.mark.parametrize("num_steps", [1, 3])
def test_windows_equal_a_plain_loop_over_whole_transitions_bit_for_bit(make, num_frames, num_steps):
    # 60 steps go into rings of 40 rows: what is compared has wrapped around.
    batches, plain = history(60, 3, seed=num_steps, num_frames=num_frames)
    compare.num_steps = num_steps
    met = compare(make(num_steps, num_frames), batches, plain, buffer_size=120)
    truncated = {(env, t) for env, t in met if plain[env][t].truncated}
    terminated = {(env, t) for env, t in met if plain[env][t].terminated}
    assert len(met) > 80
    assert truncated
    assert terminated


@pytest.mark.parametrize("make", [uniform, prioritized])
def test_every_step_that_is_kept_can_be_drawn_and_the_newest_at_once(make):
    batches, plain = history(20, 2)
    compare.num_steps = 1
    met = compare(make(), batches, plain, buffer_size=200, num_samples=1000)
    assert met == {(env, t) for env in range(2) for t in range(20)}


@pytest.mark.parametrize("make", [uniform, prioritized])
def test_episodes_of_one_truncated_step_lose_nothing(make):
    # Each step needs two rows here: its own, and that of its true successor.
    batches, plain = history(30, 2, terminates=0.0, truncates=1.0)
    compare.num_steps = 1
    met = compare(make(), batches, plain, buffer_size=200, num_samples=1000)
    assert met == {(env, t) for env in range(2) for t in range(30)}


def test_observations_of_any_tree_keep_their_dtypes():
    observation = {"pixels": jnp.zeros((5, 5), jnp.uint8), "speed": jnp.zeros(2, jnp.float16)}
    flag = jnp.zeros((), bool)
    one = Experience(
        observation=observation,
        action=jnp.zeros((), jnp.int8),
        reward=jnp.float32(0),
        terminated=flag,
        truncated=flag,
        next_observation=observation,
    )
    replay = uniform()
    state = replay.init(one, 40, 4)
    batch = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (4, *leaf.shape)), one)
    sample, _, _ = replay.sample(replay.add(state, batch), jax.random.key(0), 8, 0.9)
    assert sample.observation["pixels"].dtype == jnp.uint8
    assert sample.observation["speed"].dtype == jnp.float16
    assert sample.next_observation["pixels"].shape == (8, 5, 5)
    assert sample.action.dtype == jnp.int8


def test_each_observation_is_stored_once():
    # 4 environments, 10 rows: 40 observations of 5 x 5, and not 80; of four frames, one.
    batches, _ = history(5, 4, num_frames=4)
    state = uniform(num_frames=4).init(example(batches), 40, 4)
    assert unpack(state.storage.rows).observation.shape == (4, 10, 2, 3)
    assert sum(leaf.nbytes for leaf in jax.tree.leaves(state.storage.rows)) == 40 * (2 * 3 + 12)
    assert newest_frame(batches[0].observation, 4).shape == (4, 2, 3)


@pytest.mark.parametrize("make", [uniform, prioritized])
def test_an_empty_replay_gives_samples_without_weight(make):
    batches, _ = history(1, 3)
    replay = make()
    state = replay.init(example(batches), 30, 3)
    assert (unpack(state.storage.rows).mark == OPEN).all()
    sample, _, weight = replay.sample(state, jax.random.key(0), 16, 0.9)
    assert (weight == 0).all()
    for seen in (sample.observation, sample.next_observation):  # a network must be able to answer
        np.testing.assert_array_equal(seen, np.stack([example(batches).observation] * 16))


def test_a_replay_too_small_for_its_windows_is_refused():
    batches, _ = history(1, 3)
    with pytest.raises(
        ValueError, match=r"buffer_size = 12 leaves 4 rows to each of 3 .* try buffer_size = 21"
    ):
        uniform(num_steps=5).init(example(batches), 12, 3)
