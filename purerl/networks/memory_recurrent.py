"""Gated recurrent networks: GRU and LSTM. Features first, samples last; see `purerl.networks.memory`."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from purerl.networks.kernels.dense import orthogonal
from purerl.networks.layers import Dense, Layer
from purerl.types import PyTree


def orthogonal_blocks(key: jax.Array, shape: tuple[int, int], dtype=jnp.float32) -> jax.Array:
    """An orthogonal matrix for each gate, side by side: [W, G W]."""
    width, total = shape
    keys = jax.random.split(key, total // width)
    return jnp.concatenate([orthogonal()(each, (width, width), dtype) for each in keys], axis=1)


def transposed(carry: PyTree) -> PyTree:
    """Leaves [B, W] to [W, B], and back."""
    return jax.tree.map(jnp.transpose, carry)


def unroll_cell(
    cell: Callable[[PyTree, jax.Array], tuple[PyTree, jax.Array]],
    carry: PyTree,
    inputs: jax.Array,
    is_first: jax.Array,
) -> jax.Array:
    """Runs a cell over a segment; it starts from zeros wherever an episode begins.

    Args:
        cell: `(carry, inputs [G, B]) -> (carry, y [W, B])`.
        carry: leaves [B, W].
        inputs: float32 [G, T, B].
        is_first: bool [T, B].

    Returns:
        y, float32 [W, T, B].
    """

    def step(carry, at):
        inputs_t, begins_t = at
        return cell(forget(carry, begins_t), inputs_t)

    _, y = jax.lax.scan(step, transposed(carry), (jnp.moveaxis(inputs, 1, 0), is_first))
    return jnp.moveaxis(y, 0, 1)


def forget(carry: PyTree, is_first: jax.Array) -> PyTree:
    """Zeros where an episode begins, bool [B]; leaves [W, B]."""
    return jax.tree.map(lambda leaf: jnp.where(is_first, 0.0, leaf), carry)


class GRU(Layer):
    r"""Gated recurrent units.

    .. math::
        r = \sigma(W_r x + U_r h), \quad z = \sigma(W_z x + U_z h), \quad
        n = \tanh(W_n x + r \odot (U_n h + c)), \quad h' = (1 - z) \odot n + z \odot h

    Source: Cho et al. 2014 (arXiv:1406.1078), with the reset gate behind the product, so that all products
    with h are one.
    """

    width: int

    @nn.nowrap
    def initial(self, batch: int) -> jax.Array:
        """h = 0: float32 [B, W]."""
        return jnp.zeros((batch, self.width))

    def setup(self):
        """The products with x, with h, and the bias c."""
        self.inputs = Dense(3 * self.width, scale=1.0)
        self.recurrent = self.param("recurrent", orthogonal_blocks, (self.width, 3 * self.width))
        self.bias = self.param("bias", nn.initializers.zeros_init(), (self.width, 1))

    def step(self, carry: jax.Array, x: jax.Array, is_first: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One step: the new carry, float32 [B, W], and y, float32 [W, B]."""
        hidden, y = self._cell(forget(carry.T, is_first), self.inputs(x))
        return hidden.T, y

    def __call__(self, carry: jax.Array, x: jax.Array, is_first: jax.Array) -> jax.Array:
        """A segment, float32 [W, T, B] -> [W, T, B]."""
        return unroll_cell(self._cell, carry, self.inputs(x), is_first)

    def _cell(self, hidden: jax.Array, inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
        products = self.recurrent.T @ hidden
        gates = jax.nn.sigmoid(inputs[: 2 * self.width] + products[: 2 * self.width])
        reset, update = jnp.split(gates, 2)
        fresh = jnp.tanh(inputs[2 * self.width :] + reset * (products[2 * self.width :] + self.bias))
        hidden = fresh + update * (hidden - fresh)
        return hidden, hidden


class LSTM(Layer):
    r"""Long short-term memory.

    .. math::
        i, f, o = \sigma(W x + U h + b), \quad g = \tanh(W_g x + U_g h), \quad
        c' = f \odot c + i \odot g, \quad h' = o \odot \tanh(c')

    The bias of the forget gate is 1 at first. Source: Hochreiter and Schmidhuber 1997; the forget gate, Gers
    et al. 2000.
    """

    width: int

    @nn.nowrap
    def initial(self, batch: int) -> tuple[jax.Array, jax.Array]:
        """h = 0 and c = 0: float32 [B, W] each."""
        return jnp.zeros((batch, self.width)), jnp.zeros((batch, self.width))

    def setup(self):
        """The products with x and with h."""
        self.inputs = Dense(4 * self.width, scale=1.0)
        self.recurrent = self.param("recurrent", orthogonal_blocks, (self.width, 4 * self.width))

    def step(self, carry: PyTree, x: jax.Array, is_first: jax.Array) -> tuple[PyTree, jax.Array]:
        """One step: the new carry, and y, float32 [W, B]."""
        carry, y = self._cell(forget(transposed(carry), is_first), self.inputs(x))
        return transposed(carry), y

    def __call__(self, carry: PyTree, x: jax.Array, is_first: jax.Array) -> jax.Array:
        """A segment, float32 [W, T, B] -> [W, T, B]."""
        return unroll_cell(self._cell, carry, self.inputs(x), is_first)

    def _cell(self, carry: PyTree, inputs: jax.Array) -> tuple[PyTree, jax.Array]:
        hidden, cell = carry
        enter, forget, leave, fresh = jnp.split(inputs + self.recurrent.T @ hidden, 4)
        cell = jax.nn.sigmoid(forget + 1.0) * cell + jax.nn.sigmoid(enter) * jnp.tanh(fresh)
        hidden = jax.nn.sigmoid(leave) * jnp.tanh(cell)
        return (hidden, cell), hidden
