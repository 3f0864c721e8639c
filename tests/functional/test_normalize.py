"""Moments against NumPy over all values at once, and what must have no influence on them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs.bikkle import Bikkle
from purerl.functional.normalize import (
    init_moments,
    init_observation_moments,
    normalize_observation,
    update_moments,
    update_observation_moments,
)
from purerl.networks import NetworkConfig, make_actor_critic
from purerl.types import TokenGroup

SCALES = np.array([1.0, 100.0, 0.01])


def rollout(seed, steps=6, envs=4):
    """Observations [T, E, ...]: tokens of three features, some absent and NaN, an array, boolean cells."""
    random = np.random.default_rng(seed)
    mask = random.random((steps, envs, 5)) < 0.6
    values = (3.0 + random.normal(size=(steps, envs, 5, 3))) * SCALES
    return {
        "tokens": TokenGroup(
            values=jnp.where(mask[..., None], jnp.array(values, jnp.float32), jnp.nan), mask=mask, kind=0
        ),
        "array": jnp.array(random.normal(size=(steps, envs, 2, 3)) * SCALES - 5.0, jnp.float32),
        "cells": jnp.array(random.random((steps, envs, 4)) < 0.5),
    }


def first_step(observation):
    return jax.tree.map(lambda leaf: leaf[0], observation)


def seen(*rollouts):
    moments = init_observation_moments(first_step(rollouts[0]))
    for observation in rollouts:
        moments = jax.jit(update_observation_moments)(moments, observation)
    return moments


def present(*rollouts):
    """All present tokens, [M, 3], and all arrays, [M, 2, 3]."""
    tokens = [np.asarray(each["tokens"].values)[np.asarray(each["tokens"].mask)] for each in rollouts]
    arrays = [np.asarray(each["array"]).reshape(-1, 2, 3) for each in rollouts]
    return np.concatenate(tokens), np.concatenate(arrays)


def test_moments_of_scalars_are_those_of_all_batches_together():
    batches = [np.random.default_rng(seed).normal(2.0, 3.0, 50).astype(np.float32) for seed in range(4)]
    moments = init_moments()
    for batch in batches:
        moments = update_moments(moments, jnp.array(batch))
    np.testing.assert_allclose(moments.count, 200.0, rtol=1e-5)
    np.testing.assert_allclose(moments.mean, np.mean(batches), rtol=1e-5)
    np.testing.assert_allclose(moments.variance, np.var(batches), rtol=1e-4)


def test_moments_of_observations_are_those_of_all_rollouts_together_without_absent_tokens():
    rollouts = [rollout(seed) for seed in range(3)]
    moments = seen(*rollouts)
    tokens, arrays = present(*rollouts)
    for found, values in ((moments["tokens"], tokens), (moments["array"], arrays)):
        np.testing.assert_allclose(found.count, len(values), rtol=1e-6)
        np.testing.assert_allclose(found.mean, values.mean(axis=0), rtol=1e-4)
        np.testing.assert_allclose(found.variance, values.var(axis=0), rtol=1e-3)


def test_what_was_seen_has_mean_zero_and_variance_one_once_normalized():
    observation = rollout(0)
    normalized = normalize_observation(seen(observation), observation)
    for values in present(normalized):
        np.testing.assert_allclose(values.mean(axis=0), 0.0, atol=1e-3)
        np.testing.assert_allclose(values.var(axis=0), 1.0, rtol=1e-3)


def test_absent_tokens_become_zero_and_masks_stay():
    observation = rollout(0)
    group = normalize_observation(seen(observation), observation)["tokens"]
    np.testing.assert_array_equal(group.mask, observation["tokens"].mask)
    assert not np.asarray(group.values)[~np.asarray(group.mask)].any()
    assert group.kind == observation["tokens"].kind


def test_the_order_of_tokens_means_nothing():
    observation = rollout(0)
    turned = observation | {"tokens": jax.tree.map(lambda leaf: leaf[:, :, ::-1], observation["tokens"])}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), seen(observation), seen(turned))


def test_booleans_and_bytes_are_left_alone():
    observation = rollout(0)
    moments = seen(observation)
    assert moments["cells"] is None
    assert normalize_observation(moments, observation)["cells"] is observation["cells"]
    count = jnp.arange(3, dtype=jnp.uint8)
    assert init_observation_moments(count) is None
    assert update_observation_moments(None, count) is None
    assert normalize_observation(None, count) is count


def test_an_observation_may_be_a_bare_array():
    values = jnp.array(np.random.default_rng(0).normal(7.0, 2.0, (20, 5, 3)), jnp.float32)
    moments = update_observation_moments(init_observation_moments(values[0]), values)
    assert moments.mean.shape == (3,)
    np.testing.assert_allclose(normalize_observation(moments, values).std(axis=(0, 1)), 1.0, rtol=1e-3)


def test_before_anything_was_seen_values_are_only_clipped():
    observation = {"array": jnp.array([[1.5, -3.0, 40.0]])}
    normalized = normalize_observation(init_observation_moments(observation), observation, clip=10.0)
    np.testing.assert_allclose(normalized["array"], [[1.5, -3.0, 10.0]], rtol=1e-6)


def test_a_rollout_without_any_token_changes_nothing():
    observation = rollout(0)
    moments = seen(observation)
    group = observation["tokens"]
    none = observation | {"tokens": group.replace(mask=jnp.zeros_like(group.mask))}
    after = update_observation_moments(moments, none)["tokens"]
    jax.tree.map(np.testing.assert_array_equal, after, moments["tokens"])


def test_a_feature_that_never_changes_is_zero_and_not_infinite():
    observation = jnp.full((6, 4, 2), 3.0)
    moments = update_observation_moments(init_observation_moments(observation[0]), observation)
    moments = moments.replace(variance=jnp.zeros_like(moments.variance), mean=jnp.full(2, 3.0))
    assert not normalize_observation(moments, observation).any()


def test_shards_with_different_numbers_of_tokens_find_the_moments_of_the_whole():
    observation = rollout(0)
    mask = jnp.asarray(observation["tokens"].mask).at[:, :2].set(False).at[0, 0, 0].set(True)
    observation["tokens"] = observation["tokens"].replace(
        values=jnp.nan_to_num(observation["tokens"].values, nan=1.0), mask=mask
    )
    # [T, E, ...] -> [shards, T, E / shards, ...]
    shards = jax.tree.map(
        lambda leaf: jnp.moveaxis(leaf.reshape(6, 2, 2, *leaf.shape[2:]), 1, 0), observation
    )
    moments = init_observation_moments(first_step(observation))
    sharded = jax.vmap(
        lambda part: update_observation_moments(moments, part, axis_name="shards"), axis_name="shards"
    )(shards)
    whole = update_observation_moments(moments, observation)
    for shard in range(2):
        own = jax.tree.map(lambda leaf, shard=shard: leaf[shard], sharded)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), own, whole)


def test_moments_go_through_a_scan_and_stay_what_they_are():
    moments = init_observation_moments(first_step(rollout(0)))
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[rollout(seed) for seed in range(3)])
    step = lambda seen, observation: (update_observation_moments(seen, observation), None)  # noqa: E731
    scanned, _ = jax.lax.scan(step, moments, stacked)
    expected = seen(*[rollout(seed) for seed in range(3)])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), scanned, expected)


@pytest.mark.parametrize("name", ["attention", "mlp"])
def test_the_ratio_is_one_with_the_moments_that_acted_and_not_with_newer_ones(name):
    env = Bikkle(4)
    params = env.default_params
    network = make_actor_critic(env, params, name, NetworkConfig(width=16))
    keys = jax.random.split(jax.random.key(0), 6)
    observations, _ = jax.vmap(jax.vmap(env.reset_env, (0, None)), (0, None))(
        jax.random.split(keys[0], (5, 8)), params
    )
    start = first_step(observations)
    weights = jax.jit(network.init)(keys[1], start)
    # Away from the small initial head, so that the policy depends on what it sees.
    weights = jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(keys[2], leaf.shape), weights)
    acting = update_observation_moments(init_observation_moments(start), observations)
    newer = update_observation_moments(acting, jax.tree.map(lambda leaf: leaf[:2], observations))

    def distribution(moments, observation):
        return network.apply(weights, normalize_observation(moments, observation))[0]

    def act(_, observation):
        return None, distribution(acting, observation).sample_and_log_prob(seed=keys[3])

    _, (action, log_prob) = jax.jit(lambda: jax.lax.scan(act, None, observations))()
    flat = jax.tree.map(lambda leaf: leaf.reshape(40, *leaf.shape[2:]), (observations, action))
    log_ratio = lambda moments: distribution(moments, flat[0]).log_prob(flat[1]) - log_prob.reshape(-1)  # noqa: E731
    np.testing.assert_allclose(jax.jit(log_ratio)(acting), 0.0, atol=2e-5)
    assert np.abs(jax.jit(log_ratio)(newer)).max() > 1e-2
