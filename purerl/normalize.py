"""Running mean and variance as data."""

import jax
import jax.numpy as jnp
from flax import struct

from purerl.sharding import mean_across


@struct.dataclass
class Moments:
    """Count, mean and variance of all values seen so far, float32."""

    count: jax.Array
    mean: jax.Array
    variance: jax.Array


def init_moments() -> Moments:
    """The moments of a scalar of which nothing was seen: mean 0, variance 1."""
    return Moments(count=jnp.float32(1e-4), mean=jnp.float32(0.0), variance=jnp.float32(1.0))


def update_moments(moments: Moments, values: jax.Array, axis_name: str | None = None) -> Moments:
    """Adds a batch of scalars, float32 [...], to the moments.

    Args:
        moments: what was seen before.
        values: the new values; with `axis_name`, this shard's part of them, all parts of equal size.
        axis_name: mesh axis over which the batch is sharded, if any.

    Source: Chan, Golub and LeVeque 1979, "Updating formulae", equation 2.1.
    """
    mean = mean_across(values.mean(), axis_name)
    variance = mean_across(jnp.square(values - mean).mean(), axis_name)
    shards = jax.lax.axis_size(axis_name) if axis_name else 1
    # The count saturates, where float32 could no longer add to it; from there on old values fade slowly.
    count = jnp.minimum(moments.count, 1e9)
    batch = jnp.float32(values.size * shards)
    total, delta = count + batch, mean - moments.mean
    weight = batch / total
    return Moments(
        count=total,
        mean=moments.mean + delta * weight,
        variance=moments.variance * (1 - weight)
        + variance * weight
        + jnp.square(delta) * weight * (1 - weight),
    )
