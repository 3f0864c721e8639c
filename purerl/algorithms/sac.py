r"""Soft actor-critic, with n-step targets and several gradient steps for each step of the environment.

.. math::
    J = \mathbb{E}\Big[\sum_t \gamma^t \left(r_t + \alpha H(\pi(\cdot \mid s_t))\right)\Big]

The temperature alpha is learned, so that the entropy meets a target. Within an update, each step of all
environments is followed by gradient steps on batches of the replay.

Sources: Haarnoja et al. 2018 (arXiv:1812.05905); for discrete actions, Christodoulou 2019 (arXiv:1910.07207).
"""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from purerl.algorithms import Registered, acting
from purerl.algorithms.acting import Actor, as_experience, first_experience
from purerl.algorithms.sac_config import SACConfig, check_sac
from purerl.algorithms.sac_learning import (
    Learner,
    diagnose,
    flatten,
    init_learner,
    learn_from,
    unflatten,
)
from purerl.functional.collectives import num_shards, split_key, sum_across
from purerl.functional.metrics import Packed, add_up, as_mean
from purerl.functional.schedules import learning_rate
from purerl.replay import Experience, Replay, uniform
from purerl.rollout.levels import (
    check_needs,
    forget_renewed,
    fresh_levels,
    level_outcome,
    num_levels,
    pool_size,
)
from purerl.rollout.unroll import draw_chance, init_actor, step_environments
from purerl.types import Algorithm, AxisName, Curriculum, LevelPool, PyTree, TrainState


def replay_of(config: SACConfig) -> Replay:
    """The kind of replay that a configuration asks for."""
    return uniform(
        num_steps=config.num_return_steps, event_share=config.event_share, event_size=config.event_size
    )


def example_experience(env: Any, params: PyTree, network: Any) -> Experience:
    """What one step of one environment leaves in the replay: shapes and dtypes, without values."""
    action = jax.eval_shape(lambda: random_actions(jax.random.key(0), network))
    return dataclasses.replace(acting.example_experience(env, params), action=action)


def to_bounds(action: jax.Array, space: Any, periodic: bool = False) -> jax.Array:
    """What an environment is told: integers as they are, or numbers within the bounds of its box.

    Args:
        action: as the policy chose it, int32 [B], or float32 [B, A] in [-1, 1].
        space: of the environment's actions.
        periodic: whether A = 2 M numbers are the coordinates of M points, first all x and then all y, whose
            directions are meant: -pi is the lower bound, and pi the upper one.

    Returns:
        [B, *shape].
    """
    if hasattr(space, "n"):
        return action
    if periodic:
        x, y = jnp.split(action, 2, axis=-1)
        action = jnp.arctan2(y, x) / jnp.pi
    action = action.reshape(action.shape[0], *space.shape)
    return space.low + (space.high - space.low) * 0.5 * (action + 1.0)


def random_actions(key: jax.Array, network: Any, *shape: int) -> jax.Array:
    """Uniform actions as the policy gives them: float32 [*shape, A] in [-1, 1], or int32 [*shape]."""
    if network.discrete:
        return jax.random.randint(key, shape, 0, network.action_size)
    return jax.random.uniform(key, (*shape, network.action_size), minval=-1.0, maxval=1.0)


