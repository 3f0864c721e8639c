"""Measures of the networks on grids: `python -m benchmarks.networks`; `--help` lists them all.

Everything is timed as learning has it: in a scan over microbatches, forward and backward, on all devices.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.rows import Row, on_all_devices, rates, seconds_of, take
from purerl import spaces
from purerl.networks import GridNetworkName, NetworkConfig, make_actor_critic
from purerl.networks.kernels.convolution import convolve
from purerl.types import PyTree

SIZES = (9, 15)
NETWORKS: dict[str, tuple[GridNetworkName, NetworkConfig, int]] = {
    "mlp 256-256": ("mlp", NetworkConfig(width=256, head_width=0), 512),
    "cnn, 32 channels, 4 blocks": ("cnn", NetworkConfig(channels=32), 64),
    "recurrent, propagation": ("recurrent", NetworkConfig(channels=4), 128),
    "recurrent convolution, 16 channels": ("recurrent", NetworkConfig(recurrence="convolve"), 64),
}
"""Network, sizes, and samples in a microbatch."""
POOL = 2048
"""Grids that microbatches are taken from, on each device."""


@dataclass(frozen=True)
class GridObserver:
    """What a network needs to know of an environment: it observes a grid and has four actions."""

    shape: tuple[int, ...]
    actions: spaces.Discrete = field(default_factory=lambda: spaces.Discrete(4))

    def observation_space(self, params: Any) -> spaces.Box:
        """The grid."""
        return spaces.Box(0, 1, self.shape, bool)

    def action_space(self, params: Any) -> spaces.Discrete:
        """Up, down, left, right."""
        return self.actions


def networks() -> list[Row]:
    """Gradients of actor and critic on grids of three channels, bool, as the maze shows them."""
    command = "python -m benchmarks.networks --only networks"
    rows = []
    for name, (encoder, config, microbatch) in NETWORKS.items():
        for size in SIZES:
            rate = gradient_rates(encoder, config, size, microbatch)
            rows.append(Row.of(f"{name}, {size} x {size}", rate, "samples/s", command=command))
    return rows


def microbatches() -> list[Row]:
    """The two-layer perceptron of 256 on 9 x 9, at several sizes of microbatch."""
    command = "python -m benchmarks.networks --only microbatches"
    encoder, config, _ = NETWORKS["mlp 256-256"]
    return [
        Row.of(
            f"mlp 256-256, 9 x 9, microbatch {size}",
            gradient_rates(encoder, config, 9, size, samples=16384),
            "samples/s",
            command=command,
        )
        for size in (64, 128, 256, 512, 1024, 2048)
    ]


def convolutions() -> list[Row]:
    """Eight convolutions one after another, with their gradients, against the one of XLA."""
    command = "python -m benchmarks.networks --only convolutions"
    rows = []
    for size in SIZES:
        for channels in (16, 32):
            ours, theirs = (convolution_rates(f, channels, size) for f in (convolve, convolve_by_xla))
            name = f"8 convolutions, {channels} channels, {size} x {size}"
            rows.append(Row.of(name, ours, "GFLOP/s", median(theirs), command=command))
    return rows


def gradient_rates(
    encoder: GridNetworkName, config: NetworkConfig, size: int, microbatch: int, samples: int = 2048
) -> list[float]:
    """Samples per second, forward and backward, on all devices together."""
    env = GridObserver((size, size, 3))
    network = make_actor_critic(env, None, encoder, config)
    params: PyTree = jax.jit(network.init)(jax.random.key(0), jnp.zeros((1, *env.shape), bool))

    def loss(params: PyTree, observation: jax.Array) -> jax.Array:
        policy, value = network.apply(params, observation)  # type: ignore[misc]
        return (jnp.square(value) - policy.log_prob(jnp.zeros(value.shape, jnp.int32))).mean()

    def run(keys: jax.Array) -> PyTree:
        grids = jax.random.bits(keys[0], (POOL, *env.shape), jnp.uint8) < 128
        index = jnp.arange(samples).reshape(-1, microbatch) % POOL
        return sum_of_gradients(lambda params, part: loss(params, grids[part]), params, index)

    return rates(samples * jax.device_count(), seconds_of(on_all_devices(run), repeats=9))


def sum_of_gradients(loss: Callable, params: PyTree, batches: PyTree) -> PyTree:
    """Adds up the gradients of one microbatch after another: leaves [1, ...], for a mesh of devices."""

    def accumulate(total: PyTree, batch: PyTree) -> tuple[PyTree, None]:
        return jax.tree.map(jnp.add, total, jax.grad(loss)(params, batch)), None

    total = jax.lax.scan(accumulate, jax.tree.map(jnp.zeros_like, params), batches)[0]
    return jax.tree.map(lambda leaf: leaf[None], total)


def convolution_rates(convolution: Callable, channels: int, size: int, microbatch: int = 64) -> list[float]:
    """GFLOP/s of eight layers, forward and backward, on all devices together."""
    num_layers, num_parts = 8, 4
    kernels = jax.random.normal(jax.random.key(0), (num_layers, 9 * channels, channels)) / (3 * channels**0.5)

    def loss(kernels: jax.Array, x: jax.Array) -> jax.Array:
        for kernel in kernels:
            x = jax.nn.relu(convolution(kernel, x))
        return jnp.square(x).mean()

    def run(keys: jax.Array) -> PyTree:
        shape = (num_parts, channels, size, size, microbatch)
        return sum_of_gradients(loss, kernels, jax.random.normal(keys[0], shape))

    # Two operations for each weight and cell; backward takes twice as many as forward.
    operations = 3 * 2 * kernels.size * size**2 * num_parts * microbatch * jax.device_count()
    return rates(operations / 1e9, seconds_of(on_all_devices(run), repeats=5))


def convolve_by_xla(kernel: jax.Array, x: jax.Array) -> jax.Array:
    """`convolve` in terms of `jax.lax`."""
    kernel = kernel.reshape(3, 3, x.shape[0], -1)
    dimensions = ("CHWN", "HWIO", "CHWN")
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=dimensions)


MEASURES: dict[str, Callable[[], list[Row]]] = {
    "networks": networks,
    "microbatches": microbatches,
    "convolutions": convolutions,
}

if __name__ == "__main__":
    take("networks", MEASURES, str(__doc__))
