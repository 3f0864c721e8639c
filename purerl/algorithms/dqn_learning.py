"""The learning half of DQN: a round of gradient steps on batches of the replay."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.flatten_util import ravel_pytree

from purerl.algorithms.diagnostics import keep_gradient
from purerl.algorithms.dqn_config import DQNConfig
from purerl.functional import losses
from purerl.functional.collectives import max_across, mean_across
from purerl.functional.metrics import Packed, as_mean, as_means
from purerl.replay import Sample
from purerl.types import AxisName, PyTree


@struct.dataclass
class Learner:
    """What learning changes.

    Attributes:
        params: of the network.
        target_params: of the network that values successors.
        optimizer: state of the optimizer, for all parameters as one flat vector.
        since_target: gradient steps since the target network moved, int32 [].
        epsilon: share of random actions in force, float32 [].
    """

    params: PyTree
    target_params: PyTree
    optimizer: PyTree
    since_target: jax.Array
    epsilon: jax.Array


@struct.dataclass
class Batch:
    """What a gradient step needs of each sample; leaves [B, ...], but actions first in the values [A, B]."""

    sample: Sample
    target_value_tp1: jax.Array
    weight: jax.Array


def make_optimizer(config: DQNConfig, rate: jax.Array) -> optax.GradientTransformation:
    """Adam behind a clip of the global norm."""
    return optax.chain(
        keep_gradient(),
        optax.clip_by_global_norm(config.max_grad_norm),
        optax.scale_by_adam(eps=config.adam_epsilon),
        optax.scale(-rate),
    )


def init_learner(params: PyTree, config: DQNConfig) -> Learner:
    """A learner that has not learned yet; its target network is a copy."""
    return Learner(
        params=params,
        target_params=jax.tree.map(jnp.copy, params),
        optimizer=make_optimizer(config, jnp.float32(0.0)).init(ravel_pytree(params)[0]),
        since_target=jnp.int32(0),
        epsilon=jnp.asarray(config.epsilon, jnp.float32),
    )


def importance_weights(weight: jax.Array, exponent: jax.Array, axis_name: AxisName) -> jax.Array:
    r"""Weights that undo the draw in part, the highest of a round 1, wherever it was drawn: float32 [B].

    .. math:: w_i = \left(\frac{1}{N P(i)}\right)^\beta / \max_j w_j

    Args:
        weight: 1 / (N P(i)), float32 [B].
        exponent: beta, in [0, 1].
        axis_name: mesh axis over which the samples are sharded, if any.

    Source: Schaul et al. 2016 (arXiv:1511.05952), section 3.4.
    """
    weight = jnp.where(weight > 0, weight**exponent, 0.0)  # 0 is no step, whatever the exponent
    return weight / jnp.maximum(max_across(weight.max(), axis_name), 1e-8)


def dqn_loss(
    network: Any, params: PyTree, batch: Batch, config: DQNConfig
) -> tuple[jax.Array, tuple[jax.Array, Packed]]:
    """The loss of one batch.

    Args:
        network: `network.apply(params, observations) -> values [A, B]`.
        params: its parameters.
        batch: B samples.
        config: coefficients.

    Returns:
        Mean loss, float32 []; and the sizes of the errors, float32 [B], with what else the batch tells.
    """
    sample = batch.sample
    value = losses.value_of_action(network.apply(params, sample.observation), sample.action)
    selector = batch.target_value_tp1
    if config.double:
        selector = network.apply(jax.lax.stop_gradient(params), sample.successor)
    target = losses.q_learning_target(sample.reward, sample.discount, batch.target_value_tp1, selector)
    loss = batch.weight * losses.huber(value - target, config.huber_delta)
    error = jnp.abs(value - target)
    metrics = as_means({"loss": loss, "q_value": value, "td_error": error})
    metrics |= losses.return_metrics(value, target)
    return loss.mean(), (error, metrics)


def learn(
    network: Any,
    learner: Learner,
    samples: Sample,
    weight: jax.Array,
    rate: jax.Array,
    config: DQNConfig,
    axis_name: AxisName,
) -> tuple[Learner, jax.Array, Packed]:
    """A round of gradient steps, on batches that were drawn together: G * B samples.

    The target network stands still meanwhile, so it values all successors at once.

    Args:
        network: see `dqn_loss`.
        learner: with flat vectors in the place of `params` and `target_params`; they stay so.
        samples: leaves [G * B, ...].
        weight: importance weights, the highest 1, float32 [G * B].
        rate: step size.
        config: coefficients.
        axis_name: mesh axis over which batches are sharded, if any.

    Returns:
        The learner, the sizes of the errors, float32 [G * B], and metrics.
    """
    steps, unravel = config.num_gradient_steps, unraveller(network, samples.observation)
    optimizer = make_optimizer(config, rate)
    target_value = network.apply(unravel(learner.target_params), samples.successor)  # [A, G * B]
    split = partial(jax.tree.map, lambda leaf: leaf.reshape(steps, -1, *leaf.shape[1:]))
    target_value = jnp.moveaxis(target_value.reshape(target_value.shape[0], steps, -1), 1, 0)
    batches = Batch(sample=split(samples), target_value_tp1=target_value, weight=split(weight))
    loss = lambda flat, batch: dqn_loss(network, unravel(flat), batch, config)  # noqa: E731

    def step(carry, batch):
        params, optimizer_state = carry
        gradient, (error, metrics) = jax.grad(loss, has_aux=True)(params, batch)
        gradient = mean_across(gradient, axis_name)
        updates, optimizer_state = optimizer.update(gradient, optimizer_state)
        metrics |= {"gradient_norm": as_mean(optax.tree.norm(gradient))}
        return (params + updates, optimizer_state), (error, metrics)

    carry = (learner.params, learner.optimizer)
    (params, optimizer_state), (error, metrics) = scan_or_call(step, carry, batches)
    since = learner.since_target + steps
    due = since >= config.target_every
    moved = (1.0 - config.target_rate) * learner.target_params + config.target_rate * params
    learner = dataclasses.replace(
        learner,
        params=params,
        target_params=jnp.where(due, moved, learner.target_params),
        optimizer=optimizer_state,
        since_target=jnp.where(due, 0, since),
    )
    return learner, error.reshape(-1), metrics


def unraveller(network: Any, observation: PyTree) -> Any:
    """The function from a flat vector to the parameters of a network that sees such observations [B, ...]."""
    shapes = jax.eval_shape(network.init, jax.random.key(0), observation)
    return ravel_pytree(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes))[1]


def scan_or_call(step: Any, carry: Any, inputs: Any) -> Any:
    """`scan`, without a loop where there is one input alone."""
    if jax.tree.leaves(inputs)[0].shape[0] > 1:
        return jax.lax.scan(step, carry, inputs)
    carry, output = step(carry, jax.tree.map(lambda leaf: leaf[0], inputs))
    return carry, jax.tree.map(lambda leaf: leaf[None], output)
