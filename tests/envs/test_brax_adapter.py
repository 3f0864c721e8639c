"""Brax environments under the author contract; skipped where Brax is not installed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("brax")

from envs.brax_adapter import BraxParams, make
from purerl.rollout.levels import make_pool
from purerl.rollout.unroll import draw_chance, init_actor, step_environments

PARAMS = BraxParams(max_steps_in_episode=3)
ENV = make("brax/inverted_pendulum/spring")


def play(action, num_steps):
    """Observations, terminations and truncations of an episode of constant actions, leading axis T."""
    reset, step_env = jax.jit(ENV.reset_env), jax.jit(ENV.step_env)
    observation, state = reset(jax.random.key(0), PARAMS)
    seen = []
    for _ in range(num_steps):
        observation, state, _, terminated, _ = step_env(jax.random.key(1), state, action, PARAMS)
        seen.append((observation, terminated, ENV.is_truncated(state, PARAMS)))
    return tuple(np.stack(parts) for parts in zip(*seen, strict=True))


def test_an_episode_is_truncated_at_its_limit_and_not_terminated():
    _, terminated, truncated = play(jnp.zeros(1), 4)
    np.testing.assert_array_equal(truncated, [False, False, True, True])
    assert not terminated.any()


def test_a_fallen_pole_terminates_the_episode():
    _, terminated, _ = play(jnp.ones(1), 60)
    assert terminated[-1]
    assert not terminated[0]


def test_actions_beyond_their_bounds_are_clipped():
    within, beyond = play(jnp.ones(1), 2)[0], play(jnp.full(1, 5.0), 2)[0]
    np.testing.assert_array_equal(within, beyond)


def test_the_rollout_keeps_the_true_successor_of_a_truncated_episode():
    pool = make_pool(ENV, PARAMS, jax.random.key(0), 2)
    actor = init_actor(PARAMS, pool, jax.random.key(1), 2, stagger=False)

    @jax.jit
    def step(actor, key):
        return step_environments(ENV, PARAMS, actor, pool, jnp.ones((2, 1)), draw_chance(key, 2))[:2]

    for number in range(3):
        actor, result = step(actor, jax.random.key(number))
    assert result.truncated.all()
    starts = np.asarray(pool.observation)
    assert all((row == starts).all(1).any() for row in np.asarray(actor.observation))
    assert not any((row == starts).all(1).any() for row in np.asarray(result.next_observation))


def test_a_name_that_brax_does_not_know_is_refused():
    with pytest.raises(ValueError, match=r"'brax/unicorn'; Brax has ant, "):
        make("brax/unicorn")
    with pytest.raises(ValueError, match="the backend is one of generalized, spring"):
        make("brax/ant/felt")
