"""Stepping many environments: auto-reset from a pool of levels, and episode statistics."""

import dataclasses
import math
from collections.abc import Callable
from typing import TypeGuard

import jax
import jax.numpy as jnp
from flax import struct

from purerl.functional.metrics import Packed, add_up, masked_mean, pack
from purerl.functional.trees import select
from purerl.rollout.stepping import step_all
from purerl.types import Environment, LevelPool, LevelTrace, Metrics, Observable, Params, PyTree, Transition

VALUE_BLOCKS = 8
"""Parts of the environments whose successors the critic judges at once."""
SMALL_BATCH = 64
"""Environments that are not worth cutting into parts."""


@struct.dataclass
class ActorState:
    """What a rollout carries from step to step; leaves [E, ...].

    Attributes:
        env_state: states of the environments.
        observation: what the policy sees next.
        episode_return: sum of the rewards of the episode so far, float32 [E]; without shaping, where the
            environment names its `unshaped_reward` in `info`.
        episode_length: steps of the episode so far, int32 [E].
        cut_after: steps after which a staggered start cuts an environment's first episode, int32 [E]; 0 where
            nothing is cut. Such first episodes are left out of the statistics, cut or not: those that end
            before would be the short ones.
        discounted_return: discounted sum of the past rewards, for their normalization, float32 [E].
        slot: slot of the pool whose level is being played, int32 [E]; P where it has left the pool.
        learnable: whether samples of that level count in learning, bool [E].
        carry: what a policy with a memory remembers; None for one without.
        level_return: discounted sum of the rewards of the episode so far, as seen from its first step,
            float32 [E]; None where no curriculum asks.
    """

    env_state: PyTree
    observation: PyTree
    episode_return: jax.Array
    episode_length: jax.Array
    cut_after: jax.Array
    discounted_return: jax.Array
    slot: jax.Array
    learnable: jax.Array
    carry: PyTree = None
    level_return: jax.Array | None = None


@struct.dataclass
class Step:
    """One step of E environments. `next_observation` is the true next observation, from before any reset."""

    next_observation: PyTree
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    level: LevelTrace


@struct.dataclass
class Chance:
    """What chance decides in a step of E environments; leaves [..., E].

    Draw it ahead of a loop over steps: on a CPU, each draw within the loop is a loop itself.

    Attributes:
        keys: one for each environment.
        levels: which level follows where an episode ends, uint32.
    """

    keys: jax.Array
    levels: jax.Array


def draw_chance(key: jax.Array, *shape: int) -> Chance:
    """Chance in one step of E environments, shape (E,), or in T steps, (T, E); uses up the key."""
    keys = jax.random.split(key, math.prod(shape) + 1)
    return Chance(keys=keys[:-1].reshape(shape), levels=jax.random.bits(keys[-1], shape))


def init_actor(params: Params, pool: LevelPool, key: jax.Array, num_envs: int, stagger: bool) -> ActorState:
    """Starts E environments on the levels of a pool, one after another.

    With `stagger`, each first episode is cut after a random number of steps below the time limit that the
    parameters name as `max_steps_in_episode`, so that environments do not all reach it in the same step. That
    is a truncation like any other: no environment is told, and states and observations are those of levels.
    """
    slot = pool.draw[jnp.arange(num_envs) % pool.draw.shape[0]]
    observation, env_state, learnable = take_levels(pool, slot)
    cut_after = jnp.zeros(num_envs, jnp.int32)
    if stagger and hasattr(params, "max_steps_in_episode"):
        limit = jnp.asarray(params.max_steps_in_episode)
        cut_after = jax.random.randint(key, (num_envs,), 0, limit).astype(jnp.int32)
    return ActorState(
        env_state=env_state,
        observation=observation,
        episode_return=jnp.zeros(num_envs),
        episode_length=jnp.zeros(num_envs, jnp.int32),
        cut_after=cut_after,
        discounted_return=jnp.zeros(num_envs),
        slot=slot,
        learnable=learnable,
    )


def take_levels(pool: LevelPool, slot: jax.Array) -> tuple[PyTree, PyTree, jax.Array]:
    """Observations, states and learnability of the levels in these slots, int32 [E]; leaves [E, ...]."""
    return jax.tree.map(lambda leaf: leaf[slot], (pool.observation, pool.env_state, pool.learnable))


def observes_states(env: Environment) -> TypeGuard[Observable]:
    """Whether the environment declares that it can look at a state again (`purerl.types.Observable`)."""
    return getattr(env, "observe_state", None) is not None


