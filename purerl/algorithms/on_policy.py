"""The skeleton of on-policy algorithms: play, say what is aimed at, take gradient steps, begin anew.

An algorithm gives its `OnPolicy` parts; seeds, devices, curricula, memories, normalization and diagnosis come
with `make_on_policy`.
"""

import dataclasses
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from purerl.algorithms.diagnostics import action_metrics, gradient_metrics, keep_gradient, look_inside, probe
from purerl.algorithms.epochs import gradient_epochs
from purerl.algorithms.on_policy_parts import (
    Learner,
    OnPolicy,
    OnPolicyConfig,
    Samples,
    Targets,
    check_on_policy,
)
from purerl.algorithms.skeleton import begin, refresh
from purerl.functional.collectives import mean_across, num_shards, split_key, sum_across
from purerl.functional.losses import return_metrics
from purerl.functional.metrics import Packed, as_mean, pack
from purerl.functional.normalize import (
    init_moments,
    init_observation_moments,
    normalize_observation,
    scale_rewards,
    update_observation_moments,
)
from purerl.functional.schedules import learning_rate
from purerl.rollout.levels import check_needs, fresh_levels
from purerl.rollout.unroll import ActorState, unroll
from purerl.spaces import are_vectors
from purerl.types import (
    Algorithm,
    AxisName,
    Curriculum,
    Judgment,
    LevelPool,
    LevelTrace,
    PyTree,
    TrainState,
    Transition,
)


