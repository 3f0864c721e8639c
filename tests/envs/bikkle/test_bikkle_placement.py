"""A fixed number of candidates against plain rejection sampling."""

import jax
import jax.numpy as jnp
import numpy as np

from envs import random as words_of
from envs.bikkle import Bikkle, BikkleParams
from envs.bikkle.placement import first_free, respawn


def rejection(rng, others, reach, count):
    """Plain rejection, all draws at once: points of the square further than `reach` from the others."""
    points = rng.random((4 * count, 2))
    distance = np.linalg.norm(points[:, None] - others, axis=-1).min(axis=1)
    return points[distance > reach][:count]


def two_sample_chi_square(a, b, bins):
    """Statistic of equal distribution over a grid, standardized: about N(0, 1) if they are equal."""
    edges = np.linspace(0, 1, bins + 1)
    x = np.histogram2d(*a.T, (edges, edges))[0].ravel()
    y = np.histogram2d(*b.T, (edges, edges))[0].ravel()
    filled = x + y > 20
    statistic = ((x - y) ** 2 / np.maximum(x + y, 1))[filled].sum()
    freedom = filled.sum() - 1
    return (statistic - freedom) / np.sqrt(2 * freedom)


def test_respawning_has_the_distribution_of_plain_rejection_sampling():
    count, reach = 100_000, 0.16
    others = np.array([[0.2, 0.2], [0.5, 0.55], [0.8, 0.3]])
    x, y = (jnp.array([0.5, *others[:, i]], jnp.float32) for i in range(2))
    touched = jnp.array([True, False, False, False])

    def once(key):
        words = words_of.words(words_of.key_words(key), 16)
        return jnp.stack([p[0] for p in respawn(words, (x, y), ~touched, touched, reach**2)])

    ours = np.asarray(jax.jit(jax.vmap(once))(jax.random.split(jax.random.key(0), count)))
    plain = rejection(np.random.default_rng(0), others, reach, count)
    assert np.linalg.norm(ours[:, None] - others, axis=-1).min() > reach
    assert abs(two_sample_chi_square(ours, plain, 20)) < 4.0
    # The test would notice if a half of the arena were short of a tenth of its points.
    spoiled = plain[(plain[:, 0] < 0.5) | (np.arange(count) % 10 > 0)]
    assert two_sample_chi_square(ours, spoiled, 20) > 5.0


def test_the_second_of_two_touched_pellets_has_the_distribution_of_rejection_after_the_first():
    count, reach = 100_000, 0.3
    x, y = jnp.array([0.45, 0.55, 0.5]), jnp.array([0.5, 0.5, 0.1])
    touched = jnp.array([True, True, False])

    def once(key):
        words = words_of.words(words_of.key_words(key), 24)
        return jnp.stack([p[:2] for p in respawn(words, (x, y), ~touched, touched, reach**2)])

    ours = np.asarray(jax.jit(jax.vmap(once))(jax.random.split(jax.random.key(1), count)))
    rng = np.random.default_rng(1)
    first = rejection(rng, np.array([[0.5, 0.1]]), reach, count)
    second = np.full((count, 2), np.nan)
    while np.isnan(second).any():
        open_ = np.isnan(second[:, 0])
        tries = rng.random((open_.sum(), 2))
        free = np.linalg.norm(tries - first[open_], axis=1) > reach
        free &= np.linalg.norm(tries - [0.5, 0.1], axis=1) > reach
        second[np.flatnonzero(open_)[free]] = tries[free]
    assert abs(two_sample_chi_square(ours[:, :, 0], first, 16)) < 4.0
    assert abs(two_sample_chi_square(ours[:, :, 1], second, 16)) < 4.0
    gap = np.linalg.norm(ours[:, :, 0] - ours[:, :, 1], axis=1)
    expected = np.linalg.norm(first - second, axis=1)
    # Standard error of either mean about 0.2 / sqrt(100000) = 0.0006; four of both.
    assert abs(gap.mean() - expected.mean()) < 0.004


def test_a_reset_puts_everything_apart_and_spreads_evenly():
    env, params = Bikkle(max_pellets=16), BikkleParams(num_pellets=16)
    keys = jax.random.split(jax.random.key(2), 4000)
    _, states = jax.jit(jax.vmap(env.reset_env, (0, None)))(keys, params)
    x, y = (
        np.concatenate([np.asarray(states.agent)[:, i : i + 1], np.asarray(pellets)], axis=1)
        for i, pellets in enumerate((states.pellet_x, states.pellet_y))
    )
    distance = np.hypot(x[:, :, None] - x[:, None], y[:, :, None] - y[:, None]) + np.eye(17)
    assert distance.min() > 0.08
    assert ((x > 0) & (x < 1) & (y > 0) & (y < 1)).all()
    share = np.bincount(np.asarray(states.target), minlength=16)[::2] / 4000
    # Standard error sqrt(1/8 * 7/8 / 4000) = 0.0052; four of them.
    np.testing.assert_allclose(share, 1 / 8, atol=0.021)


def test_the_first_free_candidate_is_taken_and_else_the_widest():
    words = jnp.arange(10, 15, dtype=jnp.uint32)
    clearance = jnp.array([0.01, 0.02, 0.9, 0.5, 0.03])
    assert first_free(words, clearance, 0.1) == 12
    assert first_free(words, clearance, 0.6) == 12
    assert first_free(words, clearance, 1.0) == 12
    assert first_free(words, clearance.at[2].set(0.0), 1.0) == 13


def test_words_are_uniform_in_every_bit_and_differ_between_keys_and_counters():
    keys = jax.random.split(jax.random.key(4), 20_000)
    words = np.asarray(jax.vmap(lambda key: words_of.words(words_of.key_words(key), 8))(keys))
    bits = (words[..., None] >> np.arange(32, dtype=np.uint32)) & 1
    # Standard error of a share 0.5 / sqrt(20000) = 0.0035; 256 of them are looked at.
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 0.017
    correlation = np.corrcoef(words.T.astype(float))
    assert np.abs(correlation - np.eye(8)).max() < 0.035
    assert len(np.unique(words)) > 0.9999 * words.size * (1 - words.size / 2**33)


def test_normals_have_the_moments_of_a_normal_and_are_finite():
    words = jax.random.bits(jax.random.key(5), (200_000,), jnp.uint32)
    extremes = jnp.array([0, 2**32 - 1], jnp.uint32)
    assert jnp.isfinite(words_of.normals(extremes)).all()
    draws = np.asarray(words_of.normals(words))
    # Standard errors 0.0022, 0.0032 and 0.011; four of them.
    np.testing.assert_allclose([draws.mean(), draws.var(), (draws**4).mean()], [0, 1, 3], atol=0.09)
    np.testing.assert_allclose([draws.mean(), draws.var()], [0, 1], atol=0.013)
