"""Encoders of grids: from a batch of observations [B, H, W, F] to one feature vector a sample, [B, width].

None of them pools on the way, so positions stay exact. Those that read at the agent's cell have the same
parameters whatever the size of the grid. Within, features come first and samples last: [C, H, W, B].
"""

import math
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from purerl.networks.kernels.convolution import NEIGHBOURS, convolve, shifted
from purerl.networks.kernels.dense import matmul, orthogonal
from purerl.networks.kernels.propagation import propagate
from purerl.networks.layers import Dense, Layer, activate, as_numbers

AGENT_CHANNEL = 1
"""Plane of a grid observation that is 1 in the agent's cell and 0 elsewhere."""
Readout = Literal["agent", "flatten"]
Recurrence = Literal["propagate", "convolve"]

# How a `PropagationEncoder` starts: a marked cell is worth 10 more than others, to cross one costs exp(-5).
SURROUNDINGS_SCALE = 0.3
SOURCE_SCALE = 10.0
PRICE_SCALE = 4.0
LOG_PRICE = -5.0
MAX_LOG_PRICE = 6.0


def to_grid(observation: jax.Array) -> jax.Array:
    """Puts features first and samples last: bool or number [B, H, W, F] -> float32 [F, H, W, B]."""
    return as_numbers(jnp.transpose(observation, (3, 1, 2, 0)))