class Training(NamedTuple):
    """An on-policy algorithm in its environment: what `make_on_policy` makes an `Algorithm` of."""

    env: Any
    network: Any
    parts: OnPolicy
    levels: Curriculum
    axis_name: AxisName

    @property
    def remembers(self) -> bool:
        """Whether the network has a memory, so that it learns from whole segments."""
        return jax.eval_shape(lambda: self.network.initial_carry(1)) is not None

    def check(self, config: Any, shards: int) -> None:
        """Raises ValueError, with one line, where a configuration cannot run on so many shards."""
        check_on_policy(config, shards, self.remembers)
        self.parts.check(config, shards)

    def optimizer(self, config: Any, rate: jax.Array | float) -> optax.GradientTransformation:
        """That of the algorithm, which remembers the last gradient."""
        return optax.chain(keep_gradient(), self.parts.optimizer(config, rate))

    def init(self, key: jax.Array, config: Any) -> TrainState:
        """A state in which nothing has been learned."""
        self.check(config, num_shards(self.axis_name))
        key, network_key, actor_key, pool_key = split_key(key, 2, 2, self.axis_name)
        choice, actor = begin(self.levels, actor_key, pool_key, config, self.axis_name)
        carry = self.network.initial_carry(actor.slot.shape[0])
        is_first = jnp.ones(actor.slot.shape[0], bool)
        params = self.network.init(network_key, carry, actor.observation, is_first, method="step")
        explores, normalizes = self.parts.exploration, config.normalize_observations
        learner = Learner(
            params=params,
            optimizer=self.optimizer(config, 0.0).init(ravel_pytree(params)[0]),
            return_moments=init_moments() if config.normalize_rewards else None,
            observation_moments=init_observation_moments(actor.observation) if normalizes else None,
            rate=jnp.asarray(config.learning_rate, jnp.float32) if self.parts.adapt(config) else None,
            exploration=explores(config, jnp.int32(0)) if explores else None,
        )
        actor = dataclasses.replace(actor, carry=carry)
        return TrainState(learner=learner, actor=actor, curriculum=choice, key=key, num_updates=jnp.int32(0))

    def play(
        self, learner: Learner, actor: ActorState, pool: LevelPool, key: jax.Array, config: Any
    ) -> tuple[ActorState, Transition, LevelTrace, Packed]:
        """Rolls the policy out; what comes back is that of `purerl.rollout.unroll.unroll`."""
        parts, space = self.parts, self.env.action_space(config.env_params)

        def act(carry, observation, is_first, noise):
            return parts.act(
                self.network, learner, carry, seen(learner, observation), is_first, noise, config
            )

        def value(carry, observation):
            if parts.value is None:  # nobody asks a critic
                return jnp.zeros(jax.tree.leaves(observation)[0].shape[0])
            return parts.value(self.network, learner, carry, seen(learner, observation))

        draw = lambda key, num_steps: parts.draw(key, space, num_steps, actor.slot.shape[0])  # noqa: E731
        return unroll(self.env, config.env_params, actor, pool, key, config.num_steps, act, value, draw)

    def learn(
        self, learner: Learner, samples: Samples, key: jax.Array, rate: jax.Array, config: Any
    ) -> tuple[Learner, Packed]:
        """Epochs of gradient steps over the samples of one rollout, leaves [T, E, ...]."""
        learns = mean_across(samples.weight.mean(), self.axis_name) > 0
        params, optimizer_state, metrics = gradient_epochs(
            loss=lambda params, part: self.parts.loss(self.network, params, part, config),
            params=learner.params,
            optimizer=self.optimizer(config, rate),
            optimizer_state=learner.optimizer,
            batch=samples,
            key=key,
            config=config,
            axis_name=self.axis_name,
            whole_segments=samples.carry is not None,
            learns=learns,
        )
        adapt = self.parts.adapt(config)
        if adapt:
            learner = dataclasses.replace(
                learner, rate=jnp.where(learns, adapt(rate, sum_across(metrics, self.axis_name)), rate)
            )
        return dataclasses.replace(learner, params=params, optimizer=optimizer_state), metrics

    def update(self, state: TrainState, config: Any) -> tuple[TrainState, Packed]:
        """A rollout, and what is learned from it."""
        parts, axis_name, pool = self.parts, self.axis_name, state.curriculum.pool
        key, rollout_key, level_key, shuffle_key = split_key(state.key, 1, 3, axis_name)
        learner, start = state.learner, state.actor
        if parts.exploration:
            learner = dataclasses.replace(learner, exploration=parts.exploration(config, state.num_updates))
        if parts.start:
            rollout_key, start_key = jax.random.split(rollout_key)
            start = parts.start(start, pool, start_key, config)
        actor, played, trace, metrics = self.play(learner, start, pool, rollout_key, config)
        past, moments = actor.discounted_return, learner.return_moments
        scaled = scale_rewards(played.reward, trace.ended, past, moments, config.gamma, axis_name)
        played = dataclasses.replace(played, reward=scaled.reward)
        targets = parts.targets(played, trace.learnable, config, axis_name)
        samples = as_samples(played, seen(learner, played.observation), targets, axis_name)
        if start.carry is not None:
            samples = as_segments(samples, start, trace.ended)
        rate = learning_rate(config, state.num_updates) if learner.rate is None else learner.rate
        learner, learned = self.learn(learner, samples, shuffle_key, rate, config)
        learner = dataclasses.replace(learner, return_moments=scaled.moments)
        if learner.observation_moments is not None:  # not before: acting and learning must see the same
            moments = update_observation_moments(learner.observation_moments, played.observation, axis_name)
            learner = dataclasses.replace(learner, observation_moments=moments)
        actor = dataclasses.replace(actor, discounted_return=scaled.discounted)
        judgment = judge_of(played, targets, scaled.scale) if "values" in parts.tells else None
        actors = start, actor
        choice, actor, level_metrics = refresh(self.levels, level_key, state, actors, trace, judgment, config)
        metrics |= learned | level_metrics | self.told(samples, learner, rate, config)
        state = TrainState(
            learner=learner, actor=actor, curriculum=choice, key=key, num_updates=state.num_updates + 1
        )
        return state, sum_across(metrics, axis_name)

    def told(self, samples: Samples, learner: Learner, rate: jax.Array, config: Any) -> Packed:
        """What an update tells of its actions, its returns and its rates."""
        value = samples.value if self.parts.value else None
        metrics = return_metrics(value, samples.target, samples.weight > 0) | {"learning_rate": as_mean(rate)}
        if learner.exploration is not None:
            metrics |= {"epsilon": as_mean(learner.exploration)}
        return pack(metrics) | action_metrics(samples.action, self.env.action_space(config.env_params))

    def policy(
        self, learner: Learner, observation: PyTree, key: jax.Array, deterministic: bool, carry: PyTree = None
    ) -> Any:
        """See `purerl.types.Algorithm`."""
        observation = seen(learner, observation)
        after, action = self.parts.choose(self.network, learner, carry, observation, key, deterministic)
        return action if carry is None else (action, after)

    def diagnose(self, state: TrainState, config: Any) -> Packed:
        """What a state tells without another step."""
        learner, actor = state.learner, state.actor
        carry, observation, is_first = probe((actor.carry, actor.observation, actor.episode_length == 0))
        inputs = (carry, seen(learner, observation), is_first)
        stepped, inside = look_inside(self.network, learner.params, *inputs, method="step")
        told = gradient_metrics(learner.optimizer, learner.params) | self.parts.look(stepped) | inside
        return sum_across(told, self.axis_name)


