r"""Values that spread over a grid from cell to cell, at a price for each cell.

.. math::
    v_0 = s, \qquad v_{k+1}(x) = \max\Big(s(x),\ \max_{y \sim x} v_k(y) - c(x)\Big)

A recurrence with the same weights in each iteration, in which a maximum over the four neighbors takes the
place of a convolution's sum. With a prohibitive price where there is a wall, `v` becomes the best source less
the price of the cheapest path to it. It is the max-propagation of value propagation networks (Nardelli et al.
2018, arXiv:1805.11199) in logarithms: their product of gates along a path is a sum of prices here, so that
neighboring cells differ as much far from the goal as next to it.
"""

from functools import partial

import jax
import jax.numpy as jnp

from purerl.networks.kernels.convolution import NEIGHBOURS, shifted

_NOTHING = -1e30


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def propagate(source: jax.Array, cost: jax.Array, num_iterations: int) -> jax.Array:
    """The value of each cell after some iterations of the recurrence above.

    The gradient is that of the limit, for as many steps: it runs from each cell along its best neighbors to
    the source that it has its value from, and is divided among neighbors that are equally good. Nothing but
    the result is kept for it. Where the values have not converged, it is that of the paths found so far.

    Args:
        source: float32 [C, H, W, B], what a cell is worth by itself.
        cost: float32 [C, H, W, B], the price for taking over a neighbor's value, at least 0.
        num_iterations: how many cells a value may travel.

    Returns:
        float32 [C, H, W, B].
    """
    return _propagate_forward(source, cost, num_iterations)[0]


def _best_neighbor(value):
    best = shifted(value, *NEIGHBOURS[0], fill=_NOTHING)
    for step in NEIGHBOURS[1:]:
        best = jnp.maximum(best, shifted(value, *step, fill=_NOTHING))
    return best


def _propagate_forward(source, cost, num_iterations):
    def iterate(value, _):
        return jnp.maximum(source, _best_neighbor(value) - cost), None

    value = jax.lax.scan(iterate, source, None, length=num_iterations)[0]
    return value, (source, cost, value)


def _propagate_backward(num_iterations, residuals, gradient):
    source, cost, value = residuals
    best = _best_neighbor(value)
    taken = best - cost > source  # [C, H, W, B]
    chosen = [(shifted(value, *step, fill=_NOTHING) == best) & taken for step in NEIGHBOURS]
    share = 1.0 / jnp.maximum(sum(c.astype(jnp.float32) for c in chosen), 1.0)
    weights = [jnp.where(c, share, 0.0) for c in chosen]

    def iterate(flow, _):
        arriving = gradient
        for (row, column), weight in zip(NEIGHBOURS, weights, strict=True):
            arriving = arriving + shifted(flow * weight, -row, -column)
        return arriving, None

    flow = jax.lax.scan(iterate, gradient, None, length=num_iterations)[0]
    return jnp.where(taken, 0.0, flow), jnp.where(taken, -flow, 0.0)


propagate.defvjp(_propagate_forward, _propagate_backward)
