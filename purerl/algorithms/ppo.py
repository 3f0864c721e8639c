r"""Proximal policy optimisation.

.. math::
    L = \mathbb{E}\left[-\min(\rho_t A_t,\ \text{clip}(\rho_t, 1 \pm \epsilon) A_t)
        + c_v L_t^{V} - c_e H(\pi(\cdot \mid s_t))\right], \qquad
    \rho_t = \frac{\pi(a_t \mid s_t)}{\pi_{old}(a_t \mid s_t)}

Source: Schulman et al. 2017 (arXiv:1707.06347), equation 9; advantages by GAE (arXiv:1506.02438).
"""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.flatten_util import ravel_pytree

from purerl import losses
from purerl.algorithms.ppo_config import PPOConfig
from purerl.levels import LevelTrace, forget_renewed, fresh_levels, level_outcome
from purerl.metrics import as_mean, as_means, pack, unpack_sum
from purerl.normalize import (
    Moments,
    init_moments,
    init_observation_moments,
    normalize_observation,
    update_moments,
    update_observation_moments,
)
from purerl.permutation import grid_permutation
from purerl.returns import gae, running_returns
from purerl.rollout import init_actor, unroll
from purerl.sharding import mean_across, num_shards, split_key, sum_across
from purerl.types import Algorithm, Curriculum, LevelOutcome, Metrics, PyTree, TrainState, Transition


@struct.dataclass
class Learner:
    """What learning changes.

    Attributes:
        params: of the network.
        optimizer: state of the optimiser, for all parameters as one flat vector.
        return_moments: of the discounted return, which rewards are divided by.
        observation_moments: of the observations; None where they are not normalised.
    """

    params: PyTree
    optimizer: PyTree
    return_moments: Moments
    observation_moments: PyTree


@struct.dataclass
class Batch:
    """What the loss needs of each sample; leaves [B, ...]. Weights are 1 on average."""

    observation: PyTree
    action: jax.Array
    log_prob: jax.Array
    value: jax.Array
    advantage: jax.Array
    target: jax.Array
    weight: jax.Array


def learning_rate(config: PPOConfig, num_updates: jax.Array) -> jax.Array:
    """The step size in force: linear from `learning_rate` to `final_learning_rate`, float32 []."""
    progress = jnp.minimum(num_updates / config.total_updates, 1.0)
    return config.learning_rate + progress * (config.final_learning_rate - config.learning_rate)


def make_optimizer(config: PPOConfig, rate: jax.Array) -> optax.GradientTransformation:
    """Adam behind a clip of the global norm."""
    return optax.chain(
        optax.clip_by_global_norm(config.max_grad_norm),
        optax.scale_by_adam(eps=config.adam_epsilon),
        optax.scale(-rate),
    )


def ppo_loss(network: Any, params: PyTree, batch: Batch, config: PPOConfig) -> tuple[jax.Array, Metrics]:
    """The loss of one microbatch, and what it tells about the update.

    Args:
        network: `network.apply(params, observations) -> (distribution, values [B])`.
        params: its parameters.
        batch: B samples.
        config: coefficients.

    Returns:
        Mean loss over the samples, float32 [], and the metrics of this microbatch.
    """
    policy, value = network.apply(params, batch.observation)
    log_ratio = policy.log_prob(batch.action) - batch.log_prob
    policy_loss = losses.clipped_surrogate(log_ratio, batch.advantage, config.clip)
    value_loss = losses.clipped_value_loss(value, batch.value, batch.target, config.value_clip)
    entropy = policy.entropy()
    loss = policy_loss + config.value_coefficient * value_loss - config.entropy_coefficient * entropy
    metrics = {
        "policy_loss": policy_loss,
        "value_loss": value_loss,
        "entropy": entropy,
        "approx_kl": losses.approximate_kl(log_ratio),
        "clip_fraction": jnp.abs(jnp.expm1(log_ratio)) > config.clip,
    }
    return (batch.weight * loss).mean(), as_means(metrics)