def make_on_policy(
    env: Any, network: Any, parts: OnPolicy, axis_name: AxisName = None, curriculum: Curriculum | None = None
) -> Algorithm:
    """An on-policy algorithm in an environment.

    Args:
        env: an environment of the gymnax contract; `config.env_params` are its parameters.
        network: what the parts of the algorithm take, with or without a memory.
        parts: of the algorithm.
        axis_name: mesh axis over which environments are sharded, if any; `config.num_envs` is for all shards.
        curriculum: what fills the pool of levels; by default fresh ones before every rollout.

    Raises:
        ValueError: one line, where the curriculum needs what the algorithm does not have.
    """
    levels = curriculum or fresh_levels(env)
    check_needs(levels, parts.tells, parts.name)
    training = Training(env, network, parts, levels, axis_name)
    return Algorithm(
        init=training.init,
        update=with_products(training.update),
        policy=training.policy,
        steps_per_update=lambda config: config.num_envs * config.num_steps,
        diagnose=training.diagnose,
        initial_carry=network.initial_carry,
        lower_level=are_vectors(env.observation_space(env.default_params)) and not training.remembers,
        check=training.check,
    )


def with_products(update: Callable[..., Any]) -> Callable[..., Any]:
    """An update, `(state, config)`, whose matrix products round their factors to `config.precision`."""

    def rounded(state: TrainState, config: OnPolicyConfig) -> Any:
        default = config.precision == "default"
        with nullcontext() if default else jax.default_matmul_precision(config.precision):
            return update(state, config)

    return rounded


def seen(learner: Learner, observation: PyTree) -> PyTree:
    """What the network sees of observations, leaves [..., *shape]."""
    if learner.observation_moments is None:
        return observation
    return normalize_observation(learner.observation_moments, observation)


def as_samples(
    transitions: Transition, observation: PyTree, targets: Targets, axis_name: AxisName
) -> Samples:
    """The samples of a rollout, leaves [T, E, ...], with the observations that the network sees."""
    return Samples(
        observation=observation,
        action=transitions.action,
        log_prob=transitions.log_prob,
        value=transitions.value,
        advantage=targets.advantage,
        target=targets.target,
        weight=targets.counts / jnp.maximum(mean_across(targets.counts.mean(), axis_name), 1e-8),
    )


def as_segments(samples: Samples, start: ActorState, ended: jax.Array) -> Samples:
    """The same for a network with a memory.

    Args:
        samples: leaves [T, E, ...].
        start: the environments as they were before the rollout.
        ended: whether an episode ended with a step, bool [T, E].
    """
    is_first = jnp.concatenate([start.episode_length[None] == 0, ended[:-1]])
    carry = jax.tree.map(lambda leaf: leaf[None], start.carry)
    return dataclasses.replace(samples, carry=carry, is_first=is_first)


def judge_of(transitions: Transition, targets: Targets, scale: jax.Array) -> Judgment:
    """What the critic says of a rollout, in the rewards that the environment gave; leaves [T, E]."""
    advantage = targets.target - transitions.value
    return Judgment(
        value=scale * transitions.value,
        next_value=scale * transitions.next_value,
        advantage=scale * advantage,
    )
