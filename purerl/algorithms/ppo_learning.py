"""The learning half of PPO: from a rollout to samples, and gradient steps on the loss of the paper."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from purerl.algorithms.diagnostics import keep_gradient
from purerl.algorithms.epochs import gradient_epochs
from purerl.algorithms.grpo import group_advantage
from purerl.algorithms.ppo_config import PPOConfig
from purerl.functional import losses
from purerl.functional.collectives import mean_across, sum_across
from purerl.functional.distributions import entropy_of
from purerl.functional.metrics import Packed, as_means
from purerl.functional.normalize import Moments, update_moments
from purerl.functional.returns import gae, running_returns
from purerl.rollout.levels import Judgment, LevelTrace
from purerl.rollout.unroll import ActorState
from purerl.types import AxisName, PyTree, Transition


@struct.dataclass
class Learner:
    """What learning changes.

    Attributes:
        params: of the network.
        optimizer: state of the optimizer, for all parameters as one flat vector.
        return_moments: of the discounted return, which rewards are divided by.
        observation_moments: of the observations; None where they are not normalized.
        rate: step size in force, float32 []; None where it follows the schedule.
    """

    params: PyTree
    optimizer: PyTree
    return_moments: Moments
    observation_moments: PyTree
    rate: jax.Array | None = None


@struct.dataclass
class Batch:
    """What the loss needs of each sample; leaves [B, ...].

    Weights are 1 on average over a rollout, and 0 where a sample is not learned from.

    For a network with a memory they are segments of T steps, leaves [T, B, ...], with what was remembered
    before them, `carry`, leaves [1, B, ...], and where in them episodes begin, bool [T, B].
    """

    observation: PyTree
    action: jax.Array
    log_prob: jax.Array
    value: jax.Array
    advantage: jax.Array
    target: jax.Array
    weight: jax.Array
    carry: PyTree = None
    begins: jax.Array | None = None


def as_segments(batch: Batch, start: ActorState, trace: LevelTrace) -> Batch:
    """The samples of a rollout, leaves [T, E, ...], for a network with a memory.

    Args:
        batch: the samples.
        start: the environments as they were before the rollout.
        trace: where episodes ended in it.
    """
    begins = jnp.concatenate([start.episode_length[None] == 0, trace.ended[:-1]])
    carry = jax.tree.map(lambda leaf: leaf[None], start.carry)
    return dataclasses.replace(batch, carry=carry, begins=begins)


def judge(network: Any, params: PyTree, batch: Batch) -> tuple[Any, jax.Array]:
    """The policy and the values of samples, [B], or of segments, [T, B]."""
    if batch.carry is None:
        return network.apply(params, batch.observation)
    carry = jax.tree.map(lambda leaf: leaf[0], batch.carry)
    return network.apply(params, batch.observation, carry, batch.begins)


def adapted_rate(rate: jax.Array, kl: jax.Array, target: float) -> jax.Array:
    """The next step size: 1.5 times smaller above twice the KL aimed at, 1.5 times larger below half of it.

    It stays within 1e-5 and 1e-2.

    Args:
        rate: step size in force, float32 [].
        kl: mean over the gradient steps of an update and the samples that are learned from, float32 [].
        target: above 0.

    Source: Rudin et al. 2022 (arXiv:2109.11978), appendix A.2.
    """
    factor = jnp.where(kl > 2.0 * target, 1.0 / 1.5, jnp.where(kl < 0.5 * target, 1.5, 1.0))
    return jnp.clip(rate * factor, 1e-5, 1e-2)


def make_optimizer(config: PPOConfig, rate: jax.Array) -> optax.GradientTransformation:
    """Adam behind a clip of the global norm."""
    return optax.chain(
        keep_gradient(),
        optax.clip_by_global_norm(config.max_grad_norm),
        optax.scale_by_adam(eps=config.adam_epsilon),
        optax.scale(-rate),
    )


def ppo_loss(network: Any, params: PyTree, batch: Batch, config: PPOConfig) -> tuple[jax.Array, Packed]:
    """The loss of one microbatch, and what it tells about the update.

    Args:
        network: `network.apply(params, observations) -> (distribution, values [B])`; one with a memory takes
            segments.
        params: its parameters.
        batch: B samples, or segments.
        config: coefficients.

    Returns:
        Mean loss over the samples, float32 [], and the metrics of those in this microbatch that are learned
        from.
    """
    policy, value = judge(network, params, batch)
    counts = batch.weight > 0
    # The policy may run far away from what it does not learn from, where the ratio is infinite.
    log_ratio = jnp.where(counts, policy.log_prob(batch.action) - batch.log_prob, 0.0)
    policy_loss = losses.clipped_surrogate(log_ratio, batch.advantage, config.clip)
    value_loss = losses.clipped_value_loss(value, batch.value, batch.target, config.value_clip)
    entropy = entropy_of(policy)
    loss = policy_loss - config.entropy_coefficient * entropy
    if not config.group_size:
        loss += config.value_coefficient * value_loss
    metrics = {
        "policy_loss": policy_loss,
        "value_loss": value_loss,
        "entropy": entropy,
        "approx_kl": losses.approximate_kl(log_ratio),
        "clip_fraction": jnp.abs(jnp.expm1(log_ratio)) > config.clip,
    }
    return jnp.where(counts, batch.weight * loss, 0.0).mean(), as_means(metrics, counts)


def prepare(
    transitions: Transition,
    levels: LevelTrace,
    discounted: jax.Array,
    moments: Moments,
    config: PPOConfig,
    axis_name: AxisName,
) -> tuple[Batch, Judgment, Moments, jax.Array]:
    """Turns a rollout into samples with advantages and targets.

    Returns:
        The samples, leaves [T, E, ...], what the critic says of them, the moments of the discounted return
        with this rollout in them, and the discounted returns to start from in the next rollout, float32 [E].
    """
    t = transitions
    reward, scale = t.reward, jnp.float32(1.0)
    if config.normalize_rewards:
        totals, discounted = running_returns(reward, t.terminated | t.truncated, discounted, config.gamma)
        moments = update_moments(moments, totals, axis_name)
        scale = jnp.sqrt(moments.variance + 1e-8)
        reward = jnp.clip(reward / scale, -10.0, 10.0)
    counts = levels.learnable
    if config.group_size:
        advantage, target, first = group_advantage(
            dataclasses.replace(t, reward=reward), config.group_size, config.gamma
        )
        counts = counts & first
    else:
        advantage = gae(
            reward, t.value, t.next_value, t.terminated, t.truncated, config.gamma, config.gae_lambda
        )
        target = advantage + t.value
    weight = counts / jnp.maximum(mean_across(counts.mean(), axis_name), 1e-8)
    normalized = advantage
    if not config.group_size:  # those of groups have been compared already, and 0 is to stay 0
        mean = mean_across((weight * advantage).mean(), axis_name)
        deviation = jnp.sqrt(mean_across((weight * jnp.square(advantage - mean)).mean(), axis_name))
        normalized = (advantage - mean) / (deviation + 1e-8)
    batch = Batch(
        observation=t.observation,
        action=t.action,
        log_prob=t.log_prob,
        value=t.value,
        advantage=normalized,
        target=target,
        weight=weight,
    )
    judgment = Judgment(value=scale * t.value, next_value=scale * t.next_value, advantage=scale * advantage)
    return batch, judgment, moments, discounted


def learn(
    network: Any,
    learner: Learner,
    batch: Batch,
    key: jax.Array,
    rate: jax.Array,
    config: PPOConfig,
    axis_name: AxisName,
) -> tuple[Learner, Packed]:
    """Epochs of gradient steps over the samples of one rollout, leaves [T, E, ...]."""
    learns = mean_across(batch.weight.mean(), axis_name) > 0
    params, optimizer_state, metrics = gradient_epochs(
        loss=lambda params, part: ppo_loss(network, params, part, config),
        params=learner.params,
        optimizer=make_optimizer(config, rate),
        optimizer_state=learner.optimizer,
        batch=batch,
        key=key,
        config=config,
        axis_name=axis_name,
        whole_segments=batch.carry is not None,
        learns=learns,
    )
    if learner.rate is not None:
        kl = sum_across(metrics["approx_kl"], axis_name)
        adapted = adapted_rate(rate, kl.total / jnp.maximum(kl.weight, 1.0), config.kl_target)
        learner = dataclasses.replace(learner, rate=jnp.where(learns, adapted, rate))
    return dataclasses.replace(learner, params=params, optimizer=optimizer_state), metrics