def prepare(
    transitions: Transition,
    levels: LevelTrace,
    discounted: jax.Array,
    moments: Moments,
    num_levels: int,
    config: PPOConfig,
    axis_name: str | None,
) -> tuple[Batch, LevelOutcome, Moments, jax.Array]:
    """Turns a rollout into samples with advantages and targets.

    Returns:
        The samples, leaves [T, E, ...], what the rollout told of the levels, the moments of the discounted
        return with this rollout in them, and the discounted returns to start from in the next rollout,
        float32 [E].
    """
    t = transitions
    reward, scale = t.reward, jnp.float32(1.0)
    if config.normalize_rewards:
        totals, discounted = running_returns(reward, t.terminated | t.truncated, discounted, config.gamma)
        moments = update_moments(moments, totals, axis_name)
        scale = jnp.sqrt(moments.variance + 1e-8)
        reward = jnp.clip(reward / scale, -10.0, 10.0)
    advantage = gae(reward, t.value, t.next_value, t.terminated, t.truncated, config.gamma, config.gae_lambda)
    weight = levels.learnable / jnp.maximum(mean_across(levels.learnable.mean(), axis_name), 1e-8)
    mean = mean_across((weight * advantage).mean(), axis_name)
    deviation = jnp.sqrt(mean_across((weight * jnp.square(advantage - mean)).mean(), axis_name))
    batch = Batch(
        observation=t.observation,
        action=t.action,
        log_prob=t.log_prob,
        value=t.value,
        advantage=(advantage - mean) / (deviation + 1e-8),
        target=advantage + t.value,
        weight=weight,
    )
    outcome = level_outcome(levels, scale * t.value, scale * advantage, num_levels)
    return batch, outcome, moments, discounted


