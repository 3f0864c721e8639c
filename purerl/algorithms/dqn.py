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
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax.flatten_util import ravel_pytree

from purerl.algorithms import Registered
from purerl.algorithms.acting import (
    Actor,
    as_experience,
    draw_exploration,
    epsilon_greedy,
    example_experience,
    explore,
    first_experience,
    spread_rates,
)
from purerl.algorithms.diagnostics import gradient_metrics, greedy_entropy, look_inside, probe
from purerl.algorithms.dqn_config import DQNConfig, check_dqn
from purerl.algorithms.dqn_learning import (
    Learner,
    importance_weights,
    init_learner,
    learn,
    scan_or_call,
    unraveller,
)
from purerl.functional.collectives import num_shards, split_key, sum_across
from purerl.functional.metrics import Packed, add_up, as_mean, pack
from purerl.functional.schedules import exploration_rate, learning_rate, linear, share_done
from purerl.replay import Replay, ReplayState, prioritized, uniform
from purerl.rollout.levels import (
    Judgment,
    LevelTrace,
    check_needs,
    forget_renewed,
    fresh_levels,
    level_outcome,
    num_levels,
    pool_size,
    start_returns,
)
from purerl.rollout.unroll import Chance, draw_chance, init_actor, step_environments, values_where
from purerl.spaces import are_vectors
from purerl.types import Algorithm, AxisName, Curriculum, LevelPool, PyTree, TrainState

PRIORITY_FLOOR = 1e-3
"""Added to the error in a priority, so that nothing is forgotten altogether."""


def replay_of(config: DQNConfig) -> Replay:
    """The kind of replay that a configuration asks for."""
    if config.prioritized:
        return prioritized(config.num_return_steps, config.num_frames)
    return uniform(config.num_return_steps, config.num_frames, config.event_share, config.event_size)


def act(
    env: Any,
    network: Any,
    carry: tuple[Actor, Learner],
    inputs: tuple[jax.Array, Chance],
    pool: LevelPool,
    config: DQNConfig,
) -> Any:
    """One step of all environments, remembered; with values where a curriculum asks for them."""
    actor, learner = carry
    exploration, chance = inputs
    environments = actor.environments
    params = unraveller(network, environments.observation)(learner.params)
    value = network.apply(params, environments.observation)
    rates = spread_rates(learner.epsilon, config.epsilon_spread, value.shape[1])
    action = explore(value, exploration, rates)
    stepped, step, metrics = step_environments(env, config.env_params, environments, pool, action, chance)
    experience = as_experience(environments.observation, action, step)
    replay = replay_of(config).add(actor.replay, experience)
    values = None
    if environments.level_return is not None:
        best_of = lambda _, observation: network.apply(params, observation).max(0)  # noqa: E731
        values = value.max(0), values_where(step.truncated, best_of, step.successor)
    return (Actor(environments=stepped, replay=replay), learner), (pack(metrics), (step.level, values))


def judge(
    trace: LevelTrace, values: tuple[jax.Array, jax.Array], last: jax.Array, gamma: jax.Array | float
) -> Judgment:
    """What the values of the best actions say of the steps of an update; advantages are one-step errors.

    Args:
        trace: leaves [T, E].
        values: as `act` gives them: of the states, and of the successors of truncated steps, float32 [T, E].
        last: of the states after the last step, float32 [E].
        gamma: discount in [0, 1].
    """
    value, cut = values
    next_value = jnp.where(trace.truncated, cut, jnp.concatenate([value[1:], last[None]]))
    terminated = trace.ended & ~trace.truncated
    advantage = trace.reward + jnp.where(terminated, 0.0, gamma * next_value) - value
    return Judgment(value=value, next_value=next_value, advantage=advantage)


@struct.dataclass
class Schedule:
    """What is in force in each of the rounds of learning of an update; float32 [rounds].

    Attributes:
        epsilon: share of random actions in the steps before it.
        learning_rate: step size.
        weight_exponent: of the importance weights.
        env_steps: steps of all environments that were taken by then.
    """

    epsilon: jax.Array
    learning_rate: jax.Array
    weight_exponent: jax.Array
    env_steps: jax.Array


