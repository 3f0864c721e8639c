"""What all algorithms share: options, the levels that environments begin at, and what becomes of them."""

import dataclasses
from functools import partial
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax
import tyro
from flax import struct

from purerl import ranges
from purerl.functional.collectives import num_shards
from purerl.ranges import Count, CountOrZero, NotNegative, Positive, Share, Unlimited
from purerl.rollout.levels import forget_renewed, num_levels, pool_size, start_returns
from purerl.rollout.unroll import ActorState, init_actor
from purerl.types import AxisName, Curriculum, Judgment, LevelTrace, Metrics, PyTree, TrainState

static = partial(struct.field, pytree_node=False)
"""A field that changes the compiled program: `num_envs: Count = static(default=32)`."""


@struct.dataclass
class AlgorithmConfig:
    """Options of every algorithm; what is not `static` may differ between members of one program."""

    num_envs: Count = static(default=32)
    """Environments stepped side by side."""
    num_levels: CountOrZero = static(default=0)
    """Fresh levels that resets of one update draw from; 0 for as many as environments, 64 at least."""
    stagger: bool = static(default=True)
    """Cut each first episode at a random step, so that environments do not reach a time limit together."""
    learning_rate: Positive = 1e-3
    """Step size at the start."""
    final_learning_rate: NotNegative = 0.0
    """Step size at the end of training; linear in between."""
    gamma: Share = 0.99
    """Discount, in [0, 1]."""
    max_grad_norm: Unlimited = 0.5
    """Global norm to which gradients are clipped; inf for no limit."""
    adam_epsilon: Positive = 1e-5
    """Added to the denominator of Adam."""
    total_updates: Annotated[int, tyro.conf.Suppress] = 1
    """Updates in the whole run, for the schedules; set by the program."""
    env_params: Annotated[Any, tyro.conf.Suppress] = None
    """Parameters of the environment."""


def check_multiple(config: AlgorithmConfig, name: str, parts: int, why: str) -> None:
    """Raises ValueError, with a line that names the next size that fits, where `parts` do not divide one."""
    size = getattr(config, name)
    if size % parts:
        raise ValueError(
            f"{name} = {size} is not divisible by {why}; try {name} = {-(-size // parts) * parts}"
        )


def check_config(config: AlgorithmConfig, shards: int) -> None:
    """Raises ValueError, with one line, where an option is out of its range or shards cannot share it."""
    ranges.check(config)
    check_multiple(config, "num_envs", shards, f"{shards} devices")


def adam(config: AlgorithmConfig, rate: jax.Array | float) -> optax.GradientTransformation:
    """Adam behind a clip of the global norm, for one flat vector."""
    return optax.chain(
        optax.clip_by_global_norm(config.max_grad_norm),
        optax.scale_by_adam(eps=config.adam_epsilon),
        optax.scale(-rate),
    )


def begin(
    levels: Curriculum,
    actor_key: jax.Array,
    pool_key: jax.Array,
    config: AlgorithmConfig,
    axis_name: AxisName,
) -> tuple[PyTree, ActorState]:
    """The first state of a curriculum, and the environments of this shard on its levels."""
    shards = num_shards(axis_name)
    num_envs = config.num_envs // shards
    count = pool_size(config.num_levels, config.num_envs, shards)
    choice = levels.init(pool_key, config.env_params, count)
    actor = init_actor(config.env_params, choice.pool, actor_key, num_envs, config.stagger)
    return choice, dataclasses.replace(actor, level_return=start_returns(levels, num_envs))


def refresh(
    levels: Curriculum,
    key: jax.Array,
    state: TrainState,
    actors: tuple[ActorState, ActorState],
    trace: LevelTrace,
    judgment: Judgment | None,
    config: AlgorithmConfig,
) -> tuple[PyTree, ActorState, Metrics]:
    """Tells a curriculum of a rollout, and lets it choose the levels of the next one.

    Args:
        levels: the curriculum.
        key: used up here.
        state: as it was before the update.
        actors: the environments before the rollout and after it.
        trace: what the rollout was played on, leaves [T, E].
        judgment: what a critic says of it, leaves [T, E]; None without one.
        config: discount, parameters of the environment and the length of the run.

    Returns:
        The state of the curriculum, the environments after the rollout with the levels that they play looked
        up in it, and metrics.
    """
    before, after = actors
    outcome, level_return = None, before.level_return
    if levels.tell is not None:
        count, age = num_levels(state.curriculum.pool), before.episode_length
        outcome, level_return = levels.tell(trace, count, judgment, level_return, age, config.gamma)
    progress = jnp.minimum((state.num_updates + 1) / config.total_updates, 1.0)
    choice, renewed, metrics = levels.refresh(key, state.curriculum, config.env_params, outcome, progress)
    slot = forget_renewed(after.slot, renewed)
    return choice, dataclasses.replace(after, slot=slot, level_return=level_return), metrics
