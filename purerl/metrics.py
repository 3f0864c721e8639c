"""Metrics as sums: a mean is a total and a weight, so that updates, shards and seeds combine by adding."""

import jax
import jax.numpy as jnp
from flax import struct

from purerl.types import Mean, Metrics


def as_mean(value: jax.Array) -> Mean:
    """The mean of all entries of an array, each of weight one."""
    return Mean(total=jnp.sum(value, dtype=jnp.float32), weight=jnp.float32(jnp.size(value)))


def as_means(values: dict[str, jax.Array]) -> Metrics:
    """The mean of each of several arrays of one shape [B], as a single reduction."""
    totals = jnp.stack([value.astype(jnp.float32) for value in values.values()]).sum(1)
    size = next(iter(values.values())).size
    return {name: Mean(total=totals[i], weight=jnp.float32(size)) for i, name in enumerate(values)}


def masked_mean(values: jax.Array, mask: jax.Array) -> Mean:
    """The mean of the values [E] where the mask, bool [E], holds."""
    total = jnp.where(mask, values, 0).sum(dtype=jnp.float32)
    return Mean(total=total, weight=mask.sum(dtype=jnp.float32))


@struct.dataclass
class Packed:
    """Metrics in one array, for loops: what a scan stacks or adds leaf by leaf costs a kernel a leaf.

    Attributes:
        values: totals and weights, float32 [..., K, 2].
        names: K names, static.
    """

    values: jax.Array
    names: tuple[str, ...] = struct.field(pytree_node=False)


def pack(metrics: Metrics) -> Packed:
    """Puts metrics of scalars into one array."""
    flat = [part for mean in metrics.values() for part in (mean.total, mean.weight)]
    return Packed(values=jnp.stack(flat).reshape(-1, 2), names=tuple(metrics))


def unpack_sum(packed: Packed) -> Metrics:
    """Adds up metrics that loops have stacked along any number of leading axes."""
    values = packed.values.reshape(-1, len(packed.names), 2).sum(0)
    return {name: Mean(total=values[i, 0], weight=values[i, 1]) for i, name in enumerate(packed.names)}
