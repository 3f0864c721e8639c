"""Arenas as levels: each episode keeps the numbers it was made for."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs.bikkle import PROTOCOLS, Bikkle
from envs.bikkle.levels import ArenaLevel, BikkleLevels, bikkle_levels, level_params

PARAMS = dataclasses.replace(PROTOCOLS["continuing_4"].params, num_pellets=(2, 4, 8), gaze_std=0.1)
ENV = BikkleLevels(Bikkle(max_pellets=8))
LEVELS = bikkle_levels(ENV)


def generate(hardness, count=64):
    return jax.jit(LEVELS.generate)(jax.random.key(0), PARAMS, jnp.full(count, hardness))


@pytest.mark.parametrize(("hardness", "counts"), [(0.0, {2}), (0.5, {2, 4}), (1.0, {2, 4, 8})])
def test_the_harder_the_more_counts_of_pellets_are_drawn(hardness, counts):
    assert set(np.asarray(generate(hardness).level.num_pellets)) == counts


def test_hardness_leads_from_the_easiest_numbers_to_those_of_the_parameters():
    # Half way: the blue penalty from -2 to -10, the radius from 0.06 to 0.04, the noise from 0 to 0.1.
    level = ArenaLevel(num_pellets=jnp.int32(4), hardness=jnp.full(3, 0.5))
    found = level_params(level, PARAMS)
    values = [found.pellet_size, found.blue_penalty, found.gaze_std]
    np.testing.assert_allclose(values, [0.05, -6.0, 0.05], rtol=1e-6)


def test_an_episode_is_that_of_the_arena_with_the_numbers_of_its_level():
    state = jax.tree.map(lambda leaf: leaf[5], generate(0.3))
    inner, arena = level_params(state.level, PARAMS), state.arena
    step, plain = jax.jit(ENV.step_env), jax.jit(ENV.arena.step_env)
    total = 0.0
    for index in range(40):
        key = jax.random.key(index)
        action = jax.random.uniform(key, (2,), minval=-1.0, maxval=1.0)
        _, state, reward, ended, info = step(key, state, action, PARAMS)
        _, arena, plain_reward, plain_ended, _ = plain(key, arena, action, inner)
        np.testing.assert_allclose(reward, plain_reward, rtol=1e-6)
        assert ended == plain_ended
        total += float(info["unshaped_reward"])
        assert bool(info["solved"]) == (total >= ENV.success_return)
    np.testing.assert_allclose(state.arena.agent, arena.agent, rtol=1e-6)
    np.testing.assert_allclose(state.total, total, rtol=1e-5)


def test_mutations_stay_within_what_hardness_may_be_and_keep_the_count():
    states = generate(0.9)
    changed = jax.jit(LEVELS.mutate)(jax.random.key(1), states, PARAMS)
    assert (changed.level.hardness >= 0).all() and (changed.level.hardness <= 1).all()
    assert np.abs(changed.level.hardness - states.level.hardness).mean() > 0.05
    np.testing.assert_array_equal(changed.level.num_pellets, states.level.num_pellets)
    np.testing.assert_array_equal(changed.arena.num_pellets, states.level.num_pellets)


def test_levels_are_told_apart_by_their_fingerprints():
    states = generate(1.0, 512)
    marks = np.asarray(jax.vmap(LEVELS.fingerprint)(states))
    assert len(set(marks)) == 512
    np.testing.assert_array_equal(marks, jax.vmap(LEVELS.fingerprint)(states))
