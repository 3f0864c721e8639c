r"""Proximal policy optimization.

.. math::
    L = \mathbb{E}\left[-\min(\rho_t A_t,\ \text{clip}(\rho_t, 1 \pm \epsilon) A_t)
        + c_v L_t^{V} - c_e H(\pi(\cdot \mid s_t))\right], \qquad
    \rho_t = \frac{\pi(a_t \mid s_t)}{\pi_{old}(a_t \mid s_t)}

Source: Schulman et al. 2017 (arXiv:1707.06347), equation 9; advantages by GAE (arXiv:1506.02438).
"""

import dataclasses
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from purerl.algorithms import Registered
from purerl.algorithms.diagnostics import gradient_metrics, look_inside, policy_metrics, probe
from purerl.algorithms.grpo import start_groups
from purerl.algorithms.ppo_config import PPOConfig, check_ppo
from purerl.algorithms.ppo_learning import (
    Learner,
    as_segments,
    learn,
    make_optimizer,
    prepare,
)
from purerl.functional import losses
from purerl.functional.collectives import num_shards, split_key, sum_across
from purerl.functional.distributions import act_with, draw_noise
from purerl.functional.metrics import Packed, as_mean, as_means
from purerl.functional.normalize import (
    init_moments,
    init_observation_moments,
    normalize_observation,
    update_observation_moments,
)
from purerl.functional.schedules import learning_rate
from purerl.rollout.levels import (
    LevelTrace,
    check_needs,
    forget_renewed,
    fresh_levels,
    level_outcome,
    num_levels,
    pool_size,
    start_returns,
)
from purerl.rollout.unroll import ActorState, init_actor, unroll
from purerl.spaces import are_vectors
from purerl.types import Algorithm, AxisName, Curriculum, LevelPool, Metrics, PyTree, TrainState, Transition


def action_metrics(action: jax.Array, space: Any) -> Packed | Metrics:
    """How far a continuous policy strays: share of entries outside the bounds, mean and magnitude.

    Nothing is beyond the ends of a periodic box, which turns on there.
    """
    if hasattr(space, "n"):
        return {}
    low, high = (
        jnp.broadcast_to(jnp.asarray(bound), space.shape).ravel() for bound in (space.low, space.high)
    )
    outside = ((action < low) | (action > high)) & (not getattr(space, "periodic", False))
    return as_means({"saturated_share": outside, "action_mean": action, "action_magnitude": jnp.abs(action)})


def with_products(update: Callable[..., Any]) -> Callable[..., Any]:
    """An update, `(state, config)`, whose matrix products round their factors to `config.precision`."""

    def rounded(state: TrainState, config: PPOConfig) -> Any:
        default = config.precision == "default"
        with nullcontext() if default else jax.default_matmul_precision(config.precision):
            return update(state, config)

    return rounded


def seen(learner: Learner, observation: PyTree) -> PyTree:
    """What the network sees of observations, leaves [..., *shape]."""
    if learner.observation_moments is None:
        return observation
    return normalize_observation(learner.observation_moments, observation)


def collect(
    env: Any,
    network: Any,
    learner: Learner,
    actor: ActorState,
    pool: LevelPool,
    key: jax.Array,
    config: PPOConfig,
) -> tuple[ActorState, Transition, LevelTrace, Packed]:
    """Rolls the policy out; what comes back is that of `purerl.rollout.unroll.unroll`."""

    def draw(key, num_steps):
        return draw_noise(key, env.action_space(config.env_params), num_steps, actor.slot.shape[0])

    def act(carry, observation, begins, noise):
        inputs = (carry, seen(learner, observation), begins)
        carry, policy, value = network.apply(learner.params, *inputs, method="step")
        return carry, *act_with(policy, noise), value

    def value_of(carry, observation):
        if config.group_size:  # nobody asks a critic
            return jnp.zeros(jax.tree.leaves(observation)[0].shape[0])
        return network.apply(learner.params, carry, seen(learner, observation), method="next_value")

    return unroll(env, config.env_params, actor, pool, key, config.num_steps, act, value_of, draw)


def check_ppo_curriculum(curriculum: Curriculum, config: PPOConfig) -> None:
    """Raises ValueError, with one line, where PPO so configured lacks what a curriculum needs of it."""
    if config.group_size:
        check_needs(curriculum, frozenset({"learnable"}), f"PPO with group_size = {config.group_size}")
    else:
        check_needs(curriculum, frozenset({"learnable", "values"}), "PPO")


