"""The skeleton of off-policy algorithms: act, remember, take gradient steps on what is remembered.

An algorithm gives its `OffPolicy` parts; replays, warm-up, seeds, devices, curricula, schedules and diagnosis
come with `make_off_policy`.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.flatten_util import ravel_pytree

from purerl.algorithms import skeleton
from purerl.algorithms.diagnostics import gradient_metrics, keep_gradient, probe
from purerl.algorithms.skeleton import AlgorithmConfig, adam, check_config, check_multiple, static
from purerl.functional.collectives import max_across, mean_across, num_shards, split_key, sum_across
from purerl.functional.metrics import Packed, add_up, as_mean, pack
from purerl.functional.returns import bootstrap
from purerl.functional.schedules import learning_rate, linear, share_done
from purerl.ranges import Count, CountOrZero, NotNegative, Share
from purerl.replay import Experience, Replay, ReplayState, Sample, check_event_share, prioritized, uniform
from purerl.rollout.levels import check_needs, fresh_levels
from purerl.rollout.unroll import ActorState, Chance, draw_chance, step_environments, values_where
from purerl.spaces import are_vectors
from purerl.types import (
    Algorithm,
    AxisName,
    Curriculum,
    Judgment,
    LevelPool,
    LevelTrace,
    Metrics,
    Need,
    PyTree,
    TrainState,
)

PRIORITY_FLOOR = 1e-3
"""Added to the error in a priority, so that nothing is forgotten altogether."""


@struct.dataclass
class OffPolicyConfig(AlgorithmConfig):
    """Options of every off-policy algorithm."""

    num_steps: Count = static(default=100)
    """Steps of each environment in one update."""
    learn_every: Count = static(default=1)
    """Steps of each environment before each round of learning; must divide num_steps."""
    num_gradient_steps: Count = static(default=1)
    """Gradient steps in each round of learning, on batches that are drawn together."""
    batch_size: Count = static(default=256)
    """Transitions in the batch of one gradient step."""
    buffer_size: Count = static(default=100_000)
    """Transitions that the replay holds."""
    num_return_steps: Count = static(default=1)
    """Rewards in a target before it bootstraps: n of the n-step return."""
    prioritized: bool = static(default=False)
    """Draw transitions in proportion to their last error."""
    event_share: Share = static(default=0.0)
    """Share of each batch that is drawn from events, steps with a reward other than 0."""
    event_size: NotNegative = static(default=0.0)
    """Magnitude that the reward of an event exceeds; above 0 where every step has some reward."""
    warmup_steps: CountOrZero = 1_000
    """Environment steps before learning begins."""
    priority_exponent: Share = 0.6
    """Exponent of the error in a priority, in [0, 1]."""
    weight_exponent: Share = 0.4
    """Exponent of the importance weights at the start, in [0, 1]; it rises to 1, linearly."""


@struct.dataclass
class Learner:
    """What learning changes; an algorithm adds what else it needs.

    Attributes:
        params: of the network; one flat vector, float32 [P], while it learns.
        target_params: of the network that targets are computed with, in the same form.
        optimizer: state of the optimizer, for all parameters as one flat vector.
    """

    params: PyTree
    target_params: PyTree
    optimizer: PyTree


class Round(NamedTuple):
    """What a round of learning learns from: G batches of B samples, one after another.

    Attributes:
        samples: windows of n steps, leaves [G * B, ...].
        weight: of each in the loss, float32 [G * B]: 1, or importance weights, the highest of which is 1; 0
            where there was nothing to draw.
        key: for what chance decides while learning.
        optimizer: for one flat vector, with the step size in force.
        unravel: from a flat vector to the parameters of the network.
        axis_name: mesh axis over which batches are sharded, if any.
    """

    samples: Sample
    weight: jax.Array
    key: jax.Array
    optimizer: optax.GradientTransformation
    unravel: Callable[[jax.Array], PyTree]
    axis_name: AxisName

    def descend(
        self, loss: Callable[..., Any], params: jax.Array, state: PyTree, *inputs: Any
    ) -> tuple[jax.Array, PyTree, Any, Packed]:
        """One gradient step: parameters [P] and state of the optimizer after it, and what the loss tells.

        `loss` is `(params [P], *inputs) -> (loss [], (told, metrics))`.
        """
        gradient, (told, metrics) = jax.grad(loss, has_aux=True)(params, *inputs)
        gradient = mean_across(gradient, self.axis_name)
        change, state = self.optimizer.update(gradient, state, params)
        metrics |= {"gradient_norm": as_mean(optax.tree.norm(gradient))}
        return params + change, state, told, metrics


class OffPolicy(NamedTuple):
    """The parts of an off-policy algorithm.

    Attributes:
        name: as messages have it.
        action: form of one action as the policy gives it, and as the replay holds it.
        init: `(network, key, observations [E, ...], optimizer, config) -> Learner`.
        draw: `(network, key, R, k, E) -> chance`, leaves [R, k, ...]: what chance decides in `act`, ahead.
        act: `(network, learner, observations [E, ...], chance, knows, config) -> (actions [E, ...], values)`:
            with `knows`, bool [], once learning has begun; values of the states are float32 [E], or None.
        learn: `(network, learner, round, config) -> (learner, errors [G * B], metrics)`: gradient steps;
            priorities are made of the sizes of errors. `params` and `target_params` are flat, and stay so.
        policy: `(network, learner, observations [B, ...], key, deterministic) -> actions [B, ...]`.
        look: `(network, learner, observations [B, ...]) -> metrics`, for diagnosis.
        check: `(config, shards) -> None`; raises ValueError where relations between options are broken.
        follow: `(config, updates done [R]) -> {field of the learner: float32 [R]}`, what follows a schedule.
        value: `(network, learner, observations [B, ...]) -> float32 [B]`, of states, for curricula; or None.
        bound: from actions [E, ...] of the policy to those of the environment.
        optimizer: `(config, step size) -> optax.GradientTransformation`, for one flat vector.
        lower_level: see `Algorithm`; for observations that are vectors.
    """

    name: str
    action: jax.ShapeDtypeStruct
    init: Callable[..., Any]
    draw: Callable[..., PyTree]
    act: Callable[..., tuple[jax.Array, jax.Array | None]]
    learn: Callable[..., tuple[Any, jax.Array, Packed]]
    policy: Callable[..., jax.Array]
    look: Callable[..., Packed | Metrics]
    check: Callable[[Any, int], None] = lambda config, shards: None
    follow: Callable[..., dict[str, jax.Array]] = lambda config, done: {}
    value: Callable[..., jax.Array] | None = None
    bound: Callable[[jax.Array], jax.Array] = lambda action: action
    optimizer: Callable[..., optax.GradientTransformation] = adam
    lower_level: bool = False


@struct.dataclass
class Actor:
    """What acts and remembers.

    Attributes:
        environments: leaves [E, ...].
        replay: of these environments; where they are sharded, each shard has one of its own.
    """

    environments: ActorState
    replay: ReplayState


@struct.dataclass
class Schedule:
    """What is in force in each of the R rounds of learning of an update; leaves [R].

    Attributes:
        follows: fields of the learner that follow a schedule, in the steps before the round as well.
        learning_rate: step size, float32.
        weight_exponent: of the importance weights, float32.
        knows: bool, whether there is enough to learn from.
    """

    follows: dict[str, jax.Array]
    learning_rate: jax.Array
    weight_exponent: jax.Array
    knows: jax.Array


def check_off_policy(config: OffPolicyConfig, shards: int) -> None:
    """Raises ValueError, with one line that names the remedy, where a configuration cannot run."""
    check_config(config, shards)
    check_multiple(config, "batch_size", shards, f"{shards} devices")
    check_multiple(config, "num_steps", config.learn_every, f"learn_every = {config.learn_every}")
    check_event_share(config.batch_size // shards, config.event_share, config.event_size)
    if config.prioritized and config.event_share:
        raise ValueError("event_share has no meaning with prioritized replay; set one of them to 0")
    # In a sweep it is an array, and was checked before.
    if isinstance(config.warmup_steps, int) and config.warmup_steps > config.buffer_size:
        raise ValueError(
            f"warmup_steps = {config.warmup_steps} is more than the replay holds; try buffer_size = "
            f"{config.warmup_steps} or more, or fewer of them"
        )


def replay_of(config: Any) -> Replay:
    """The kind of replay that a configuration asks for."""
    steps, frames = config.num_return_steps, config.num_frames if hasattr(config, "num_frames") else 1
    if config.prioritized:
        return prioritized(steps, frames)
    return uniform(steps, frames, config.event_share, config.event_size)


def example_experience(env: Any, params: PyTree, action: jax.ShapeDtypeStruct) -> Experience:
    """What one step of one environment leaves in the replay: shapes and dtypes, without values."""
    observation = jax.eval_shape(env.reset_env, jax.random.key(0), params)[0]
    number: Any = jax.ShapeDtypeStruct((), jnp.float32)
    flag: Any = jax.ShapeDtypeStruct((), bool)
    return Experience(
        observation=observation,
        action=action,
        reward=number,
        terminated=flag,
        truncated=flag,
        next_observation=observation,
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


def judge(
    trace: LevelTrace, values: tuple[jax.Array, jax.Array], last: jax.Array, gamma: jax.Array | float
) -> Judgment:
    """What values of states say of the steps of an update; advantages are one-step errors.

    Args:
        trace: leaves [T, E].
        values: of the states, and of the successors of truncated steps, float32 [T, E].
        last: of the states after the last step, float32 [E].
        gamma: discount in [0, 1].
    """
    value, cut = values
    next_value = jnp.where(trace.truncated, cut, jnp.concatenate([value[1:], last[None]]))
    terminated = trace.ended & ~trace.truncated
    advantage = bootstrap(trace.reward, ~terminated, gamma, next_value) - value
    return Judgment(value=value, next_value=next_value, advantage=advantage)


def flatten(learner: Any) -> tuple[Any, Callable[[jax.Array], PyTree]]:
    """The learner with each network as one vector, and the function that makes parameters of such a vector.

    One pass over memory then serves all layers, with one kernel to compile.
    """
    (params, unravel), (target, _) = ravel_pytree(learner.params), ravel_pytree(learner.target_params)
    return dataclasses.replace(learner, params=params, target_params=target), unravel


def unflatten(learner: Any, unravel: Callable[[jax.Array], PyTree]) -> Any:
    """Undoes `flatten`."""
    params, target = unravel(learner.params), unravel(learner.target_params)
    return dataclasses.replace(learner, params=params, target_params=target)


def in_batches(tree: PyTree, count: int) -> PyTree:
    """Samples of a round, leaves [G * B, ...], as G batches, leaves [G, B, ...]."""
    return jax.tree.map(lambda leaf: leaf.reshape(count, -1, *leaf.shape[1:]), tree)


def scan_or_call(step: Any, carry: Any, inputs: Any) -> Any:
    """`scan`, without a loop where there is one input alone."""
    if jax.tree.leaves(inputs)[0].shape[0] > 1:
        return jax.lax.scan(step, carry, inputs)
    carry, output = step(carry, jax.tree.map(lambda leaf: leaf[0], inputs))
    return carry, jax.tree.map(lambda leaf: leaf[None], output)


class Training(NamedTuple):
    """An off-policy algorithm in its environment: what `make_off_policy` makes an `Algorithm` of."""

    env: Any
    network: Any
    parts: OffPolicy
    levels: Curriculum
    axis_name: AxisName

    def check(self, config: Any, shards: int) -> None:
        """Raises ValueError, with one line, where a configuration cannot run on so many shards."""
        check_off_policy(config, shards)
        self.parts.check(config, shards)

    def optimizer(self, config: Any, rate: jax.Array | float) -> optax.GradientTransformation:
        """That of the algorithm, which remembers the last gradient."""
        return optax.chain(keep_gradient(), self.parts.optimizer(config, rate))

    def init(self, key: jax.Array, config: Any) -> TrainState:
        """A state in which nothing has been learned."""
        shards = num_shards(self.axis_name)
        self.check(config, shards)
        key, network_key, actor_key, pool_key = split_key(key, 2, 2, self.axis_name)
        choice, environments = skeleton.begin(self.levels, actor_key, pool_key, config, self.axis_name)
        example = dataclasses.replace(  # what was never written looks like an observation that exists
            example_experience(self.env, config.env_params, self.parts.action),
            observation=jax.tree.map(lambda leaf: leaf[0], environments.observation),
        )
        optimizer, size = (
            self.optimizer(config, 0.0),
            (config.buffer_size // shards, config.num_envs // shards),
        )
        return TrainState(
            learner=self.parts.init(self.network, network_key, environments.observation, optimizer, config),
            actor=Actor(environments=environments, replay=replay_of(config).init(example, *size)),
            curriculum=choice,
            key=key,
            num_updates=jnp.int32(0),
        )

    def schedule(self, config: Any, num_updates: jax.Array) -> Schedule:
        """The schedule of the update that follows so many."""
        rounds = config.num_steps // config.learn_every
        done = num_updates + jnp.arange(rounds) / rounds
        steps = num_updates * jnp.float32(config.num_steps) + config.learn_every * jnp.arange(1.0, rounds + 1)
        return Schedule(
            follows=self.parts.follow(config, done),
            learning_rate=learning_rate(config, done),
            weight_exponent=linear(config.weight_exponent, 1.0, share_done(config, done)),
            # Not the rows in the replay: shards may differ in them, and would wait for each other for ever.
            knows=steps * config.num_envs >= config.warmup_steps,
        )

    def draw_ahead(
        self, actor: Actor, key: jax.Array, config: Any
    ) -> tuple[PyTree, Chance, PyTree, jax.Array]:
        """What chance decides in an update: acting and environments [R, k, ...], draws and keys [R, ...]."""
        rounds, num_envs = config.num_steps // config.learn_every, actor.environments.slot.shape[0]
        act_key, chance_key, draw_key, learn_key = jax.random.split(key, 4)
        size = config.batch_size // num_shards(self.axis_name), config.num_gradient_steps
        draws = jax.vmap(lambda key: replay_of(config).draw(actor.replay, key, *size))
        return (
            self.parts.draw(self.network, act_key, rounds, config.learn_every, num_envs),
            draw_chance(chance_key, rounds, config.learn_every, num_envs),
            draws(jax.random.split(draw_key, rounds)),
            jax.random.split(learn_key, rounds),
        )

    def act(
        self,
        actor: Actor,
        inputs: tuple[PyTree, Chance],
        learner: Any,
        knows: jax.Array,
        pool: LevelPool,
        config: Any,
    ) -> tuple[Actor, Any]:
        """One step of all environments, remembered; with values where a curriculum asks for them."""
        noise, chance = inputs
        parts, network, environments = self.parts, self.network, actor.environments
        action, value = parts.act(network, learner, environments.observation, noise, knows, config)
        stepped, step, metrics = step_environments(
            self.env, config.env_params, environments, pool, parts.bound(action), chance
        )
        experience = Experience(
            observation=environments.observation,
            action=action,
            reward=step.reward,
            terminated=step.terminated,
            truncated=step.truncated,
            next_observation=step.next_observation,
        )
        values = None
        if environments.level_return is not None and parts.value is not None:
            value_of = lambda _, observation: parts.value(network, learner, observation)  # noqa: E731
            values = value, values_where(step.truncated, value_of, step.next_observation)
        replay = replay_of(config).add(actor.replay, experience)
        return Actor(environments=stepped, replay=replay), (pack(metrics), (step.level, values))

    def learn(
        self, learner: Any, replay: ReplayState, chance: Any, schedule: Schedule, unravel: Any, config: Any
    ) -> tuple[Any, ReplayState, Packed]:
        """A round of learning, once there is enough to learn from; the learner is flat."""
        (draws, key), kind = chance, replay_of(config)
        samples, index, weight = kind.read(replay, draws, config.gamma)
        if config.prioritized:
            weight = importance_weights(weight, schedule.weight_exponent, self.axis_name)

        def learns(learner, samples, weight, key):
            optimizer = self.optimizer(config, schedule.learning_rate)
            given = Round(samples, weight, key, optimizer, unravel, self.axis_name)
            return self.parts.learn(self.network, learner, given, config)

        _, *shapes = jax.eval_shape(learns, learner, samples, weight, key)
        nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        # The replay does not pass through the choice, so it is not copied.
        learner, error, metrics = jax.lax.cond(
            schedule.knows, learns, lambda learner, *_: (learner, *nothing), learner, samples, weight, key
        )
        if config.prioritized:
            priority = (error + PRIORITY_FLOOR) ** config.priority_exponent
            replay = kind.update(replay, index, jnp.where(schedule.knows, priority, replay.max_priority))
        return learner, replay, metrics

    def iterate(
        self, carry: tuple[Actor, Any], inputs: Any, pool: LevelPool, unravel: Any, config: Any
    ) -> Any:
        """Steps of all environments, and the round of learning that follows them."""
        actor, learner = carry
        noise, chance, *learn_chance, schedule = inputs
        learner = dataclasses.replace(learner, **schedule.follows)
        acting = {"learner": unflatten(learner, unravel), "knows": schedule.knows}
        step = partial(self.act, **acting, pool=pool, config=config)
        actor, (metrics, trace) = scan_or_call(step, actor, (noise, chance))
        learner, replay, learned = self.learn(learner, actor.replay, learn_chance, schedule, unravel, config)
        return (dataclasses.replace(actor, replay=replay), learner), (metrics, learned, trace)

    def update(self, state: TrainState, config: Any) -> tuple[TrainState, Packed]:
        """Rounds of acting and learning."""
        key, run_key, level_key = split_key(state.key, 1, 2, self.axis_name)
        learner, unravel = flatten(state.learner)
        schedule = self.schedule(config, state.num_updates)
        iterate = partial(self.iterate, pool=state.curriculum.pool, unravel=unravel, config=config)
        inputs = (*self.draw_ahead(state.actor, run_key, config), schedule)
        (actor, learner), (acted, learned, trace) = jax.lax.scan(iterate, (state.actor, learner), inputs)
        learner = unflatten(learner, unravel)
        # [R, k, E] -> [T, E]
        trace, values = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), trace)
        judgment = None
        if values is not None and self.parts.value is not None:
            last = self.parts.value(self.network, learner, actor.environments.observation)
            judgment = judge(trace, values, last, config.gamma)
        both = state.actor.environments, actor.environments
        choice, environments, told = skeleton.refresh(
            self.levels, level_key, state, both, trace, judgment, config
        )
        rates = schedule.follows | {"learning_rate": schedule.learning_rate}
        metrics = (
            add_up(acted) | add_up(learned) | told | {name: as_mean(each) for name, each in rates.items()}
        )
        state = TrainState(
            learner=learner,
            actor=dataclasses.replace(actor, environments=environments),
            curriculum=choice,
            key=key,
            num_updates=state.num_updates + 1,
        )
        return state, sum_across(metrics, self.axis_name)

    def policy(self, learner: Any, observation: PyTree, key: jax.Array, deterministic: bool) -> jax.Array:
        """See `purerl.types.Algorithm`."""
        return self.parts.bound(self.parts.policy(self.network, learner, observation, key, deterministic))

    def diagnose(self, state: TrainState, config: Any) -> Packed:
        """What a state tells without another step."""
        learner, observation = state.learner, probe(state.actor.environments.observation)
        told = gradient_metrics(learner.optimizer, learner.params)
        return sum_across(told | self.parts.look(self.network, learner, observation), self.axis_name)


def make_off_policy(
    env: Any, network: Any, parts: OffPolicy, axis_name: AxisName = None, curriculum: Curriculum | None = None
) -> Algorithm:
    """An off-policy algorithm in an environment.

    Args:
        env: an environment of the gymnax contract; `config.env_params` are its parameters.
        network: what the parts of the algorithm take.
        parts: of the algorithm.
        axis_name: mesh axis over which environments are sharded, if any; `num_envs`, `batch_size` and
            `buffer_size` of the configuration are for all shards.
        curriculum: what fills the pool of levels; by default fresh ones before every update.

    Raises:
        ValueError: one line, where the curriculum needs what the algorithm does not have.
    """
    levels = curriculum or fresh_levels(env)
    has: frozenset[Need] = frozenset({"values"} if parts.value else ())
    check_needs(levels, has, parts.name)
    training = Training(env, network, parts, levels, axis_name)
    return Algorithm(
        init=training.init,
        update=training.update,
        policy=training.policy,
        steps_per_update=lambda config: config.num_envs * config.num_steps,
        diagnose=training.diagnose,
        lower_level=parts.lower_level and are_vectors(env.observation_space(env.default_params)),
        replay=lambda config: (
            replay_of(config),
            example_experience(env, config.env_params, parts.action),
        ),
        check=training.check,
    )
