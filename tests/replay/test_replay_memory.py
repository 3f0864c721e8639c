"""What replays take: bytes that are known before, no copies within loops, time that does not grow."""

import re

import jax
import jax.numpy as jnp
import pytest

from purerl.replay import Experience, check_fits, estimate_bytes, prioritized, uniform

NUM_ENVS = 10


def experience(shape=(4,), dtype=jnp.float32):
    observation = jax.ShapeDtypeStruct(shape, dtype)
    flag = jax.ShapeDtypeStruct((), bool)
    return Experience(
        observation=observation,
        action=jax.ShapeDtypeStruct((), jnp.int32),
        reward=jax.ShapeDtypeStruct((), jnp.float32),
        terminated=flag,
        truncated=flag,
        next_observation=observation,
    )


def loop(replay, buffer_size):
    """A compiled loop that adds, draws and changes priorities; its state is donated."""

    def run(state, key):
        def step(state, key):
            number = jax.random.uniform(key, (NUM_ENVS, 4))
            batch = Experience(
                observation=number,
                action=jnp.zeros(NUM_ENVS, jnp.int32),
                reward=number[:, 0],
                terminated=number[:, 1] > 0.9,
                truncated=number[:, 2] > 0.9,
                next_observation=number,
            )
            state = replay.add(state, batch)
            sample, index, weight = replay.sample(state, key, 32, 0.99)
            state = replay.update(state, index, jnp.abs(sample.reward) + 0.1)
            return state, (sample.next_observation * weight[:, None]).sum()

        return jax.lax.scan(step, state, jax.random.split(key, 50))

    state = jax.eval_shape(lambda: replay.init(experience(), buffer_size, NUM_ENVS))
    return jax.jit(run, donate_argnums=0).lower(state, jax.random.key(0)).compile()


KINDS = {
    "uniform": uniform(),
    "n-step": uniform(num_steps=3),
    "events": uniform(event_share=0.2),
    "prioritized": prioritized(num_steps=2),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_compiled_loop_copies_no_buffer(kind):
    buffer_size = 123_450
    compiled = loop(KINDS[kind], buffer_size)
    rows = buffer_size // NUM_ENVS
    copies = re.findall(
        rf"= \w+\[(?:{NUM_ENVS},{rows}|{buffer_size}|1234\d\d)[,\]].* copy(?:-start)?\(.*", compiled.as_text()
    )
    assert not copies
    # Nor is there room for one: what the program needs besides its state is far less than the state.
    needs = compiled.memory_analysis()
    assert needs.temp_size_in_bytes < 0.05 * needs.argument_size_in_bytes


def test_the_estimate_is_what_the_state_takes():
    for replay in KINDS.values():
        state = replay.init(experience(), 12_340, NUM_ENVS)
        taken = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        assert estimate_bytes(replay, experience(), 12_340, NUM_ENVS) == taken
        assert estimate_bytes(replay, experience(), 12_340, NUM_ENVS, num_seeds=3) == 3 * taken


def test_fifty_thousand_stacks_of_four_frames_take_little_more_than_the_frames():
    stack = experience((84, 84, 4), jnp.uint8)
    frames = 50_000 * 84 * 84
    assert estimate_bytes(uniform(num_frames=4), stack, 50_000, 10) < 1.1 * frames


def test_what_cannot_fit_is_refused_with_sizes_that_would():
    # 28 bytes a row and a few for each environment: 10,000 rows and two seeds are about 500,000 bytes.
    fits = lambda buffer_size, seeds: check_fits(  # noqa: E731
        uniform(), experience(), buffer_size, NUM_ENVS, seeds, available=600_000
    )
    assert fits(10_000, 2) < 600_000
    with pytest.raises(
        ValueError, match=r"buffer_size = 40000 takes .* KiB .* try buffer_size = (\d+)"
    ) as refused:
        fits(40_000, 1)
    fits(int(re.search(r"try buffer_size = (\d+)", str(refused.value)).group(1)), 1)
    with pytest.raises(ValueError, match="num_seeds = 2"):
        fits(10_000, 3)
    assert check_fits(uniform(), experience(), 10**9, NUM_ENVS, 1, available=None) > 10**10
