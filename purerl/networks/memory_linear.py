"""Linear recurrent units: a recurrence that a whole segment solves at once. See `purerl.networks.memory`."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from purerl.networks.layers import Dense, Layer, LayerNorm
from purerl.networks.probing import residual_ratio, tell

Complex = tuple[jax.Array, jax.Array]
"""Real and imaginary part: XLA's CPU code for complex numbers is several times slower."""


def _times(a: Complex, b: Complex) -> Complex:
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def linear_recurrence(decay: Complex, inputs: Complex, start: Complex) -> Complex:
    r"""Solves :math:`s_t = a_t s_{t-1} + b_t` by an associative scan, of depth log T.

    Args:
        decay: a, float32 [N, T, B] each.
        inputs: b, float32 [N, T, B] each.
        start: the state before the first step, float32 [N, B] each.

    Returns:
        s, float32 [N, T, B] each.
    """

    def combine(earlier, later):
        (a, b), (c, d) = earlier, later
        moved = _times(c, b)
        return _times(c, a), (moved[0] + d[0], moved[1] + d[1])

    enters = _times((decay[0][:, 0], decay[1][:, 0]), start)
    first = [part.at[:, 0].add(enter) for part, enter in zip(inputs, enters, strict=True)]
    return jax.lax.associative_scan(combine, (decay, (first[0], first[1])), axis=1)[1]


class LinearRecurrentUnit(Layer):
    r"""One layer: a diagonal linear recurrence within a residual branch.

    .. math::
        s_t = \lambda \odot s_{t-1} + \gamma \odot (B n_t), \quad y_t = \Re(C s_t) + D \odot n_t, \quad
        x'_t = x_t + (V g_t) \odot \sigma(W g_t), \quad g_t = \text{GELU}(y_t)

    with :math:`n = \text{LayerNorm}(x)` and :math:`\lambda = \exp(-\exp(\nu) + i \exp(\theta))`, so that
    :math:`|\lambda| < 1`.

    Source: Orvieto et al. 2023 (arXiv:2303.06349), section 3 and appendix A.
    """

    width: int
    min_radius: float
    max_radius: float

    def setup(self):
        """Eigenvalues on a ring, their phases within a tenth of a half turn, and the maps around them."""
        low, high = self.min_radius**2, self.max_radius**2

        def ring(key, shape):
            squared = jax.random.uniform(key, shape, minval=low, maxval=high)
            return jnp.log(-0.5 * jnp.log(squared))

        def phase(key, shape):
            return jnp.log(jax.random.uniform(key, shape, minval=1e-3, maxval=math.pi / 10))

        shape = (self.width, 1)
        self.ring = self.param("ring", ring, shape)
        self.phase = self.param("phase", phase, shape)
        radius = jnp.exp(-jnp.exp(self.ring))
        self.scale = self.param("scale", lambda key: 0.5 * jnp.log(1.0 - jnp.square(radius)))
        self.norm = LayerNorm()
        self.enter = Dense(2 * self.width, scale=1.0, use_bias=False)
        self.leave = Dense(self.width, scale=1.0, use_bias=False)
        self.skip = self.param("skip", nn.initializers.ones_init(), shape)
        self.gate = Dense(2 * self.width, scale=1.0)

    def step(self, carry: Complex, x: jax.Array, is_first: jax.Array) -> tuple[Complex, jax.Array]:
        """One step: the new carry, and x', float32 [W, B]."""
        normed = self.norm(x)
        decay, inputs = self._recurrence(normed, is_first)
        moved = _times(decay, (carry[0].T, carry[1].T))
        state = (moved[0] + inputs[0], moved[1] + inputs[1])
        return (state[0].T, state[1].T), self._out(x, normed, state)

    def __call__(self, carry: Complex, x: jax.Array, is_first: jax.Array) -> jax.Array:
        """A segment, float32 [W, T, B] -> [W, T, B]."""
        normed = self.norm(x)
        decay, inputs = self._recurrence(normed, is_first)
        return self._out(x, normed, linear_recurrence(decay, inputs, (carry[0].T, carry[1].T)))

    def _recurrence(self, normed: jax.Array, is_first: jax.Array) -> tuple[Complex, Complex]:
        shape = (self.width, *(1,) * (normed.ndim - 1))
        ring, phase, scale = (part.reshape(shape) for part in (self.ring, self.phase, self.scale))
        radius = jnp.where(is_first, 0.0, jnp.exp(-jnp.exp(ring)))
        angle = jnp.exp(phase)
        real, imaginary = jnp.split(self.enter(normed), 2)
        gamma = jnp.exp(scale)
        return (radius * jnp.cos(angle), radius * jnp.sin(angle)), (gamma * real, gamma * imaginary)

    def _out(self, x: jax.Array, normed: jax.Array, state: Complex) -> jax.Array:
        skip = self.skip.reshape(self.width, *(1,) * (x.ndim - 1))
        hidden = jax.nn.gelu(self.leave(jnp.concatenate(state)) + skip * normed)
        value, gate = jnp.split(self.gate(hidden), 2)
        branch = value * jax.nn.sigmoid(gate)
        tell(self, "residual_ratio", lambda: residual_ratio(branch, x))
        return x + branch


class LinearRecurrentUnits(nn.Module):
    """Layers of linear recurrent units, and a norm at the end."""

    width: int
    num_layers: int
    min_radius: float
    max_radius: float

    @nn.nowrap
    def initial(self, batch: int) -> tuple[Complex, ...]:
        """All states 0: a pair of float32 [B, W] for each layer."""
        return tuple((jnp.zeros((batch, self.width)),) * 2 for _ in range(self.num_layers))

    def setup(self):
        """The layers."""
        settings = (self.width, self.min_radius, self.max_radius)
        self.layers = [LinearRecurrentUnit(*settings) for _ in range(self.num_layers)]
        self.norm = LayerNorm()

    def step(self, carry: tuple[Complex, ...], x: jax.Array, is_first: jax.Array) -> tuple:
        """One step: the new carry, and y, float32 [W, B]."""
        states = []
        for layer, state in zip(self.layers, carry, strict=True):
            after, x = layer.step(state, x, is_first)
            states.append(after)
        return tuple(states), self.norm(x)

    def __call__(self, carry: tuple[Complex, ...], x: jax.Array, is_first: jax.Array) -> jax.Array:
        """A segment, float32 [W, T, B] -> [W, T, B]."""
        for layer, state in zip(self.layers, carry, strict=True):
            x = layer(state, x, is_first)
        return self.norm(x)
