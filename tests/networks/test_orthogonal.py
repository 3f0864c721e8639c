"""Orthogonal matrices at random: orthonormal, evenly distributed, and made without LAPACK."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purerl.networks.kernels.dense import orthogonal, orthonormalized

KEY = jax.random.key(3)
SHAPES = [(1, 1), (1, 5), (5, 1), (4, 2), (2, 4), (64, 64), (120, 84), (3, 3, 8, 16), (256, 256)]


@pytest.mark.parametrize("shape", SHAPES)
def test_columns_or_rows_are_orthonormal_to_rounding_and_as_in_jax(shape):
    found = np.asarray(orthogonal(1.5)(KEY, shape))
    matrix = found.reshape(-1, shape[-1]).astype(np.float64) / 1.5
    products = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    np.testing.assert_allclose(products, np.eye(len(products)), atol=2e-6)
    np.testing.assert_allclose(found, jax.nn.initializers.orthogonal(1.5)(KEY, shape), atol=2e-5)


def test_vectors_that_are_almost_parallel_come_out_orthonormal():
    # The second differs from the first by 1e-4: of its 24 bits, 13 are lost with the first projection, and
    # the second one takes out what rounding has left along the first vector.
    first = jax.random.normal(KEY, (64,))
    second = first + 1e-4 * jax.random.normal(jax.random.key(4), (64,))
    found = np.asarray(orthonormalized(jnp.stack([first, second])), np.float64)
    np.testing.assert_allclose(found @ found.T, np.eye(2), atol=1e-6)


def test_what_is_zero_stays_zero():
    found = orthonormalized(jnp.array([[0.0, 0.0], [3.0, 4.0]]))
    np.testing.assert_allclose(found, [[0.0, 0.0], [0.6, 0.8]], rtol=1e-6)


def test_rotations_are_drawn_evenly():
    # Of 4,000 matrices of 3 x 3, each entry is uniform in [-1, 1] (Archimedes): mean 0, mean square 1/3, mean
    # fourth power 1/5; a determinant of 1 is as likely as one of -1. Bounds are four standard errors.
    found = jax.vmap(lambda key: orthogonal()(key, (3, 3)))(jax.random.split(KEY, 4000))
    found = np.asarray(found, np.float64)
    error = 4.0 / np.sqrt(4000)
    np.testing.assert_allclose(found.mean(0), 0.0, atol=error * np.sqrt(1 / 3))
    np.testing.assert_allclose((found**2).mean(0), 1 / 3, atol=error * np.sqrt(1 / 5 - 1 / 9))
    np.testing.assert_allclose((found**4).mean(0), 1 / 5, atol=error * np.sqrt(1 / 9 - 1 / 25))
    assert abs(np.linalg.det(found).mean()) < error


@pytest.mark.parametrize("shape", [(6, 64), (64, 64), (84, 120)])
def test_a_seed_alone_draws_the_bits_that_it_draws_among_others(shape):
    keys = jax.random.split(KEY, 3)
    one = jax.jit(lambda key: orthogonal()(key, shape))
    alone = np.stack([one(key) for key in keys])
    np.testing.assert_array_equal(jax.jit(jax.vmap(one))(keys), alone)
    np.testing.assert_array_equal(jax.jit(lambda keys: jax.lax.map(one, keys))(keys), alone)


def test_products_are_in_full_precision_whatever_is_asked_of_training():
    with jax.default_matmul_precision("bfloat16"):
        text = jax.jit(lambda key: orthogonal()(key, (8, 8))).lower(KEY).as_text()
    products = [line for line in text.splitlines() if "dot_general" in line]
    assert products and all(line.count("HIGHEST") == 2 for line in products)