class Conv(Layer):
    """A 3 x 3 convolution that keeps the size of the grid: [C, H, W, B] -> [features, H, W, B].

    Attributes:
        features: number of channels of the result.
        scale: gain of the orthogonal initialization; 0 starts the layer at zero.
        use_bias: whether to add a bias, which starts at zero.
    """

    features: int
    scale: float = math.sqrt(2.0)
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps x, float32 [C, H, W, B], to float32 [features, H, W, B]."""
        init = orthogonal(self.scale) if self.scale else nn.initializers.zeros_init()
        y = convolve(self.param("kernel", init, (9 * x.shape[0], self.features)), x)
        if self.use_bias:
            y = y + self.param("bias", nn.initializers.zeros_init(), (self.features,))[:, None, None, None]
        return y


def read_at(plane: jax.Array, x: jax.Array) -> jax.Array:
    """The features of the marked cell: plane [H, W, B] and x [C, H, W, B] -> [C, B]."""
    return (x * plane).sum((1, 2))


def read_around(plane: jax.Array, x: jax.Array) -> jax.Array:
    """The features of the four neighbors of the marked cell: [H, W, B] and [C, H, W, B] -> [4, C, B]."""
    return jnp.stack([read_at(shifted(plane, -row, -column), x) for row, column in NEIGHBOURS])


class GridReadout(nn.Module):
    """From the features of a grid to one vector: [C, H, W, B] -> [width, B].

    Attributes:
        width: size of the result.
        activation: name of a function in `jax.nn`.
        readout: "agent" joins the features of the agent's cell with the mean and the maximum of all cells and
            does not depend on the size of the grid; "flatten" joins the features of all cells.
    """

    width: int
    activation: str
    readout: Readout

    @nn.compact
    def __call__(self, x: jax.Array, plane: jax.Array) -> jax.Array:
        """Reads x, float32 [C, H, W, B], where the plane, float32 [H, W, B], is 1."""
        if self.readout == "flatten":
            joined = x.reshape(-1, x.shape[-1])
        else:
            joined = jnp.concatenate([read_at(plane, x), x.mean((1, 2)), x.max((1, 2))])
        return activate(self.activation, Dense(self.width)(joined))


class ResidualConvEncoder(nn.Module):
    """Residual blocks of two 3 x 3 convolutions, without pooling.

    Pre-activation blocks (He et al. 2016, arXiv:1603.05027); information travels two cells in each. The last
    convolution of a block is scaled by 1/sqrt(2 L): features keep their size however many blocks there are.

    Attributes:
        channels: features of each cell.
        num_blocks: L.
        width: size of the result.
        activation: name of a function in `jax.nn`.
        readout: see `GridReadout`.
    """

    channels: int = 32
    num_blocks: int = 4
    width: int = 64
    activation: str = "relu"
    readout: Readout = "agent"

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """Encodes a batch of observations [B, H, W, F]: float32 [B, width]."""
        grid = to_grid(observation)
        x = Conv(self.channels)(grid)
        for _ in range(self.num_blocks):
            hidden = Conv(self.channels)(activate(self.activation, x))
            x = x + Conv(self.channels, scale=1.0 / math.sqrt(2.0 * self.num_blocks))(
                activate(self.activation, hidden)
            )
        x = activate(self.activation, x)
        return GridReadout(self.width, self.activation, self.readout)(x, grid[AGENT_CHANNEL]).T


class RecurrentConvEncoder(Layer):
    r"""One convolution iterated k times with the input recalled in each; k is no part of the parameters.

    .. math::
        h_{k+1} = \max(0,\ W * h_k + U * x)

    Bansal et al. 2022 (arXiv:2202.05826), section 3; as in value iteration networks (Tamar et al. 2016,
    arXiv:1602.02867), each iteration carries what a cell knows to the next cells.

    Attributes:
        channels: features of each cell.
        num_iterations: k; 0 for `default_iterations` of the grid.
        width: size of the result.
        activation: name of a function in `jax.nn`, for the readout.
        readout: see `GridReadout`.
    """

    channels: int = 16
    num_iterations: int = 0
    width: int = 64
    activation: str = "relu"
    readout: Readout = "agent"

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """Encodes a batch of observations [B, H, W, F]: float32 [B, width]."""
        grid = to_grid(observation)
        recalled = Conv(self.channels, name="recall")(grid)
        kernel = self.param("kernel", orthogonal(1.0), (9 * self.channels, self.channels))

        def iterate(hidden, _):
            return jax.nn.relu(convolve(kernel, hidden) + recalled), None

        length = self.num_iterations or default_iterations(grid)
        hidden = jax.lax.scan(iterate, jax.nn.relu(recalled), None, length=length)[0]
        return GridReadout(self.width, self.activation, self.readout)(hidden, grid[AGENT_CHANNEL]).T


class PropagationEncoder(Layer):
    """Values spread from cell to cell, in the same way k times; the agent looks at those of its neighbors.

    What a cell is worth by itself and what it costs to cross are learned from the cell and its surroundings;
    `propagate` does the rest, in each map by itself. At first all cells cost the same, and each map follows
    one plane of the observation, so that one map leads to the goal from the start and shows at once which
    cells do not let the agent pass. Maps do not see the agent: its own cell would be the nearest source. k is
    no part of the parameters. A map takes about six operations for each cell and iteration; a convolution of
    16 channels, 4,608.

    Attributes:
        channels: features of each cell's surroundings.
        num_maps: maps of values; 0 for one a plane.
        num_iterations: k; 0 for `default_iterations` of the grid.
        width: size of the result.
        activation: name of a function in `jax.nn`.
    """

    channels: int = 4
    num_maps: int = 0
    num_iterations: int = 0
    width: int = 64
    activation: str = "relu"

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """Encodes a batch of observations [B, H, W, F]: float32 [B, width]."""
        grid = to_grid(observation)
        agent = grid[AGENT_CHANNEL]
        planes = jnp.concatenate([grid[:AGENT_CHANNEL], grid[AGENT_CHANNEL + 1 :]])
        num_maps = self.num_maps or len(planes)
        features = activate(self.activation, Conv(self.channels, name="surroundings")(planes))
        cells = jnp.concatenate([planes, SURROUNDINGS_SCALE * features])
        # One product for both: its gradient is one product, too, and products this thin are slow.
        kernel = self.param("sources_and_prices", _follow_planes, (len(cells), 2 * num_maps), len(planes))
        bias = self.param("bias", nn.initializers.zeros_init(), (num_maps,))
        raw = matmul(kernel, cells)
        source = SOURCE_SCALE * raw[:num_maps]
        log_price = PRICE_SCALE * (raw[num_maps:] + bias[:, None, None, None]) + LOG_PRICE
        cost = jnp.exp(jnp.minimum(log_price, MAX_LOG_PRICE))
        value = propagate(source, cost, self.num_iterations or default_iterations(grid))
        here = read_at(agent, value)
        gain = read_around(agent, value) - here  # [4, num_maps, B]
        # In units of the local price a step toward the source is worth 1 wherever the agent stands.
        gain = gain / (read_at(agent, cost) + jnp.abs(gain))
        joined = [gain.reshape(-1, here.shape[-1]), here / SOURCE_SCALE, read_at(agent, features)]
        return activate(self.activation, Dense(self.width)(jnp.concatenate(joined))).T


def _follow_planes(key: jax.Array, shape: tuple[int, int], num_planes: int) -> jax.Array:
    """The source of map m is plane m at first, its opposite in further maps; prices are all the same."""
    del key
    num_maps = shape[1] // 2
    which = jnp.arange(num_maps)
    sign = 1.0 - 2.0 * ((which // num_planes) % 2)
    return jnp.zeros(shape).at[which % num_planes, which].set(sign)


def default_iterations(grid: jax.Array) -> int:
    """As many as the longest path of a perfect maze has cells: half of the cells within the border.

    Args:
        grid: [F, H, W, B].
    """
    return max((grid.shape[1] - 1) * (grid.shape[2] - 1) // 2, 1)
