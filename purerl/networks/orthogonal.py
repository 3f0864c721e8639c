"""Orthogonal matrices at random, by products and sums alone."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp


def orthogonal(scale: float = 1.0) -> nn.initializers.Initializer:
    """Orthogonal initialization (Saxe et al. 2014), the usual choice for policy gradients.

    The matrix is that of `jax.nn.initializers.orthogonal` for the same key, but for rounding, without LAPACK,
    whose routines share a batch among the threads of XLA and wait for them: on several CPU devices, which
    have these threads in common, a program can wait for itself for ever.

    Args:
        scale: what the matrix is multiplied by.

    Returns:
        `(key, shape, dtype) -> float32 [F, G]`: orthonormal columns, or rows where there are more columns,
        distributed evenly over all such matrices (Haar); leading axes of the shape are joined to the rows.
    """

    def initialize(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> jax.Array:
        num_rows, num_columns = math.prod(shape[:-1]), shape[-1]
        tall = (max(num_rows, num_columns), min(num_rows, num_columns))
        found = orthonormalized(jax.random.normal(key, tall, dtype).T)
        found = found if num_rows < num_columns else found.T
        return (scale * found).reshape(shape).astype(dtype)

    return initialize


def orthonormalized(vectors: jax.Array) -> jax.Array:
    """Vectors, float32 [N, D] with N at most D, made orthonormal: each less its part along those before it.

    The Gram-Schmidt process, with each projection taken twice, which leaves rounding alone ("twice is
    enough": Giraud et al. 2005, The loss of orthogonality in the Gram-Schmidt orthogonalization process). The
    result is the factor Q of the QR decomposition in which R has a positive diagonal, and with it, for
    independent normal numbers, of the Haar distribution (Mezzadri 2007, arXiv:math-ph/0609050). What is zero
    stays zero.
    """
    num_vectors = vectors.shape[0]
    highest = jax.lax.Precision.HIGHEST

    def step(turn, found):
        index = turn // 2  # each vector has two turns: half as much to compile as both in one
        vector = jax.lax.dynamic_index_in_dim(found, index, keepdims=False)
        along = jnp.where(jnp.arange(num_vectors) < index, jnp.matmul(found, vector, precision=highest), 0.0)
        vector -= jnp.matmul(along, found, precision=highest)
        square = jnp.square(vector).sum()
        vector *= jnp.where(square > 0.0, jax.lax.rsqrt(jnp.where(square > 0.0, square, 1.0)), 0.0)
        return jax.lax.dynamic_update_index_in_dim(found, vector, index, 0)

    return jax.lax.fori_loop(0, 2 * num_vectors, step, vectors)