def make_ppo(
    env: Any, network: Any, axis_name: AxisName = None, curriculum: Curriculum | None = None
) -> Algorithm:
    """PPO on an environment with a network.

    Args:
        env: an environment of the gymnax contract; `config.env_params` are its parameters.
        network: an `ActorCritic`, or one with a memory.
        axis_name: mesh axis over which environments are sharded, if any; `config.num_envs` is for all shards.
        curriculum: what fills the pool of levels; by default fresh ones before every rollout.
    """
    levels = curriculum or fresh_levels(env)

    def init(key: jax.Array, config: PPOConfig) -> TrainState:
        check_ppo_curriculum(levels, config)
        key, network_key, actor_key, pool_key = split_key(key, 2, 2, axis_name)
        num_envs = config.num_envs // num_shards(axis_name)
        count = pool_size(config.num_levels, config.num_envs, num_shards(axis_name))
        choice = levels.init(pool_key, config.env_params, count)
        actor = init_actor(config.env_params, choice.pool, actor_key, num_envs, config.stagger)
        carry = network.initial_carry(num_envs)
        begins = jnp.ones(num_envs, bool)
        params = network.init(network_key, carry, actor.observation, begins, method="step")
        learner = Learner(
            params=params,
            optimizer=make_optimizer(config, jnp.float32(0.0)).init(ravel_pytree(params)[0]),
            return_moments=init_moments(),
            observation_moments=(
                init_observation_moments(actor.observation) if config.normalize_observations else None
            ),
            rate=jnp.asarray(config.learning_rate, jnp.float32) if config.kl_target else None,
        )
        actor = dataclasses.replace(actor, carry=carry, level_return=start_returns(levels, num_envs))
        return TrainState(learner=learner, actor=actor, curriculum=choice, key=key, num_updates=jnp.int32(0))

    def update(state: TrainState, config: PPOConfig) -> tuple[TrainState, Packed]:
        key, rollout_key, level_key, shuffle_key = split_key(state.key, 1, 3, axis_name)
        learner, pool = state.learner, state.curriculum.pool

        start = state.actor
        if config.group_size:
            rollout_key, group_key = jax.random.split(rollout_key)
            start = start_groups(start, pool, group_key, config.group_size)
        actor, transitions, trace, metrics = collect(env, network, learner, start, pool, rollout_key, config)
        batch, judgment, moments, discounted = prepare(
            transitions, trace, actor.discounted_return, learner.return_moments, config, axis_name
        )
        outcome, level_return = level_outcome(
            trace, num_levels(pool), judgment, start.level_return, start.episode_length, config.gamma
        )
        batch = dataclasses.replace(batch, observation=seen(learner, batch.observation))
        if start.carry is not None:
            batch = as_segments(batch, start, trace)
        rate = learning_rate(config, state.num_updates) if learner.rate is None else learner.rate
        learner, learn_metrics = learn(network, learner, batch, shuffle_key, rate, config, axis_name)
        choice, renewed, level_metrics = levels.refresh(
            level_key,
            state.curriculum,
            config.env_params,
            outcome,
            jnp.minimum((state.num_updates + 1) / config.total_updates, 1.0),
        )
        metrics |= learn_metrics | level_metrics
        metrics |= action_metrics(batch.action, env.action_space(config.env_params))
        explained = losses.return_metrics(
            None if config.group_size else batch.value, batch.target, batch.weight > 0
        )
        metrics |= explained | {"learning_rate": as_mean(rate)}
        slot = forget_renewed(actor.slot, renewed)
        if config.normalize_observations:
            # Not before: acting and learning must see the same.
            observation_moments = update_observation_moments(
                learner.observation_moments, transitions.observation, axis_name
            )
            learner = dataclasses.replace(learner, observation_moments=observation_moments)
        state = TrainState(
            learner=dataclasses.replace(learner, return_moments=moments),
            actor=dataclasses.replace(
                actor, discounted_return=discounted, slot=slot, level_return=level_return
            ),
            curriculum=choice,
            key=key,
            num_updates=state.num_updates + 1,
        )
        return state, sum_across(metrics, axis_name)

    def policy(
        learner: Learner, observation: PyTree, key: jax.Array, deterministic: bool, carry: PyTree = None
    ) -> Any:
        begins = jnp.zeros(jax.tree.leaves(observation)[0].shape[0], bool)
        inputs = (carry, seen(learner, observation), begins)
        after, distribution, _ = network.apply(learner.params, *inputs, method="step")
        action = distribution.mode() if deterministic else distribution.sample(seed=key)
        return action if carry is None else (action, after)

    def diagnose(state: TrainState, config: PPOConfig) -> Packed:
        learner, actor = state.learner, state.actor
        carry, observation, begins = probe((actor.carry, actor.observation, actor.episode_length == 0))
        inputs = (carry, seen(learner, observation), begins)
        (_, policy, _), inside = look_inside(network, learner.params, *inputs, method="step")
        gradients = gradient_metrics(learner.optimizer, learner.params)
        return sum_across(gradients | policy_metrics(policy) | inside, axis_name)

    return Algorithm(
        init=init,
        update=with_products(update),
        policy=policy,
        steps_per_update=lambda config: config.num_envs * config.num_steps,
        diagnose=diagnose,
        initial_carry=network.initial_carry,
        lower_level=(
            are_vectors(env.observation_space(env.default_params))
            and jax.eval_shape(lambda: network.initial_carry(1)) is None
        ),
    )


def _check(config: PPOConfig, env: Any, network: Any, curriculum: Curriculum | None) -> None:
    remembers = jax.eval_shape(lambda: network.initial_carry(1)) is not None
    check_ppo(config, whole_segments=remembers)
    check_ppo_curriculum(curriculum or fresh_levels(env), config)


ALGORITHM = Registered(name="ppo", config=PPOConfig, make=make_ppo, network="actor_critic", check=_check)
