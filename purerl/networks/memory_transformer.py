"""Gated transformer-XL: attention to past steps as a memory. See `purerl.networks.memory`.

Axes: W width, H heads, D width of a head, T time, M past steps, B samples.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from purerl.networks.kernels.dense import matmul, orthogonal
from purerl.networks.kernels.past import attend_to_past, gather_past, weigh_past
from purerl.networks.layers import Dense, Layer, LayerNorm
from purerl.networks.probing import attention_entropy, residual_ratio, tell


@struct.dataclass
class Past:
    """What the transformer remembers.

    Attributes:
        states: for each layer the last M + 1 of its inputs, normalized: a ring, float32 [B, M + 1, W].
        length: how many of them belong to the episode, M at most, int32 [B].
        cursor: where the ring is written next, where the oldest stands: int32 [B], all the same.
    """

    states: tuple[jax.Array, ...]
    length: jax.Array
    cursor: jax.Array


def standardize(x: jax.Array) -> jax.Array:
    """Mean 0 and variance 1 over the features, axis 0; what follows is linear and has scale and bias."""
    centered = x - x.mean(0, keepdims=True)
    return centered * jax.lax.rsqrt(jnp.square(centered).mean(0, keepdims=True) + 1e-5)


def episode_ages(is_first: jax.Array, length: jax.Array, limit: int) -> jax.Array:
    """How many steps of its episode lie before each step, `limit` at most: int32 [T, B].

    Args:
        is_first: bool [T, B], first steps of an episode.
        length: how many lie before the segment, int32 [B].
        limit: M.
    """
    time = jnp.arange(is_first.shape[0], dtype=jnp.int32)[:, None]
    last_begin = jax.lax.cummax(jnp.where(is_first, time, -length - 1), axis=0)
    return jnp.minimum(jnp.where(last_begin >= 0, time - last_begin, time + length), limit)


def sinusoids(num_distances: int, width: int) -> jax.Array:
    """Sine and cosine of the distances M, M - 1, ..., 0 at geometric wavelengths: float32 [W, M + 1].

    Source: Vaswani et al. 2017 (arXiv:1706.03762), section 3.5.
    """
    rate = 10_000.0 ** -(np.arange(0, width, 2) / width)
    angle = rate[:, None] * np.arange(num_distances)[::-1]
    return jnp.asarray(np.concatenate([np.sin(angle), np.cos(angle)])[:width], jnp.float32)


class Gate(Layer):
    r"""A gated recurrent unit in the place of a residual connection: x [W, ...], y [W, ...] -> [W, ...].

    .. math::
        r = \sigma(W_r y + U_r x), \quad z = \sigma(W_z y + U_z x - b), \quad
        h = \tanh(W_g y + U_g (r \odot x)), \quad g = (1 - z) \odot x + z \odot h

    Source: Parisotto et al. 2019 (arXiv:1910.06764), section 3.2.
    """

    bias: float

    @nn.compact
    def __call__(self, x: jax.Array, y: jax.Array) -> jax.Array:
        """Lets y, the result of a sub-layer, into the stream x."""
        width = x.shape[0]
        start = nn.initializers.constant(-self.bias)
        bias = self.param("bias", start, (width,)).reshape(-1, *(1,) * (x.ndim - 1))
        from_y = Dense(3 * width, scale=1.0, use_bias=False, name="result")(y)
        from_x = Dense(2 * width, scale=1.0, use_bias=False, name="stream")(x)
        reset = jax.nn.sigmoid(from_y[:width] + from_x[:width])
        update = jax.nn.sigmoid(from_y[width : 2 * width] + from_x[width:] + bias)
        fresh = Dense(width, scale=1.0, use_bias=False, name="fresh")(reset * x)
        return x + update * (jnp.tanh(from_y[2 * width :] + fresh) - x)


class GatedLayer(Layer):
    """Attention to the past and a feed-forward network, each normalized before and gated behind."""

    width: int
    num_heads: int
    feed_forward: int
    gate_bias: float

    def setup(self):
        """Projections, gates and the feed-forward network."""
        heads = (self.num_heads, self.width // self.num_heads)
        square = (self.width, self.width)
        self.query = Dense(self.width, scale=1.0, use_bias=False)
        self.past = [self.param(name, orthogonal(), square) for name in ("key", "value")]
        self.position = self.param("position", orthogonal(), square)
        self.biases = self.param("biases", nn.initializers.zeros_init(), (2, *heads))
        self.attention_out = Dense(self.width, scale=1.0)
        self.attention_gate = Gate(self.gate_bias)
        self.norm = LayerNorm()
        self.feed_forward_in = Dense(self.feed_forward)
        self.feed_forward_out = Dense(self.width, scale=1.0)
        self.feed_forward_gate = Gate(self.gate_bias)

    def step(
        self, x: jax.Array, normed: jax.Array, past: jax.Array, distance: jax.Array, visible: jax.Array
    ) -> jax.Array:
        """One step: x [W, B], normalized, with the ring [B, M + 1, W] -> [W, B].

        `distance`, int32 [M + 1], is how many steps ago each state of the ring was; `visible`, bool
        [B, M + 1], whether it belongs to the episode.
        """
        heads = self.biases.shape[1:]
        positions = self._positions(past.shape[1])[..., past.shape[1] - 1 - distance]
        query = self.query(normed).reshape(*heads, -1)
        key, value = (kernel.reshape(self.width, *heads) for kernel in self.past)
        weights = weigh_past(query, past, key, positions, self.biases, visible)
        tell(
            self,
            "attention_entropy",
            lambda: attention_entropy(jnp.transpose(weights, (1, 2, 0)), visible.T),
        )
        return self._out(x, gather_past(weights, past, value))

    def __call__(self, x: jax.Array, normed: jax.Array, past: jax.Array, age: jax.Array) -> jax.Array:
        """A segment: x [W, T * B], normalized, after the past [W, M, B] -> [W, T * B]; age: int32 [T, B]."""
        heads = self.biases.shape[1:]
        every = jnp.concatenate([past, normed.reshape(-1, *age.shape)], axis=1)
        query = self.query(normed).reshape(*heads, *age.shape)
        key, value = (matmul(kernel, every).reshape(*heads, *every.shape[1:]) for kernel in self.past)
        positions = self._positions(past.shape[1] + 1)
        return self._out(x, attend_to_past(query, key, value, positions, self.biases, age))

    def _positions(self, num_distances: int) -> jax.Array:
        table = matmul(self.position, sinusoids(num_distances, self.width))
        return table.reshape(*self.biases.shape[1:], num_distances)

    def _out(self, x: jax.Array, attended: jax.Array) -> jax.Array:
        attended = self.attention_out(attended.reshape(x.shape))
        asked = self.attention_gate(x, jax.nn.relu(attended))
        tell(self, "residual_ratio/attention", lambda: residual_ratio(asked - x, x))
        hidden = jax.nn.relu(self.feed_forward_in(self.norm(asked)))
        thought = self.feed_forward_gate(asked, jax.nn.relu(self.feed_forward_out(hidden)))
        tell(self, "residual_ratio/feed_forward", lambda: residual_ratio(thought - asked, asked))
        return thought


class GatedTransformerXL(nn.Module):
    """Layers that attend to the last M steps of the episode, each to what the layer below made of them.

    The gradient ends where the segment begins. Source: Parisotto et al. 2019 (arXiv:1910.06764), section 3.
    """

    width: int
    num_layers: int
    num_heads: int
    length: int
    feed_forward: int
    gate_bias: float

    @nn.nowrap
    def initial(self, batch: int) -> Past:
        """Nothing is visible yet."""
        ring = jnp.zeros((batch, self.length + 1, self.width))
        none = jnp.zeros(batch, jnp.int32)
        return Past(states=(ring,) * self.num_layers, length=none, cursor=none)

    def setup(self):
        """The layers, and the norm at the end."""
        settings = (self.width, self.num_heads, self.feed_forward, self.gate_bias)
        self.layers = [GatedLayer(*settings) for _ in range(self.num_layers)]
        self.norm = LayerNorm()

    def step(self, carry: Past, x: jax.Array, is_first: jax.Array) -> tuple[Past, jax.Array]:
        """One step: the new carry, and y, float32 [W, B]."""
        slots, cursor = self.length + 1, carry.cursor[0]
        length = jnp.where(is_first, 0, carry.length)
        distance = (cursor - jnp.arange(slots)) % slots
        visible = distance <= length[:, None]
        states = []
        for layer, ring in zip(self.layers, carry.states, strict=True):
            normed = standardize(x)
            past = jax.lax.dynamic_update_index_in_dim(ring, normed.T, cursor, 1)
            x = layer.step(x, normed, past, distance, visible)
            states.append(past)
        after = Past(
            states=tuple(states),
            length=jnp.minimum(length + 1, self.length),
            cursor=(carry.cursor + 1) % slots,
        )
        return after, self.norm(x)

    def __call__(self, carry: Past, x: jax.Array, is_first: jax.Array) -> jax.Array:
        """A segment, float32 [W, T, B] -> [W, T, B]."""
        age = episode_ages(is_first, carry.length, self.length)
        oldest_first = (carry.cursor[0] + 1 + jnp.arange(self.length)) % (self.length + 1)
        shape, x = x.shape, x.reshape(x.shape[0], -1)
        for layer, ring in zip(self.layers, carry.states, strict=True):
            past = ring[:, oldest_first].T  # [B, M, W] -> [W, M, B]
            x = layer(x, standardize(x), past, age)
        return self.norm(x).reshape(shape)