def schedule_of(config: DQNConfig, num_updates: jax.Array) -> Schedule:
    """The schedule of the update that follows so many, [rounds]."""
    rounds = config.num_iterations // config.learn_every
    done = num_updates + jnp.arange(rounds) / rounds
    return Schedule(
        epsilon=exploration_rate(config, done),
        learning_rate=learning_rate(config, done),
        weight_exponent=linear(config.weight_exponent, 1.0, share_done(config, done)),
        env_steps=(done + 1 / rounds) * (config.num_iterations * config.num_envs),
    )


def draw_ahead(
    actor: Actor, key: jax.Array, config: DQNConfig, axis_name: AxisName
) -> tuple[jax.Array, Chance, PyTree]:
    """What chance decides in an update: exploring and environments [rounds, k, ...], draws [rounds, ...]."""
    rounds, num_envs = config.num_iterations // config.learn_every, actor.environments.slot.shape[0]
    explore_key, chance_key, draw_key = jax.random.split(key, 3)
    size = config.batch_size // num_shards(axis_name), config.num_gradient_steps
    draws = jax.vmap(lambda key: replay_of(config).draw(actor.replay, key, *size))
    return (
        draw_exploration(explore_key, rounds, config.learn_every, num_envs),
        draw_chance(chance_key, rounds, config.learn_every, num_envs),
        draws(jax.random.split(draw_key, rounds)),
    )


def learn_from_replay(
    network: Any,
    learner: Learner,
    replay: ReplayState,
    chance: PyTree,
    schedule: Schedule,
    config: DQNConfig,
    axis_name: AxisName,
) -> tuple[Learner, ReplayState, Any]:
    """A round of learning, once there is enough to learn from."""
    kind = replay_of(config)
    samples, index, weight = kind.read(replay, chance, config.gamma)
    if config.prioritized:
        weight = importance_weights(weight, schedule.weight_exponent, axis_name)
    round_of = partial(learn, network, rate=schedule.learning_rate, config=config, axis_name=axis_name)
    _, *shapes = jax.eval_shape(round_of, learner, samples, weight)
    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    # Not by the rows in the replay: shards may differ in them, and would wait for each other for ever.
    knows = schedule.env_steps >= config.warmup_steps
    # The replay does not pass through the choice, so it is not copied.
    learner, error, metrics = jax.lax.cond(
        knows, round_of, lambda learner, *_: (learner, *nothing), learner, samples, weight
    )
    if config.prioritized:
        priority = (error + PRIORITY_FLOOR) ** config.priority_exponent
        replay = kind.update(replay, index, jnp.where(knows, priority, replay.max_priority))
    return learner, replay, metrics


