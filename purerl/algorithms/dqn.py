r"""Deep Q-learning: double, dueling (see `QNetwork`), n-step and prioritized, each a switch.

.. math::
    L = \mathbb{E}\left[w\, \ell\left(Q_\theta(s_t, a_t) - \sum_{j<n} \gamma^j r_{t+j}
        - \gamma^n Q_{\bar\theta}(s_{t+n}, \arg\max_a Q_\theta(s_{t+n}, a))\right)\right]

with the Huber loss or half the square. Sources: Mnih et al. 2015, "Human-level control through deep
reinforcement learning"; van Hasselt et al. 2016 (arXiv:1509.06461) on double, Wang et al. 2016
(arXiv:1511.06581) on dueling, Schaul et al. 2016 (arXiv:1511.05952) on prioritized replay; Hessel et al. 2018
(arXiv:1710.02298) on all together.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.flatten_util import ravel_pytree

from purerl.algorithms import Registered, off_policy
from purerl.algorithms.diagnostics import greedy_entropy, look_inside
from purerl.algorithms.exploration import draw_exploration, epsilon_greedy, explore, spread_rates
from purerl.algorithms.off_policy import (
    OffPolicy,
    OffPolicyConfig,
    Round,
    in_batches,
    make_off_policy,
    scan_or_call,
)
from purerl.algorithms.skeleton import adam, static
from purerl.functional import losses
from purerl.functional.metrics import Packed, as_means
from purerl.functional.schedules import exploration_rate
from purerl.ranges import Count, NotNegative, Positive, PositiveShare, Share, Unlimited
from purerl.replay import Sample
from purerl.types import Algorithm, AxisName, Curriculum, Metrics, PyTree

ACTION = jax.ShapeDtypeStruct((), jnp.int32)
"""Form of one action."""


@struct.dataclass
class ValueConfig(OffPolicyConfig):
    """Options of learners of action values that act greedily or at random."""

    num_envs: Count = static(default=10)
    batch_size: Count = static(default=128)
    buffer_size: Count = static(default=50_000)
    num_frames: Count = static(default=1)
    """Frames that observations stack along their last axis, the newest last; the replay stores each once."""
    double: bool = static(default=True)
    """Choose the action in a target by the network that learns, and value it by the target network."""
    learning_rate: Positive = 5e-4
    max_grad_norm: Unlimited = 10.0
    target_every: Count = 200
    """Gradient steps between two moves of the target network, which happen at the end of a round."""
    tau: PositiveShare = 1.0
    """Share of the way that the target network then goes, in (0, 1]; 1 copies the network."""
    epsilon: Share = 1.0
    """Share of random actions at the start."""
    final_epsilon: Share = 0.05
    """Share of random actions when exploration has come to its end."""
    exploration_share: Share = 0.3
    """Share of training in which the share of random actions falls, linearly."""
    epsilon_spread: NotNegative = 0.0
    """How much less the last environment explores than the first: exponents rise from 1 to 1 + this."""


@struct.dataclass
class DQNConfig(ValueConfig):
    """Deep Q-learning."""

    huber_delta: Unlimited = 1.0
    """Error from which on the loss is linear; inf for half the squared error."""


@struct.dataclass
class Learner(off_policy.Learner):
    """What learning changes.

    Attributes:
        since_target: gradient steps since the target network moved, int32 [].
        epsilon: share of random actions in force, float32 [].
    """

    since_target: jax.Array
    epsilon: jax.Array


@struct.dataclass
class Batch:
    """What a gradient step needs of each sample; leaves [B, ...], but actions first in the values [A, B].

    Attributes:
        sample: from the replay.
        target_value_tp1: what the target network says of the successors, float32 [A, B].
        weight: float32 [B].
    """

    sample: Sample
    target_value_tp1: jax.Array
    weight: jax.Array


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
        selector = network.apply(jax.lax.stop_gradient(params), sample.next_observation)
    target = losses.q_learning_target(sample.reward, sample.discount, batch.target_value_tp1, selector)
    loss = batch.weight * losses.huber(value - target, config.huber_delta)
    error = jnp.abs(value - target)
    metrics = as_means({"loss": loss, "q_value": value, "td_error": error})
    metrics |= losses.return_metrics(value, target)
    return loss.mean(), (error, metrics)


def init(
    network: Any, key: jax.Array, observation: PyTree, optimizer: optax.GradientTransformation, config: Any
) -> Learner:
    """A learner that has not learned yet; its target network is a copy."""
    params = network.init(key, observation)
    return Learner(
        params=params,
        target_params=jax.tree.map(jnp.copy, params),
        optimizer=optimizer.init(ravel_pytree(params)[0]),
        since_target=jnp.int32(0),
        epsilon=jnp.asarray(config.epsilon, jnp.float32),
    )


def learn(
    network: Any, learner: Any, given: Round, config: Any, loss: Callable[..., Any]
) -> tuple[Any, jax.Array, Packed]:
    """A round of gradient steps; the target network stands still, so it values all successors at once."""
    steps = config.num_gradient_steps
    target_value = network.apply(
        given.unravel(learner.target_params), given.samples.next_observation
    )  # [A, G * B]
    target_value = jnp.moveaxis(target_value.reshape(target_value.shape[0], steps, -1), 1, 0)
    samples, weight = in_batches((given.samples, given.weight), steps)
    loss_of = lambda flat, batch: loss(network, given.unravel(flat), batch, config)  # noqa: E731

    def step(carry, batch):
        *carry, error, metrics = given.descend(loss_of, *carry, batch)
        return tuple(carry), (error, metrics)

    batches = Batch(sample=samples, target_value_tp1=target_value, weight=weight)
    (params, optimizer), (error, metrics) = scan_or_call(step, (learner.params, learner.optimizer), batches)
    since = learner.since_target + steps
    due = since >= config.target_every
    moved = (1.0 - config.tau) * learner.target_params + config.tau * params
    learner = dataclasses.replace(
        learner,
        params=params,
        target_params=jnp.where(due, moved, learner.target_params),
        optimizer=optimizer,
        since_target=jnp.where(due, 0, since),
    )
    return learner, error.reshape(-1), metrics


def values_of(network: Any, learner: Learner, observation: PyTree) -> jax.Array:
    """The values of all actions, float32 [A, B]."""
    return network.apply(learner.params, observation)


def look(network: Any, learner: Learner, observation: PyTree) -> Packed | Metrics:
    """Which actions are best, and what the network tells about itself."""
    value, inside = look_inside(network, learner.params, observation)
    return greedy_entropy(value) | inside


def greedy_parts(values: Callable[..., jax.Array] = values_of, **parts: Any) -> OffPolicy:
    """The parts of a learner that takes the action of the highest value, or with some probability any.

    Args:
        values: `(network, learner, observations [B, ...]) -> values [A, B]`.
        parts: the others; see `OffPolicy`.
    """

    def act(network, learner, observation, chance, knows, config):
        value = values(network, learner, observation)
        rates = spread_rates(learner.epsilon, config.epsilon_spread, value.shape[1])
        return explore(value, chance, rates), value.max(0)

    def policy(network, learner, observation, key, deterministic):
        value = values(network, learner, observation)
        return value.argmax(0) if deterministic else epsilon_greedy(value, key, learner.epsilon)

    return OffPolicy(
        action=ACTION,
        draw=lambda network, key, *shape: draw_exploration(key, *shape),
        act=act,
        policy=policy,
        value=lambda network, learner, observation: values(network, learner, observation).max(0),
        follow=lambda config, done: {"epsilon": exploration_rate(config, done)},
        lower_level=True,
        **parts,
    )


def make_dqn(
    env: Any,
    network: Any,
    axis_name: AxisName = None,
    curriculum: Curriculum | None = None,
    *,
    loss: Callable[..., Any] = dqn_loss,
    optimizer: Callable[..., optax.GradientTransformation] = adam,
) -> Algorithm:
    """DQN on an environment with a network.

    Args:
        env: an environment with discrete actions; see `make_off_policy` for the others.
        network: a flax module, `observations -> values [A, B]`.
        axis_name: the same.
        curriculum: the same.
        loss: `(network, params, batch, config) -> (mean loss [], (sizes of errors [B], metrics))`.
        optimizer: `(config, step size) -> optax.GradientTransformation`, for one flat vector.
    """
    learning = partial(learn, loss=loss)
    parts = greedy_parts(name="DQN", init=init, learn=learning, look=look, optimizer=optimizer)
    return make_off_policy(env, network, parts, axis_name, curriculum)


# Gradient steps are too small to be worth a collective each.
ALGORITHM = Registered("dqn", DQNConfig, make_dqn, network="q", cut="nothing")
