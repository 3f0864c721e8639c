"""Operations on grids with features first and samples last: [C, H, W, B].

A convolution here is nine shifted copies of its input and one matrix product. Inside a scan, the gradient of
`jax.lax.conv_general_dilated` leaves the fast path of XLA on a CPU and is an order of magnitude slower
(`python -m benchmarks.networks`); with the samples last, each copy moves whole rows and the product needs no
transposition, in either direction.
"""

import jax
import jax.numpy as jnp

from purerl.networks.kernels.dense import matmul

NEIGHBOURS = ((-1, 0), (1, 0), (0, -1), (0, 1))
"""Steps to the four neighbors of a cell: up, down, left, right."""

_WINDOW = tuple((row, column) for row in (-1, 0, 1) for column in (-1, 0, 1))


def shifted(x: jax.Array, row: int, column: int, fill: float = 0.0) -> jax.Array:
    """Each cell receives what lies `(row, column)` away from it, each -1, 0 or 1.

    Args:
        x: [..., H, W, B].
        row: steps downwards.
        column: steps to the right.
        fill: what lies outside the grid.

    Returns:
        [..., H, W, B].
    """
    height, width = x.shape[-3:-1]
    padding = [(0, 0)] * (x.ndim - 3) + [(1, 1), (1, 1), (0, 0)]
    padded = jnp.pad(x, padding, constant_values=fill)
    return padded[..., 1 + row : 1 + row + height, 1 + column : 1 + column + width, :]


def neighborhoods(x: jax.Array) -> jax.Array:
    """The 3 x 3 neighborhood of every cell, row by row: [C, H, W, B] -> [9 * C, H, W, B].

    Features of cells outside the grid are zero.
    """
    return jnp.concatenate([shifted(x, row, column) for row, column in _WINDOW])


@jax.custom_vjp
def convolve(kernel: jax.Array, x: jax.Array) -> jax.Array:
    """A 3 x 3 convolution that keeps the size of the grid; zeros lie outside.

    Its gradient keeps the input alone and not the nine copies, which would drive everything else out of the
    cache where many convolutions follow one another.

    Args:
        kernel: float32 [9 * C, G]: `[3, 3, C, G]` (height, width, in, out) with the first three axes joined.
        x: float32 [C, H, W, B].

    Returns:
        float32 [G, H, W, B].
    """
    return matmul(kernel, neighborhoods(x))


def _convolve_forward(kernel, x):
    return convolve(kernel, x), (kernel, x)


def _convolve_backward(residuals, gradient):
    kernel, x = residuals
    gradient = gradient.reshape(gradient.shape[0], -1)
    d_kernel = neighborhoods(x).reshape(kernel.shape[0], -1) @ gradient.T
    d_copies = (kernel @ gradient).reshape(len(_WINDOW), *x.shape)
    return d_kernel, sum(
        shifted(d, -row, -column) for d, (row, column) in zip(d_copies, _WINDOW, strict=True)
    )


convolve.defvjp(_convolve_forward, _convolve_backward)