def make_dqn(
    env: Any, network: Any, axis_name: AxisName = None, curriculum: Curriculum | None = None
) -> Algorithm:
    """DQN on an environment with a network.

    Args:
        env: an environment of the gymnax contract with discrete actions; `config.env_params` are its
            parameters.
        network: a flax module, `observations -> values [A, B]`.
        axis_name: mesh axis over which environments are sharded, if any; `num_envs`, `batch_size` and
            `capacity` of the configuration are for all shards.
        curriculum: what fills the pool of levels; by default fresh ones before every update.
    """
    levels = curriculum or fresh_levels(env)
    check_needs(levels, frozenset({"values"}), "DQN")

    def init(key: jax.Array, config: DQNConfig) -> TrainState:
        key, network_key, actor_key, pool_key = split_key(key, 2, 2, axis_name)
        shards = num_shards(axis_name)
        num_envs = config.num_envs // shards
        count = pool_size(config.num_levels, config.num_envs, shards)
        choice = levels.init(pool_key, config.env_params, count)
        environments = init_actor(config.env_params, choice.pool, actor_key, num_envs, config.stagger)
        environments = dataclasses.replace(environments, level_return=start_returns(levels, num_envs))
        example = first_experience(example_experience(env, config.env_params), environments.observation)
        return TrainState(
            learner=init_learner(network.init(network_key, environments.observation), config),
            actor=Actor(
                environments=environments,
                replay=replay_of(config).init(example, config.capacity // shards, num_envs),
            ),
            curriculum=choice,
            key=key,
            num_updates=jnp.int32(0),
        )

    def iterate(carry: tuple[Actor, Learner], inputs: Any, state: TrainState, config: DQNConfig):
        """Steps of all environments, and the round of learning that follows them."""
        actor, learner = carry
        explorations, chances, draws, schedule = inputs
        learner = dataclasses.replace(learner, epsilon=schedule.epsilon)
        step = partial(act, env, network, pool=state.curriculum.pool, config=config)
        (actor, learner), (metrics, trace) = scan_or_call(step, (actor, learner), (explorations, chances))
        learner, replay, learned = learn_from_replay(
            network, learner, actor.replay, draws, schedule, config, axis_name
        )
        return (dataclasses.replace(actor, replay=replay), learner), (metrics, learned, trace)

    def update(state: TrainState, config: DQNConfig) -> tuple[TrainState, Packed]:
        key, run_key, level_key = split_key(state.key, 1, 2, axis_name)
        flat, unravel = ravel_pytree(state.learner.params)
        learner = dataclasses.replace(
            state.learner, params=flat, target_params=ravel_pytree(state.learner.target_params)[0]
        )
        schedule = schedule_of(config, state.num_updates)
        inputs = (*draw_ahead(state.actor, run_key, config, axis_name), schedule)
        (actor, learner), (acted, learned, trace) = jax.lax.scan(
            partial(iterate, state=state, config=config), (state.actor, learner), inputs
        )
        trace, values = jax.tree.map(
            lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), trace
        )  # [rounds, k, E] -> [T, E]
        start, judgment = state.actor.environments, None
        if values is not None:
            last = network.apply(unravel(learner.params), actor.environments.observation).max(0)
            judgment = judge(trace, values, last, config.gamma)
        outcome, level_return = level_outcome(
            trace,
            num_levels(state.curriculum.pool),
            judgment,
            start.level_return,
            start.episode_length,
            config.gamma,
        )
        progress = jnp.minimum((state.num_updates + 1) / config.total_updates, 1.0)
        choice, renewed, level_metrics = levels.refresh(
            level_key, state.curriculum, config.env_params, outcome, progress
        )
        slot = forget_renewed(actor.environments.slot, renewed)
        rates = {"epsilon": as_mean(schedule.epsilon), "learning_rate": as_mean(schedule.learning_rate)}
        metrics = add_up(acted) | add_up(learned) | level_metrics | rates
        state = TrainState(
            learner=dataclasses.replace(
                learner, params=unravel(learner.params), target_params=unravel(learner.target_params)
            ),
            actor=dataclasses.replace(
                actor, environments=actor.environments.replace(slot=slot, level_return=level_return)
            ),
            curriculum=choice,
            key=key,
            num_updates=state.num_updates + 1,
        )
        return state, sum_across(metrics, axis_name)

    def policy(learner: Learner, observation: PyTree, key: jax.Array, deterministic: bool) -> jax.Array:
        value = network.apply(learner.params, observation)
        return value.argmax(0) if deterministic else epsilon_greedy(value, key, learner.epsilon)

    def diagnose(state: TrainState, config: DQNConfig) -> Packed:
        learner = state.learner
        observation = probe(state.actor.environments.observation)
        value, inside = look_inside(network, learner.params, observation)
        gradients = gradient_metrics(learner.optimizer, learner.params)
        return sum_across(gradients | greedy_entropy(value) | inside, axis_name)

    return Algorithm(
        init=init,
        update=update,
        policy=policy,
        steps_per_update=lambda config: config.num_envs * config.num_iterations,
        diagnose=diagnose,
        lower_level=are_vectors(env.observation_space(env.default_params)),
    )


ALGORITHM = Registered(
    name="dqn",
    config=DQNConfig,
    make=make_dqn,
    network="q",
    cut="nothing",  # gradient steps are too small to be worth a collective each
    check=lambda config, env, network, curriculum: check_dqn(config),
    replay=lambda config, env, network: (replay_of(config), example_experience(env, config.env_params)),
)