def num_microbatches(minibatch: int, wanted: int) -> int:
    """The fewest equal parts of a minibatch that hold at most `wanted` samples each; 1 where it is 0."""
    if wanted == 0:
        return 1
    return next(parts for parts in range(-(-minibatch // wanted), minibatch + 1) if minibatch % parts == 0)


def learn(
    network: Any,
    learner: Learner,
    batch: Batch,
    key: jax.Array,
    rate: jax.Array,
    config: PPOConfig,
    axis_name,
) -> tuple[Learner, Metrics]:
    """Epochs of gradient steps over the samples of one rollout, leaves [T, E, ...].

    Parameters, gradients and the optimiser's state are one flat vector each: one pass over memory for all
    layers, and one kernel to compile.
    """
    rows, columns = batch.advantage.shape
    samples = jax.tree.map(lambda leaf: leaf.reshape(rows * columns, *leaf.shape[2:]), batch)
    optimizer = make_optimizer(config, rate)
    minibatch = rows * columns // config.num_minibatches
    parts = num_microbatches(minibatch, config.microbatch_size)
    flat_params, unravel = ravel_pytree(learner.params)
    loss = lambda flat_params, part: ppo_loss(network, unravel(flat_params), part, config)  # noqa: E731

    def step(carry, index):
        flat_params, optimizer_state = carry

        def accumulate(total, part):
            taken = jax.tree.map(lambda leaf: leaf[part], samples)
            gradient, metrics = jax.grad(loss, has_aux=True)(flat_params, taken)
            return total + gradient, pack(metrics)

        total, metrics = jax.lax.scan(accumulate, jnp.zeros_like(flat_params), index.reshape(parts, -1))
        gradient = mean_across(total / parts, axis_name)
        updates, optimizer_state = optimizer.update(gradient, optimizer_state)
        metrics = unpack_sum(metrics) | {"gradient_norm": as_mean(optax.tree.norm(gradient))}
        return (flat_params + updates, optimizer_state), pack(metrics)

    shuffles = jax.vmap(partial(grid_permutation, num_rows=rows, num_columns=columns))
    index = shuffles(jax.random.split(key, config.num_epochs)).reshape(-1, minibatch)
    carry, metrics = jax.lax.scan(step, (flat_params, learner.optimizer), index)
    learner = dataclasses.replace(learner, params=unravel(carry[0]), optimizer=carry[1])
    return learner, unpack_sum(metrics)


def action_metrics(action: jax.Array, space: Any) -> Metrics:
    """How far a continuous policy strays: share of entries outside the bounds, mean and magnitude."""
    if hasattr(space, "n"):
        return {}
    outside = (action < space.low) | (action > space.high)
    return {
        "saturated_share": as_mean(outside),
        "action_mean": as_mean(action),
        "action_magnitude": as_mean(jnp.abs(action)),
    }


def seen(learner: Learner, observation: PyTree) -> PyTree:
    """What the network sees of observations, leaves [..., *shape]."""
    if learner.observation_moments is None:
        return observation
    return normalize_observation(learner.observation_moments, observation)


def make_ppo(
    env: Any, network: Any, axis_name: str | None = None, curriculum: Curriculum | None = None
) -> Algorithm:
    """PPO on an environment with a network.

    Args:
        env: an environment of the gymnax contract; `config.env_params` are its parameters.
        network: a flax module, `observations -> (distribution, values)`, with a method `value`.
        axis_name: mesh axis over which environments are sharded, if any; `config.num_envs` is for all shards.
        curriculum: what fills the pool of levels; by default fresh ones before every rollout.
    """
    levels = curriculum or fresh_levels(env)

    def init(key: jax.Array, config: PPOConfig) -> TrainState:
        key, network_key, actor_key, pool_key = split_key(key, 2, 2, axis_name)
        num_envs = config.num_envs // num_shards(axis_name)
        num_levels = max((config.num_levels or config.num_envs) // num_shards(axis_name), 1)
        choice = levels.init(pool_key, config.env_params, num_levels)
        actor = init_actor(config.env_params, choice.pool, actor_key, num_envs, config.stagger)
        params = network.init(network_key, actor.observation)
        learner = Learner(
            params=params,
            optimizer=make_optimizer(config, jnp.float32(0.0)).init(ravel_pytree(params)[0]),
            return_moments=init_moments(),
            observation_moments=(
                init_observation_moments(actor.observation) if config.normalize_observations else None
            ),
        )
        return TrainState(learner=learner, actor=actor, curriculum=choice, key=key, num_updates=jnp.int32(0))

    def update(state: TrainState, config: PPOConfig) -> tuple[TrainState, Metrics]:
        key, rollout_key, level_key, shuffle_key = split_key(state.key, 1, 3, axis_name)
        learner, pool = state.learner, state.curriculum.pool

        def act(observation, act_key):
            policy, value = network.apply(learner.params, seen(learner, observation))
            action, log_prob = policy.sample_and_log_prob(seed=act_key)
            return action, log_prob, value

        def value_of(observation):
            return network.apply(learner.params, seen(learner, observation), method="value")

        actor, transitions, trace, metrics = unroll(
            env=env,
            params=config.env_params,
            actor=state.actor,
            pool=pool,
            key=rollout_key,
            num_steps=config.num_steps,
            act=act,
            value_of=value_of,
        )
        num_levels = pool.learnable.shape[0]
        batch, outcome, moments, discounted = prepare(
            transitions,
            trace,
            actor.discounted_return,
            learner.return_moments,
            num_levels,
            config,
            axis_name,
        )
        batch = dataclasses.replace(batch, observation=seen(learner, batch.observation))
        rate = learning_rate(config, state.num_updates)
        learner, learn_metrics = learn(network, learner, batch, shuffle_key, rate, config, axis_name)
        progress = jnp.minimum((state.num_updates + 1) / config.total_updates, 1.0)
        choice, renewed, level_metrics = levels.refresh(
            level_key, state.curriculum, config.env_params, outcome, progress
        )
        metrics |= learn_metrics | level_metrics
        metrics |= action_metrics(batch.action, env.action_space(config.env_params))
        metrics["explained_variance"] = as_mean(losses.explained_variance(batch.value, batch.target))
        metrics["learning_rate"] = as_mean(rate)
        slot = forget_renewed(actor.slot, renewed)
        if config.normalize_observations:
            # Not before: acting and learning must see the same.
            observation_moments = update_observation_moments(
                learner.observation_moments, transitions.observation, axis_name
            )
            learner = dataclasses.replace(learner, observation_moments=observation_moments)
        state = TrainState(
            learner=dataclasses.replace(learner, return_moments=moments),
            actor=dataclasses.replace(actor, discounted_return=discounted, slot=slot),
            curriculum=choice,
            key=key,
            num_updates=state.num_updates + 1,
        )
        return state, sum_across(metrics, axis_name)

    def policy(learner: Learner, observation: PyTree, key: jax.Array, deterministic: bool) -> jax.Array:
        distribution, _ = network.apply(learner.params, seen(learner, observation))
        return distribution.mode() if deterministic else distribution.sample(seed=key)

    return Algorithm(
        init=init,
        update=update,
        policy=policy,
        steps_per_update=lambda config: config.num_envs * config.num_steps,
    )