def make_sac(
    env: Any, network: Any, axis_name: AxisName = None, curriculum: Curriculum | None = None
) -> Algorithm:
    """SAC on an environment with a network.

    Args:
        env: an environment of the gymnax contract; `config.env_params` are its parameters.
        network: a flax module with the methods of `SoftActorCritic`.
        axis_name: mesh axis over which environments are sharded, if any; `num_envs`, `batch_size` and
            `capacity` of the configuration are for all shards.
        curriculum: what fills the pool of levels; by default fresh ones before every update.
    """
    levels = curriculum or fresh_levels(env)
    check_needs(levels, frozenset(), "SAC")
    bounded = partial(to_bounds, space=env.action_space(env.default_params), periodic=network.periodic)

    def init(key: jax.Array, config: SACConfig) -> TrainState:
        key, network_key, actor_key, pool_key = split_key(key, 2, 2, axis_name)
        shards = num_shards(axis_name)
        num_envs = config.num_envs // shards
        count = pool_size(config.num_levels, config.num_envs, shards)
        choice = levels.init(pool_key, config.env_params, count)
        environments = init_actor(config.env_params, choice.pool, actor_key, num_envs, config.stagger)
        example = example_experience(env, config.env_params, network)
        experience = first_experience(example, environments.observation)
        action = jnp.zeros((num_envs, *experience.action.shape), experience.action.dtype)
        return TrainState(
            learner=init_learner(network.init(network_key, environments.observation, action), config),
            actor=Actor(
                environments=environments,
                replay=replay_of(config).init(experience, config.capacity // shards, num_envs),
            ),
            curriculum=choice,
            key=key,
            num_updates=jnp.int32(0),
        )

    def iterate(
        carry: Any, inputs: Any, unravel: Any, rate: jax.Array, pool: LevelPool, config: SACConfig
    ) -> Any:
        """One step of all environments, and the gradient steps that follow it."""
        actor, learner = carry
        act_key, blind_action, chance, learn_key, steps = inputs
        knows = steps >= config.warmup_steps
        environments = actor.environments
        params = unravel(learner.params)
        action = network.apply(params, environments.observation, method="policy").sample(seed=act_key)
        action = jnp.where(knows, action, blind_action)
        stepped, step, metrics = step_environments(
            env, config.env_params, environments, pool, bounded(action), chance
        )
        experience = as_experience(environments.observation, action, step)
        replay = replay_of(config).add(actor.replay, experience)
        # The learner alone passes through the choice, and the replay is only read: it is never copied.
        learning = partial(
            learn_from, network, unravel, replay_of(config), rate=rate, config=config, axis_name=axis_name
        )
        _, shapes = jax.eval_shape(learning, learner, replay, learn_key)
        nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        learner, learned = jax.lax.cond(
            knows, learning, lambda learner, *_: (learner, nothing), learner, replay, learn_key
        )
        return (Actor(environments=stepped, replay=replay), learner), (metrics | learned, step.level)

    def update(state: TrainState, config: SACConfig) -> tuple[TrainState, Packed]:
        key, run_key, level_key = split_key(state.key, 1, 2, axis_name)
        pool, rate = state.curriculum.pool, learning_rate(config, state.num_updates)
        learner, unravel = flatten(state.learner)
        # Not the rows in the replay: shards may differ in them, and would wait for each other for ever.
        number = jnp.arange(1.0, config.num_iterations + 1)
        steps = (state.num_updates.astype(jnp.float32) * config.num_iterations + number) * config.num_envs
        keys = jax.random.split(run_key, (2, config.num_iterations + 1))
        shape = config.num_iterations, state.actor.environments.slot.shape[0]
        inputs = (
            keys[0, 1:],
            random_actions(keys[0, 0], network, *shape),
            draw_chance(keys[1, 0], *shape),
            keys[1, 1:],
            steps,
        )
        carry, (metrics, trace) = jax.lax.scan(
            partial(iterate, unravel=unravel, rate=rate, pool=pool, config=config),
            (state.actor, learner),
            inputs,
        )
        actor, learner = carry
        # A curriculum hears of episodes alone: nothing here estimates the value of a state.
        outcome, _ = level_outcome(trace, num_levels(pool))
        progress = jnp.minimum((state.num_updates + 1) / config.total_updates, 1.0)
        choice, renewed, level_metrics = levels.refresh(
            level_key, state.curriculum, config.env_params, outcome, progress
        )
        slot = forget_renewed(actor.environments.slot, renewed)
        state = TrainState(
            learner=unflatten(learner, unravel),
            actor=dataclasses.replace(actor, environments=actor.environments.replace(slot=slot)),
            curriculum=choice,
            key=key,
            num_updates=state.num_updates + 1,
        )
        metrics = add_up(metrics) | level_metrics | {"learning_rate": as_mean(rate)}
        return state, sum_across(metrics, axis_name)

    def policy(learner: Learner, observation: PyTree, key: jax.Array, deterministic: bool) -> jax.Array:
        distribution = network.apply(learner.params, observation, method="policy")
        action = distribution.mode() if deterministic else distribution.sample(seed=key)
        return bounded(action)

    return Algorithm(
        init=init,
        update=update,
        policy=policy,
        steps_per_update=lambda config: config.num_envs * config.num_iterations,
        diagnose=lambda state, config: sum_across(
            diagnose(network, state.learner, state.actor.environments.observation), axis_name
        ),
    )


ALGORITHM = Registered(
    name="sac",
    config=SACConfig,
    make=make_sac,
    network="soft",
    cut="batches",
    check=lambda config, env, network, curriculum: check_sac(config, env.action_space(config.env_params)),
    replay=lambda config, env, network: (
        replay_of(config),
        example_experience(env, config.env_params, network),
    ),
)
