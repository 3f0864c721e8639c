"""What a dense layer is made of: product and bias with their gradients, and orthogonal matrices at random."""

import math

import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer

from purerl.compile.platforms import rows_first, turns_samples


def _product(a, b):
    if getattr(jax.config, "jax_default_matmul_precision", None) != "bfloat16":
        return a @ b
    return jnp.matmul(a.astype(jnp.bfloat16), b.astype(jnp.bfloat16), preferred_element_type=jnp.float32)


@jax.custom_vjp
def matmul(kernel: jax.Array, x: jax.Array) -> jax.Array:
    """Contracts the first axis of both: kernel [F, G], x [F, ...] -> [G, ...].

    Under `jax.default_matmul_precision("bfloat16")` factors are rounded to bfloat16 and products summed in
    float32, on every kind of device. The gradient is written out, because XLA's own form of it transposes the
    activations in memory.
    """
    columns = x.reshape(x.shape[0], -1)
    if turns_samples(columns.shape[1]):
        product = rows_first(_product(rows_first(columns.T), rows_first(kernel))).T
    else:
        product = _product(kernel.T, columns)
    return product.reshape(kernel.shape[1], *x.shape[1:])


def _matmul_forward(kernel, x):
    return matmul(kernel, x), (kernel, x)


def _matmul_backward(residuals, gradient):
    kernel, x = residuals
    columns, gradient = x.reshape(x.shape[0], -1), gradient.reshape(gradient.shape[0], -1)
    return _product(columns, gradient.T), _product(kernel, gradient).reshape(x.shape)


matmul.defvjp(_matmul_forward, _matmul_backward)


@jax.custom_vjp
def add_bias(y: jax.Array, bias: jax.Array) -> jax.Array:
    """Adds a bias, [G], to features, [G, ...].

    The gradient is written out, because on a CPU a product with ones is faster than a sum.
    """
    return y + bias.reshape(-1, *(1,) * (y.ndim - 1))


def _add_bias_forward(y, bias):
    return add_bias(y, bias), None


def _add_bias_backward(_, gradient):
    columns = gradient.reshape(gradient.shape[0], -1)
    columns = rows_first(columns) if turns_samples(columns.shape[1]) else columns
    ones = jnp.ones(columns.shape[1], columns.dtype)
    return gradient, jnp.matmul(columns, ones, precision=jax.lax.Precision.HIGHEST)


add_bias.defvjp(_add_bias_forward, _add_bias_backward)


def orthogonal(scale: float = 1.0) -> Initializer:
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

    def initialize(key, shape, dtype=jnp.float32, out_sharding=None):
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
