"""The learning half of soft actor-critic: its state, and gradient steps on batches of the replay."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.flatten_util import ravel_pytree

from purerl.algorithms.diagnostics import gradient_metrics, keep_gradient, look_inside, policy_metrics, probe
from purerl.algorithms.dqn_learning import scan_or_call
from purerl.algorithms.sac_config import SACConfig
from purerl.algorithms.sac_losses import sac_loss
from purerl.functional.collectives import mean_across, num_shards
from purerl.functional.metrics import Packed, add_up, as_mean
from purerl.replay import Replay, ReplayState
from purerl.types import AxisName, PyTree


@struct.dataclass
class Learner:
    """What learning changes.

    Attributes:
        params: of the network.
        target_params: what targets are computed with: a slow copy of them.
        log_temperature: logarithm of the entropy's weight, float32 [].
        optimizer: states of the optimizers, for all parameters as one flat vector and for the temperature.
    """

    params: PyTree
    target_params: PyTree
    log_temperature: jax.Array
    optimizer: PyTree


def make_optimizers(
    config: SACConfig, rate: jax.Array | float
) -> tuple[optax.GradientTransformation, optax.GradientTransformation]:
    """Adam behind a clip of the global norm for the network; Adam for the temperature."""
    adam = optax.scale_by_adam(eps=config.adam_epsilon)
    network = optax.chain(
        keep_gradient(), optax.clip_by_global_norm(config.max_grad_norm), adam, optax.scale(-rate)
    )
    return network, optax.chain(adam, optax.scale(-config.temperature_learning_rate))


def init_learner(params: PyTree, config: SACConfig) -> Learner:
    """A learner that has learned nothing, with these parameters."""
    network_optimizer, temperature_optimizer = make_optimizers(config, 0.0)
    log_temperature = jnp.log(jnp.float32(config.initial_temperature))
    return Learner(
        params=params,
        target_params=jax.tree.map(jnp.array, params),
        log_temperature=log_temperature,
        optimizer=(
            network_optimizer.init(ravel_pytree(params)[0]),
            temperature_optimizer.init(log_temperature),
        ),
    )


def flatten(learner: Learner) -> tuple[Learner, Callable[[jax.Array], PyTree]]:
    """The learner with each network as one vector, and the function that makes parameters of such a vector.

    One pass over memory then serves all layers, with one kernel to compile.
    """
    (params, unravel), (target, _) = ravel_pytree(learner.params), ravel_pytree(learner.target_params)
    return dataclasses.replace(learner, params=params, target_params=target), unravel


def unflatten(learner: Learner, unravel: Callable[[jax.Array], PyTree]) -> Learner:
    """Undoes `flatten`."""
    params, target = unravel(learner.params), unravel(learner.target_params)
    return dataclasses.replace(learner, params=params, target_params=target)


def learn_from(
    network: Any,
    unravel: Callable[[jax.Array], PyTree],
    replay: Replay,
    learner: Learner,
    remembered: ReplayState,
    key: jax.Array,
    rate: jax.Array,
    config: SACConfig,
    axis_name: AxisName,
) -> tuple[Learner, Packed]:
    """Gradient steps, one after another, on batches that are drawn all at once.

    The learner comes and goes in the form that `flatten` gives it; `rate` is the step size, float32 [].
    """
    sample_key, step_key = jax.random.split(key)
    size = (config.num_gradient_steps, config.batch_size // num_shards(axis_name))
    batch, _, weight = replay.sample(remembered, sample_key, size[1], config.gamma, num_batches=size[0])
    batches, weights = jax.tree.map(lambda leaf: leaf.reshape(*size, *leaf.shape[1:]), (batch, weight))
    optimizers = make_optimizers(config, rate)

    def loss(parameters, target, batch, weight, key):
        params, log_temperature = unravel(parameters[0]), parameters[1]
        return sac_loss(network, params, log_temperature, unravel(target), batch, weight, key, config)

    def step(learner, inputs):
        parameters = (learner.params, learner.log_temperature)
        gradients, metrics = jax.grad(loss, has_aux=True)(parameters, learner.target_params, *inputs)
        gradients = mean_across(gradients, axis_name)
        (change, network_state), (temperature_change, temperature_state) = (
            optimizer.update(*both)
            for optimizer, *both in zip(optimizers, gradients, learner.optimizer, strict=True)
        )
        params, log_temperature = learner.params + change, learner.log_temperature + temperature_change
        metrics |= {
            "gradient_norm": as_mean(optax.tree.norm(gradients[0])),
            "temperature": as_mean(jnp.exp(log_temperature)),
        }
        learner = Learner(
            params=params,
            target_params=learner.target_params + config.target_rate * (params - learner.target_params),
            log_temperature=log_temperature,
            optimizer=(network_state, temperature_state),
        )
        return learner, metrics

    keys = jax.random.split(step_key, config.num_gradient_steps)
    learner, metrics = scan_or_call(step, learner, (batches, weights, keys))
    return learner, add_up(metrics)


def diagnose(network: Any, learner: Learner, observation: PyTree) -> Packed:
    """What a learner tells without another step, about observations with leaves [E, ...]."""
    both = lambda net, observation: (net.policy(observation), net.features(observation))  # noqa: E731
    (policy, _), inside = look_inside(network, learner.params, probe(observation), method=both)
    center = {} if network.discrete else {"action_mean": as_mean(policy.mode())}
    gradients = gradient_metrics(learner.optimizer, learner.params)
    return gradients | policy_metrics(policy) | center | inside