def step_environments(
    env: Environment, params: Params, actor: ActorState, pool: LevelPool, action: jax.Array, chance: Chance
) -> tuple[ActorState, Step, Metrics]:
    """Steps E environments, and starts those that ended on levels drawn from the pool.

    Args:
        env: an environment of the gymnax contract.
        params: its parameters.
        actor: the environments.
        pool: levels to draw from.
        action: [E, ...], as sampled.
        chance: drawn for this step, leaves [E].

    Returns:
        The environments after the step, the step itself, and the statistics of the whole episodes that ended.
    """
    outcome = step_all(env, params, chance.keys, actor.env_state, action)
    terminated, episode_length = outcome.terminated, actor.episode_length + 1
    truncated = (outcome.truncated | (episode_length == actor.cut_after)) & ~terminated
    ended = terminated | truncated
    episode_return = actor.episode_return + outcome.unshaped_reward
    drawn = pool.draw[chance.levels % pool.draw.shape[0]]
    observation, level_state, learnable = take_levels(pool, drawn)
    env_state = select(ended, level_state, outcome.env_state)
    if observes_states(env):  # to look again costs less than to choose between two large observations
        observation = jax.vmap(env.observe_state, (0, None))(env_state, params)
    else:
        observation = select(ended, observation, outcome.observation)
    counts = ended & (actor.cut_after == 0)
    metrics = {
        "episode_return": masked_mean(episode_return, counts),
        "episode_length": masked_mean(episode_length, counts),
    }
    if outcome.tells_solved:
        metrics["solve_rate"] = masked_mean(outcome.solved, counts)
    stepped = dataclasses.replace(
        actor,
        env_state=env_state,
        observation=observation,
        episode_return=jnp.where(ended, 0.0, episode_return),
        episode_length=jnp.where(ended, 0, episode_length),
        cut_after=jnp.where(ended, 0, actor.cut_after),
        slot=jnp.where(ended, drawn, actor.slot),
        learnable=jnp.where(ended, learnable, actor.learnable),
    )
    step = Step(
        next_observation=outcome.observation,
        reward=outcome.reward,
        terminated=terminated,
        truncated=truncated,
        level=LevelTrace(
            slot=actor.slot,
            learnable=actor.learnable,
            whole=actor.cut_after == 0,
            ended=ended,
            truncated=truncated,
            solved=outcome.solved,
            reward=outcome.reward,
        ),
    )
    return stepped, step, metrics


def values_where(
    needed: jax.Array,
    value_of: Callable[[PyTree, PyTree], jax.Array],
    observation: PyTree,
    carry: PyTree = None,
) -> jax.Array:
    """The values of those observations that are needed, block by block; what the others get means nothing.

    In most steps few of many environments are cut, so the critic sees a block instead of all of them.

    Args:
        needed: bool [E].
        value_of: `(carry, observations [B, ...]) -> values [B]`.
        observation: leaves [E, ...].
        carry: what the critic remembers, leaves [E, ...].

    Returns:
        float32 [E].
    """
    num_envs = needed.shape[0]
    nothing = jnp.zeros(num_envs)
    if num_envs <= SMALL_BATCH:  # all or none; a `cond` would become both under a `vmap`

        def all_at_once(_):
            return jnp.bool_(False), value_of(carry, observation)

        return jax.lax.while_loop(lambda progress: progress[0], all_at_once, (needed.any(), nothing))[1]
    block = num_envs // math.gcd(num_envs, VALUE_BLOCKS)
    order = jnp.argsort(~needed, stable=True)
    count = needed.sum()

    def has_more(progress):
        return progress[0] < count

    def one_block(progress):
        start, values = progress
        index = jax.lax.dynamic_slice(order, (start,), (block,))
        value = value_of(*jax.tree.map(lambda leaf: leaf[index], (carry, observation)))
        return start + block, values.at[index].set(value, unique_indices=True)

    return jax.lax.while_loop(has_more, one_block, (jnp.zeros_like(count), nothing))[1]


def unroll(
    env: Environment,
    params: Params,
    actor: ActorState,
    pool: LevelPool,
    key: jax.Array,
    num_steps: int,
    act: Callable[..., tuple[PyTree, jax.Array, jax.Array, jax.Array]],
    value_of: Callable[[PyTree, PyTree], jax.Array],
    draw: Callable[[jax.Array, int], PyTree] = jax.random.split,
) -> tuple[ActorState, Transition, LevelTrace, Packed]:
    """Rolls a policy out for T steps in E environments.

    Args:
        env: an environment of the gymnax contract.
        params: its parameters.
        actor: the environments as the last rollout left them.
        pool: levels for resets.
        key: used up here.
        num_steps: T.
        act: `(carry, observations, is_first, chance) -> (carry, actions, log_probs [E], values [E])`: the
            carry, leaves [E, ...], is what the policy remembers, None without a memory; `is_first`, bool [E],
            says where an episode begins, from before which nothing is to be remembered.
        value_of: `(carry, observations) -> values [B]`, for the successors of truncated episodes.
        draw: `(key, T) -> chance`, leaves [T, ...]: what chance decides in `act`; by default a key a step.

    Returns:
        The environments, the transitions [T, E, ...], the levels they were played on [T, E], and the
        statistics of the whole episodes that ended.
    """

    def step(actor, inputs):
        act_chance, chance, number = inputs
        is_first = actor.episode_length == 0
        carry, action, log_prob, value = act(actor.carry, actor.observation, is_first, act_chance)
        stepped, result, metrics = step_environments(env, params, actor, pool, action, chance)
        # The last successors need a value, if the episode goes on; those before, only where they are cut.
        needed = (result.truncated | (number == num_steps - 1)) & ~result.terminated
        next_value = values_where(needed, value_of, result.next_observation, carry)
        transition = Transition(
            observation=actor.observation,
            action=action,
            log_prob=log_prob,
            value=value,
            reward=result.reward,
            terminated=result.terminated,
            truncated=result.truncated,
            next_value=next_value,
        )
        stepped = dataclasses.replace(stepped, carry=carry)
        return stepped, (transition, result.level, pack(metrics))

    act_key, chance_key = jax.random.split(key)
    chance = draw(act_key, num_steps), draw_chance(chance_key, num_steps, actor.slot.shape[0])
    inputs = (*chance, jnp.arange(num_steps))
    actor, (transitions, levels, metrics) = jax.lax.scan(step, actor, inputs)
    cut = transitions.truncated.at[-1].set(True)
    next_value = jnp.where(cut, transitions.next_value, jnp.roll(transitions.value, -1, axis=0))
    next_value = jnp.where(transitions.terminated, 0.0, next_value)  # in a block it may be that of a NaN
    return actor, dataclasses.replace(transitions, next_value=next_value), levels, add_up(metrics)
