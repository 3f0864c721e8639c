r"""Parallelized Q-learning: many environments in place of a replay, layer norm in place of a target network.

.. math::
    L = \mathbb{E}\left[\ell\left(Q_\theta(s_t, a_t) - G_t\right)\right], \qquad
    G_t = r_t + \gamma \left((1 - \lambda) \max_a Q_\theta(s_{t+1}, a) + \lambda G_{t+1}\right)

with values as they were at the time of the rollout. The network wants `layer_norm`: it is what keeps
temporal differences from diverging.

Source: Gallici et al. 2024 (arXiv:2407.04811), algorithm 1; the return is Peng's Q(lambda).
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.flatten_util import ravel_pytree

from purerl.algorithms import Registered
from purerl.algorithms.acting import (
    draw_exploration,
    epsilon_greedy,
    explore,
    spread_rates,
)
from purerl.algorithms.diagnostics import gradient_metrics, greedy_entropy, keep_gradient, look_inside, probe
from purerl.algorithms.epochs import gradient_epochs
from purerl.algorithms.pqn_config import PQNConfig, check_pqn
from purerl.functional import losses
from purerl.functional.collectives import num_shards, split_key, sum_across
from purerl.functional.metrics import Packed, as_mean, as_means
from purerl.functional.returns import gae
from purerl.functional.schedules import exploration_rate, learning_rate
from purerl.rollout.levels import (
    Judgment,
    check_needs,
    forget_renewed,
    fresh_levels,
    level_outcome,
    num_levels,
    pool_size,
    start_returns,
)
from purerl.rollout.unroll import init_actor, unroll
from purerl.spaces import are_vectors
from purerl.types import Algorithm, AxisName, Curriculum, PyTree, TrainState


@struct.dataclass
class Learner:
    """What learning changes.

    Attributes:
        params: of the network.
        optimizer: state of the optimizer, for all parameters as one flat vector.
        epsilon: share of random actions in force, float32 [].
    """

    params: PyTree
    optimizer: PyTree
    epsilon: jax.Array


@struct.dataclass
class Batch:
    """What the loss needs of each sample; leaves [B, ...]."""

    observation: PyTree
    action: jax.Array
    target: jax.Array


def make_optimizer(config: PQNConfig, rate: jax.Array) -> optax.GradientTransformation:
    """Rectified Adam behind a clip of the global norm."""
    return optax.chain(
        keep_gradient(),
        optax.clip_by_global_norm(config.max_grad_norm),
        optax.scale_by_radam(),
        optax.scale(-rate),
    )


def pqn_loss(network: Any, params: PyTree, batch: Batch, config: PQNConfig) -> tuple[jax.Array, Packed]:
    """The mean loss of B samples, float32 [], and their metrics."""
    value = losses.value_of_action(network.apply(params, batch.observation), batch.action)
    loss = losses.huber(value - batch.target, config.huber_delta)
    metrics = {"loss": loss, "q_value": value, "td_error": jnp.abs(value - batch.target)}
    return loss.mean(), as_means(metrics)


def learn(
    network: Any,
    learner: Learner,
    batch: Batch,
    key: jax.Array,
    rate: jax.Array,
    config: PQNConfig,
    axis_name: AxisName,
) -> tuple[Learner, Packed]:
    """Epochs of gradient steps over the samples of one rollout, leaves [T, E, ...]."""
    params, optimizer_state, metrics = gradient_epochs(
        loss=lambda params, part: pqn_loss(network, params, part, config),
        params=learner.params,
        optimizer=make_optimizer(config, rate),
        optimizer_state=learner.optimizer,
        batch=batch,
        key=key,
        config=config,
        axis_name=axis_name,
    )
    return dataclasses.replace(learner, params=params, optimizer=optimizer_state), metrics


def make_pqn(
    env: Any, network: Any, axis_name: AxisName = None, curriculum: Curriculum | None = None
) -> Algorithm:
    """PQN on an environment with a network.

    Args:
        env: an environment of the gymnax contract with discrete actions; `config.env_params` are its
            parameters.
        network: a flax module, `observations -> values [A, B]`.
        axis_name: mesh axis over which environments are sharded, if any; `config.num_envs` is for all shards.
        curriculum: what fills the pool of levels; by default fresh ones before every rollout.
    """
    levels = curriculum or fresh_levels(env)
    check_needs(levels, frozenset({"values"}), "PQN")

    def init(key: jax.Array, config: PQNConfig) -> TrainState:
        key, network_key, actor_key, pool_key = split_key(key, 2, 2, axis_name)
        shards = num_shards(axis_name)
        num_envs = config.num_envs // shards
        count = pool_size(config.num_levels, config.num_envs, shards)
        choice = levels.init(pool_key, config.env_params, count)
        actor = init_actor(config.env_params, choice.pool, actor_key, num_envs, config.stagger)
        actor = dataclasses.replace(actor, level_return=start_returns(levels, num_envs))
        params = network.init(network_key, actor.observation)
        learner = Learner(
            params=params,
            optimizer=make_optimizer(config, jnp.float32(0.0)).init(ravel_pytree(params)[0]),
            epsilon=jnp.asarray(config.epsilon, jnp.float32),
        )
        return TrainState(learner=learner, actor=actor, curriculum=choice, key=key, num_updates=jnp.int32(0))

    def update(state: TrainState, config: PQNConfig) -> tuple[TrainState, Packed]:
        key, rollout_key, level_key, shuffle_key = split_key(state.key, 1, 3, axis_name)
        progress = jnp.minimum((state.num_updates + 1) / config.total_updates, 1.0)
        epsilon = exploration_rate(config, state.num_updates)
        learner, pool = dataclasses.replace(state.learner, epsilon=epsilon), state.curriculum.pool

        def act(carry, observation, begins, chance):
            value = network.apply(learner.params, observation)
            rates = spread_rates(epsilon, config.epsilon_spread, value.shape[1])
            action = explore(value, chance, rates)
            return carry, action, jnp.zeros(action.shape), value.max(0)

        actor, transitions, trace, metrics = unroll(
            env=env,
            params=config.env_params,
            actor=state.actor,
            pool=pool,
            key=rollout_key,
            num_steps=config.num_steps,
            act=act,
            value_of=lambda carry, observation: network.apply(learner.params, observation).max(0),
            draw=lambda key, num_steps: draw_exploration(key, num_steps, state.actor.slot.shape[0]),
        )
        # With max_a Q as the value of a state, advantage + value is the lambda-return above.
        advantage = gae(
            reward=transitions.reward,
            value=transitions.value,
            next_value=transitions.next_value,
            terminated=transitions.terminated,
            truncated=transitions.truncated,
            gamma=config.gamma,
            gae_lambda=config.return_lambda,
        )
        batch = Batch(
            observation=transitions.observation,
            action=transitions.action,
            target=advantage + transitions.value,
        )
        rate = learning_rate(config, state.num_updates)
        learner, learned = learn(network, learner, batch, shuffle_key, rate, config, axis_name)
        judgment = Judgment(value=transitions.value, next_value=transitions.next_value, advantage=advantage)
        start = state.actor
        outcome, level_return = level_outcome(
            trace, num_levels(pool), judgment, start.level_return, start.episode_length, config.gamma
        )
        choice, renewed, level_metrics = levels.refresh(
            level_key, state.curriculum, config.env_params, outcome, progress
        )
        metrics |= learned | level_metrics | losses.return_metrics(transitions.value, batch.target)
        metrics |= {"epsilon": as_mean(epsilon), "learning_rate": as_mean(rate)}
        slot = forget_renewed(actor.slot, renewed)
        state = TrainState(
            learner=learner,
            actor=dataclasses.replace(actor, slot=slot, level_return=level_return),
            curriculum=choice,
            key=key,
            num_updates=state.num_updates + 1,
        )
        return state, sum_across(metrics, axis_name)

    def policy(learner: Learner, observation: PyTree, key: jax.Array, deterministic: bool) -> jax.Array:
        value = network.apply(learner.params, observation)
        return value.argmax(0) if deterministic else epsilon_greedy(value, key, learner.epsilon)

    def diagnose(state: TrainState, config: PQNConfig) -> Packed:
        learner = state.learner
        observation = probe(state.actor.observation)
        value, inside = look_inside(network, learner.params, observation)
        gradients = gradient_metrics(learner.optimizer, learner.params)
        return sum_across(gradients | greedy_entropy(value) | inside, axis_name)

    return Algorithm(
        init=init,
        update=update,
        policy=policy,
        steps_per_update=lambda config: config.num_envs * config.num_steps,
        diagnose=diagnose,
        lower_level=are_vectors(env.observation_space(env.default_params)),
    )


ALGORITHM = Registered(
    name="pqn",
    config=PQNConfig,
    make=make_pqn,
    network="q",
    check=lambda config, env, network, curriculum: check_pqn(config),
    network_options={"layer_norm": True},
)
