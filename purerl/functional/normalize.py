r"""Running mean and variance as data: of scalars, such as returns, and of each feature of an observation.

Moments of observations belong to the learner. Act and learn with the same ones, and add a rollout to them
when its learning is done: were they to change in between, the probability ratio would not be 1 before the
first gradient step.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from purerl.functional.collectives import mean_across, sum_across
from purerl.functional.returns import running_returns
from purerl.types import AxisName, PyTree, TokenGroup

_EPSILON = 1e-8


@struct.dataclass
class Moments:
    """Count, mean and variance of all values seen so far, float32.

    Attributes:
        count: how many, [].
        mean: [...], one for each feature.
        variance: [...], one for each feature.
    """

    count: jax.Array
    mean: jax.Array
    variance: jax.Array


def init_moments(shape: tuple[int, ...] = ()) -> Moments:
    """The moments of something of which nothing was seen: mean 0, variance 1."""
    return Moments(
        count=jnp.float32(0.0), mean=jnp.zeros(shape, jnp.float32), variance=jnp.ones(shape, jnp.float32)
    )


def update_moments(moments: Moments, values: jax.Array, axis_name: AxisName = None) -> Moments:
    """Adds a batch of scalars, float32 [...], to the moments.

    Args:
        moments: what was seen before.
        values: the new values; with `axis_name`, this shard's part of them, all parts of equal size.
        axis_name: mesh axis over which the batch is sharded, if any.
    """
    mean = mean_across(values.mean(), axis_name)
    variance = mean_across(jnp.square(values - mean).mean(), axis_name)
    shards = jax.lax.axis_size(axis_name) if axis_name else 1
    batch = Moments(count=jnp.float32(values.size * shards), mean=mean, variance=variance)
    return combine(moments, batch)


def combine(moments: Moments, batch: Moments) -> Moments:
    """The moments of two sets of values together; an empty `batch` changes nothing.

    Source: Chan, Golub and LeVeque 1979, "Updating formulae", equation 2.1.
    """
    # The count saturates, where float32 could no longer add to it; from there on old values fade slowly.
    count = jnp.minimum(moments.count, 1e9)
    total, delta = count + batch.count, batch.mean - moments.mean
    weight = batch.count / jnp.maximum(total, 1.0)
    return Moments(
        count=total,
        mean=moments.mean + delta * weight,
        variance=moments.variance * (1 - weight)
        + batch.variance * weight
        + jnp.square(delta) * weight * (1 - weight),
    )


class ScaledRewards(NamedTuple):
    """Rewards of a rollout in units of the deviation of the discounted return.

    Attributes:
        reward: float32 [T, E], within [-10, 10]; as they were where nothing is scaled.
        scale: what they were divided by, float32 [].
        moments: of the discounted return, with this rollout in them; None where nothing is scaled.
        discounted: the discounted returns to start from in the next rollout, float32 [E].
    """

    reward: jax.Array
    scale: jax.Array
    moments: Moments | None
    discounted: jax.Array


def scale_rewards(
    reward: jax.Array,
    ended: jax.Array,
    discounted: jax.Array,
    moments: Moments | None,
    gamma: jax.Array | float,
    axis_name: AxisName = None,
) -> ScaledRewards:
    """Divides rewards by the running standard deviation of the discounted return, this rollout's included.

    Args:
        reward: float32 [T, E].
        ended: whether an episode ended with a step, bool [T, E].
        discounted: the discounted returns before the rollout, float32 [E].
        moments: of those that were seen before; None leaves rewards as they are.
        gamma: discount in [0, 1].
        axis_name: mesh axis over which environments are sharded, if any.
    """
    if moments is None:
        return ScaledRewards(reward, jnp.float32(1.0), None, discounted)
    totals, discounted = running_returns(reward, ended, discounted, gamma)
    moments = update_moments(moments, totals, axis_name)
    scale = jnp.sqrt(moments.variance + _EPSILON)
    return ScaledRewards(jnp.clip(reward / scale, -10.0, 10.0), scale, moments, discounted)


def standardize(values: jax.Array, counts: jax.Array, axis_name: AxisName = None) -> jax.Array:
    """Values with mean 0 and deviation 1 over those that count: float32 [T, E] -> [T, E].

    Args:
        values: float32 [T, E].
        counts: which count, bool [T, E]; the others are moved and scaled along.
        axis_name: mesh axis over which they are sharded, if any.
    """
    weight = counts / jnp.maximum(mean_across(counts.mean(), axis_name), _EPSILON)
    mean = mean_across((weight * values).mean(), axis_name)
    deviation = jnp.sqrt(mean_across((weight * jnp.square(values - mean)).mean(), axis_name))
    return (values - mean) / (deviation + _EPSILON)


def init_observation_moments(observation: PyTree) -> PyTree:
    """Moments for observations of this form, of which nothing was seen yet.

    Args:
        observation: a batch of observations, leaves [B, ...].

    Returns:
        In the place of each array of numbers, moments of each of its entries; in that of each `TokenGroup`,
        moments of each feature, [F], which all its tokens share, so that their order stays without meaning.
        None in the place of booleans and bytes (uint8), which are never normalized: networks read them as 0
        and 1, and as parts of 255.
    """

    def init(part: PyTree) -> Moments | None:
        values, is_group = _values(part)
        if values.dtype in (jnp.bool_, jnp.uint8):
            return None
        return init_moments(values.shape[2:] if is_group else values.shape[1:])

    return jax.tree.map(init, observation, is_leaf=_is_group)


def update_observation_moments(moments: PyTree, observation: PyTree, axis_name: AxisName = None) -> PyTree:
    """Adds observations to their moments; call it when learning from them is done.

    Args:
        moments: what was seen before.
        observation: leaves [..., *shape], any number of leading axes, such as those of a rollout [T, E]; with
            `axis_name`, this shard's part. Of tokens, only those that are present count.
        axis_name: mesh axis over which the observations are sharded, if any.
    """
    parts, structure = _flatten(observation)
    old = structure.flatten_up_to(moments)
    known = [(part, seen) for part, seen in zip(parts, old, strict=True) if seen is not None]
    counted = [_counted(part, seen.mean.ndim) for part, seen in known]
    # Two collectives, however many parts there are.
    totals = sum_across([_totals(values, present) for values, present in counted], axis_name)
    means = [total / jnp.maximum(count, 1.0) for total, count in totals]
    deviations = [jnp.square(values - mean) for (values, _), mean in zip(counted, means, strict=True)]
    squares = [_totals(each, present) for each, (_, present) in zip(deviations, counted, strict=True)]
    batches = [
        Moments(count=count, mean=mean, variance=square / jnp.maximum(count, 1.0))
        for mean, (square, count) in zip(means, sum_across(squares, axis_name), strict=True)
    ]
    new = (combine(seen, batch) for (_, seen), batch in zip(known, batches, strict=True))
    return structure.unflatten([None if seen is None else next(new) for seen in old])


def normalize_observation(moments: PyTree, observation: PyTree, clip: float = 10.0) -> PyTree:
    r"""Observations in units of their spread, :math:`(x - \mu) / \sigma`, clipped.

    Absent tokens become zero. Before anything was seen, nothing is changed within the clip.

    Args:
        moments: of `init_observation_moments`, or later.
        observation: leaves [..., *shape].
        clip: largest magnitude of a normalized value.
    """
    parts, structure = _flatten(observation)
    pairs = zip(parts, structure.flatten_up_to(moments), strict=True)
    return structure.unflatten([_normalize(part, seen, clip) for part, seen in pairs])


def _normalize(part: PyTree, moments: Moments | None, clip: float) -> PyTree:
    if moments is None:
        return part
    values, is_group = _values(part)
    scaled = (values - moments.mean) * jax.lax.rsqrt(moments.variance + _EPSILON)
    scaled = jnp.clip(scaled, -clip, clip).astype(jnp.float32)
    return part.replace(values=jnp.where(part.mask[..., None], scaled, 0.0)) if is_group else scaled


def _flatten(observation: PyTree) -> tuple[list[PyTree], jax.tree_util.PyTreeDef]:
    """Arrays and token groups, and the structure around them."""
    return jax.tree.flatten(observation, is_leaf=_is_group)


def _is_group(part: PyTree) -> bool:
    return isinstance(part, TokenGroup)


def _values(part: PyTree) -> tuple[jax.Array, bool]:
    return (part.values, True) if isinstance(part, TokenGroup) else (part, False)


def _counted(part: PyTree, feature_axes: int) -> tuple[jax.Array, jax.Array]:
    """Values as [M, *features], zero where they do not count, and which of them do, bool [M, 1, ...]."""
    values, is_group = _values(part)
    features = values.shape[values.ndim - feature_axes :]
    values = values.reshape(-1, *features).astype(jnp.float32)
    present = part.mask.reshape(-1) if is_group else jnp.ones(values.shape[0], bool)
    return values, present.reshape(-1, *[1] * feature_axes)


def _totals(values: jax.Array, present: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The sum of the values that are present, [*features], and their number, []."""
    total = jnp.where(present, values, 0.0).sum(axis=0)
    return total, present.sum(dtype=jnp.float32)
