"""Epochs of gradient steps over the samples of one rollout, for learners that keep no older experience."""

from collections.abc import Callable
from functools import partial
from typing import Protocol

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from purerl.functional.collectives import mean_across
from purerl.functional.metrics import Packed, add_up, as_mean
from purerl.functional.permutation import permutations
from purerl.types import AxisName, PyTree


class EpochConfig(Protocol):
    """What of a configuration is read here."""

    num_epochs: int
    num_minibatches: int
    microbatch_size: int


def num_microbatches(minibatch: int, wanted: int) -> int:
    """The fewest equal parts of a minibatch that hold at most `wanted` samples each; 1 where it is 0."""
    if wanted == 0:
        return 1
    return next(parts for parts in range(-(-minibatch // wanted), minibatch + 1) if minibatch % parts == 0)


def gradient_epochs(
    loss: Callable[[PyTree, PyTree], tuple[jax.Array, Packed]],
    params: PyTree,
    optimizer: optax.GradientTransformation,
    optimizer_state: PyTree,
    batch: PyTree,
    key: jax.Array,
    config: EpochConfig,
    axis_name: AxisName,
    whole_segments: bool = False,
    learns: jax.Array | None = None,
) -> tuple[PyTree, PyTree, Packed]:
    """Shuffles the samples anew for each epoch, cuts them into minibatches, and takes a step for each.

    Gradients and the optimizer's state are one flat vector each: one pass over memory for all layers, and one
    kernel to compile. The parameters are carried in both forms, because to cut the vector into a network's
    parameters costs a kernel a leaf.

    Args:
        loss: `(params, samples [B, ...]) -> (mean loss, metrics)`.
        params: of the network.
        optimizer: for the flat vector.
        optimizer_state: its state.
        batch: the samples of a rollout, leaves [T, E, ...].
        key: used up here.
        config: epochs, minibatches and the size of their parts.
        axis_name: mesh axis over which samples are sharded, if any.
        whole_segments: whether the T steps of an environment stay together, so that a minibatch has leaves
            [T, B, ...], and not [B, ...].
        learns: bool [], whether any sample counts: where none does, not even momentum moves anything. None
            where all count.

    Returns:
        Parameters and state after the last step, and the metrics of all steps with the gradient's norm.
    """
    rows, columns = jax.tree.leaves(batch)[0].shape[:2]
    if whole_segments:
        most = -(-config.microbatch_size // rows)
        rows, samples, take = 1, batch, lambda part: jax.tree.map(lambda leaf: leaf[:, part], samples)
    else:
        most = config.microbatch_size
        samples = jax.tree.map(lambda leaf: leaf.reshape(rows * columns, *leaf.shape[2:]), batch)
        take = lambda part: jax.tree.map(lambda leaf: leaf[part], samples)  # noqa: E731
    minibatch = rows * columns // config.num_minibatches
    parts = num_microbatches(minibatch, most)
    flat_params, unravel = ravel_pytree(params)

    def step(carry, index):
        params, flat_params, optimizer_state = carry

        def accumulate(total, part):
            gradient, metrics = jax.grad(loss, has_aux=True)(params, take(part))
            return total + ravel_pytree(gradient)[0], metrics

        total, metrics = jax.lax.scan(accumulate, jnp.zeros_like(flat_params), index.reshape(parts, -1))
        gradient = mean_across(total / parts, axis_name)
        updates, moved = optimizer.update(gradient, optimizer_state)
        if learns is not None:
            keep = partial(jnp.where, learns)
            updates, moved = keep(updates, 0.0), jax.tree.map(keep, moved, optimizer_state)
        flat_params, optimizer_state = flat_params + updates, moved
        metrics = add_up(metrics) | {"gradient_norm": as_mean(optax.tree.norm(gradient))}
        return (unravel(flat_params), flat_params, optimizer_state), metrics

    index = permutations(key, config.num_epochs, rows, columns).reshape(-1, minibatch)
    carry, metrics = jax.lax.scan(step, (params, flat_params, optimizer_state), index)
    params, _, optimizer_state = carry
    return params, optimizer_state, add_up(metrics)
