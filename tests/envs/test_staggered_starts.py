"""Staggered starts: every environment begins as it says, and no two of many end together for long."""

from functools import partial

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs.bikkle import Bikkle, BikkleParams
from envs.bikkle.levels import BikkleLevels
from envs.memory import MemoryChain, RepeatFirst, RepeatPrevious
from envs.wrappers import Occlusion
from purerl.rollout.levels import make_pool
from purerl.rollout.unroll import draw_chance, init_actor, observes_states, step_environments

NUM_ENVS = 32


def rollout(env, params, num_steps):
    """The first environments, and observations [T, E, ...] and ends [T, E] of random play."""
    space = env.action_space(params)
    sample = jax.vmap(space.sample)

    @jax.jit
    def run(key):
        pool_key, actor_key, run_key = jax.random.split(key, 3)
        pool = make_pool(env, params, pool_key, NUM_ENVS)
        first = init_actor(params, pool, actor_key, NUM_ENVS, stagger=True)

        def step(actor, key):
            act_key, chance_key = jax.random.split(key)
            action = sample(jax.random.split(act_key, NUM_ENVS))
            actor, result, _ = step_environments(
                env, params, actor, pool, action, draw_chance(chance_key, NUM_ENVS)
            )
            return actor, (actor.observation, result.level.ended)

        return first, jax.lax.scan(step, first, jax.random.split(run_key, num_steps))[1]

    first, (observation, ended) = run(jax.random.key(0))
    return first, observation, np.asarray(ended)


def chains():
    for name in ("MemoryChain-bsuite", "UmbrellaChain-bsuite"):
        yield pytest.param(*gymnax.make(name), id=name)
    for env in (MemoryChain(), RepeatFirst(), RepeatPrevious(), Occlusion(MemoryChain())):
        yield pytest.param(env, env.default_params, id=env.name)


@pytest.mark.parametrize(("env", "params"), list(chains()))
def test_environments_that_end_by_their_clock_never_run_past_it(env, params):
    first, observation, ended = rollout(env, params, 130)
    space = env.observation_space(params)
    if not isinstance(space, gymnax.environments.spaces.Box):
        inside = jax.vmap(jax.vmap(space.contains))(observation)
        assert bool(inside.all())
    # The clock is part of what these environments show; a chain that ran past its end would show more than 1.
    assert float(jnp.abs(observation).max()) <= max(float(jnp.abs(first.observation).max()), 1.0)
    if observes_states(env):
        seen = jax.vmap(partial(env.observe_state, params=params))(first.env_state)
        np.testing.assert_array_equal(first.observation, seen)
    # No episode is longer than the longest that the environment itself allows.
    longest = int(getattr(params, "max_steps_in_episode", 130))
    since = np.zeros(NUM_ENVS, int)
    for ends in ended:
        since += 1
        assert (since <= longest).all()
        since[ends] = 0


def test_to_be_looked_at_again_is_declared_and_never_guessed():
    cartpole, _ = gymnax.make("CartPole-v1")
    assert hasattr(cartpole, "observe")  # gymnax's own, which wants a key and an action
    declared = [MemoryChain(), Occlusion(MemoryChain()), cartpole, Occlusion(cartpole)]
    assert [observes_states(env) for env in declared] == [True, True, False, False]


def test_staggering_reaches_arenas_whose_state_has_no_clock_of_its_own():
    # As in the curriculum of Bikkle: a limit of 20, and nothing else that ends an episode.
    env = BikkleLevels(Bikkle())
    params = BikkleParams(continuing=True, max_steps_in_episode=20)
    _, _, ended = rollout(env, params, 20)
    assert ended.any(0).all()
    # 32 draws of 20 steps hit 20 (1 - (1 - 1 / 20)^32) = 16 different ones on average.
    assert len(set(ended.argmax(0))) > 10
