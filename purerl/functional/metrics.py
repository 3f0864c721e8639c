"""Metrics as sums: a mean is a total and a weight, so that updates, shards and seeds combine by adding."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

from purerl.types import Mean, Metrics


@struct.dataclass
class Packed:
    """Metrics in one array, for compiled loops, in which every leaf that is added up costs a kernel.

    `packed | metrics` has those of both; `packed[name]` is a single one.

    Attributes:
        values: totals and weights, float32 [..., K, 2].
        names: K names, static.
    """

    values: jax.Array
    names: tuple[str, ...] = struct.field(pytree_node=False)

    def __or__(self, other: "Packed | Metrics") -> "Packed":
        if not other:  # an array without elements is a constant that XLA may end the process at
            return self
        other = pack(other)
        values = jnp.concatenate([self.values, other.values], axis=-2)
        return Packed(values=values, names=self.names + other.names)

    def __ror__(self, other: Metrics) -> "Packed":
        return pack(other) | self if other else self

    def __getitem__(self, name: str) -> Mean:
        row = self.values[..., self.names.index(name), :]
        return Mean(total=row[..., 0], weight=row[..., 1])


def as_mean(value: jax.Array) -> Mean:
    """The mean of all entries of an array, each of weight one."""
    return Mean(total=jnp.sum(value, dtype=jnp.float32), weight=jnp.float32(jnp.size(value)))


def as_means(values: dict[str, jax.Array], counts: jax.Array | None = None) -> Packed:
    """The mean of each of several arrays of one shape [...], as a single reduction.

    Args:
        values: by name.
        counts: bool [...], which entries count; None where all do.
    """
    stacked = jnp.stack([value.astype(jnp.float32) for value in values.values()])
    weight = jnp.float32(stacked[0].size)
    if counts is not None:
        stacked, weight = jnp.where(counts, stacked, 0.0), counts.sum(dtype=jnp.float32)
    totals = stacked.reshape(len(values), -1).sum(1)
    weights = jnp.full(len(values), weight)
    return Packed(values=jnp.stack([totals, weights], axis=1), names=tuple(values))


def masked_mean(values: jax.Array, mask: jax.Array) -> Mean:
    """The mean of the values [E] where the mask, bool [E], holds."""
    total = jnp.where(mask, values, 0).sum(dtype=jnp.float32)
    return Mean(total=total, weight=mask.sum(dtype=jnp.float32))


def pack(metrics: Packed | Metrics) -> Packed:
    """Puts metrics with fields [...], one at least, into one array; leaves those alone that are in one."""
    if isinstance(metrics, Packed):
        return metrics
    flat = jnp.array([part for mean in metrics.values() for part in (mean.total, mean.weight)], jnp.float32)
    values = jnp.moveaxis(flat, 0, -1).reshape(*flat.shape[1:], len(metrics), 2)
    return Packed(values=values, names=tuple(metrics))


def add_up(packed: Packed) -> Packed:
    """Adds up metrics that loops have stacked along any number of leading axes."""
    return dataclasses.replace(packed, values=packed.values.reshape(-1, len(packed.names), 2).sum(0))


def means(packed: Packed | Metrics) -> dict[str, jax.Array]:
    """Each metric by its name as what it is, a mean: float32 [...], NaN where nothing went into it."""
    packed = pack(packed)
    total, weight = packed.values[..., 0], packed.values[..., 1]
    mean = jnp.where(weight > 0, total / weight, jnp.nan)
    return {name: mean[..., index] for index, name in enumerate(packed.names)}


def unpack(packed: Packed) -> Metrics:
    """Each metric by its name, fields [...]."""
    return {name: packed[name] for name in packed.names}
