"""Configuration of soft actor-critic, and what of it cannot run."""

from typing import Annotated, Any

import numpy as np
import tyro
from flax import struct

from purerl.ranges import Unlimited
from purerl.replay import check_event_share


@struct.dataclass
class SACConfig:
    """Soft actor-critic."""

    num_envs: int = struct.field(pytree_node=False, default=8)
    """Environments stepped side by side."""
    num_iterations: int = struct.field(pytree_node=False, default=64)
    """Steps of each environment in one update, each followed by gradient steps."""
    num_gradient_steps: int = struct.field(pytree_node=False, default=8)
    """Gradient steps after each step of all environments."""
    batch_size: int = struct.field(pytree_node=False, default=256)
    """Transitions in the batch of one gradient step."""
    capacity: int = struct.field(pytree_node=False, default=100_000)
    """Transitions that the replay holds."""
    warmup_steps: int = struct.field(pytree_node=False, default=1_000)
    """Transitions that uniformly random actions leave in the replay before learning begins."""
    num_return_steps: int = struct.field(pytree_node=False, default=1)
    """Rewards in a target before it bootstraps: n of the n-step return."""
    event_share: float = struct.field(pytree_node=False, default=0.0)
    """Share of each batch that is drawn from events, steps with a reward other than 0."""
    event_size: float = struct.field(pytree_node=False, default=0.0)
    """Magnitude that the reward of an event exceeds; above 0 where every step has some reward."""
    num_levels: int = struct.field(pytree_node=False, default=0)
    """Fresh levels that resets of one update draw from; 0 for as many as environments, 64 at least."""
    stagger: bool = struct.field(pytree_node=False, default=True)
    """Cut each first episode at a random step, so that environments do not reach a time limit together."""
    learning_rate: float = 3e-4
    """Step size of Adam for actor and critics at the start."""
    final_learning_rate: float = 3e-4
    """Step size at the end of training; linear in between."""
    temperature_learning_rate: float = 3e-4
    """Step size of Adam for the logarithm of the temperature; 0 keeps the temperature as it is."""
    initial_temperature: float = 1.0
    """Weight of the entropy at the start."""
    entropy_per_dimension: float = -1.0
    """Entropy that the temperature aims at, in nats for each dimension of an action within [-1, 1]."""
    entropy_share: float = 0.5
    """The same where actions are discrete, as a share of the entropy of a uniform choice."""
    gamma: float = 0.99
    """Discount, in [0, 1]."""
    target_rate: float = 0.005
    """Share of the way that the target network goes toward the network in each gradient step, in (0, 1]."""
    max_grad_norm: Unlimited = float("inf")
    """Global norm to which gradients are clipped; inf for no limit."""
    adam_epsilon: float = 1e-8
    """Added to the denominator of Adam."""
    total_updates: Annotated[int, tyro.conf.Suppress] = 1
    """Updates in the whole run; set by the program."""
    env_params: Annotated[Any, tyro.conf.Suppress] = None
    """Parameters of the environment."""


def check_sac(config: SACConfig, action_space: Any, shards: int = 1) -> None:
    """Raises ValueError, with one line that names the remedy, where a configuration cannot run."""
    _check_sizes(config, shards)
    for name in ("learning_rate", "initial_temperature", "target_rate", "max_grad_norm", "adam_epsilon"):
        if not getattr(config, name) > 0:
            raise ValueError(f"{name} = {getattr(config, name)} must be above 0")
    if not config.temperature_learning_rate >= 0:
        raise ValueError(f"temperature_learning_rate = {config.temperature_learning_rate} must be 0 or more")
    for name in ("gamma", "target_rate", "entropy_share", "event_share"):
        if not 0 <= getattr(config, name) <= 1:
            raise ValueError(f"{name} = {getattr(config, name)} must lie between 0 and 1")
    check_event_share(config.batch_size // shards, config.event_share, config.event_size)
    bounds = () if hasattr(action_space, "n") else (action_space.low, action_space.high)
    if not all(np.isfinite(bound).all() for bound in bounds):
        raise ValueError("the action space has no finite bounds to squash actions into; bound it, or use PPO")


def _check_sizes(config: SACConfig, shards: int) -> None:
    for name in ("num_envs", "num_iterations", "num_gradient_steps", "batch_size", "num_return_steps"):
        if getattr(config, name) < 1:
            raise ValueError(f"{name} = {getattr(config, name)} must be at least 1")
    if config.num_levels < 0:
        raise ValueError(f"num_levels = {config.num_levels} must be 0 or more")
    for name in ("num_envs", "batch_size", "capacity"):
        if getattr(config, name) % shards:
            raise ValueError(
                f"{name} = {getattr(config, name)} cannot be split over {shards} devices; try a multiple"
            )
    if not config.num_envs <= config.warmup_steps <= config.capacity:
        raise ValueError(
            f"warmup_steps = {config.warmup_steps} must lie between num_envs = {config.num_envs} "
            f"and capacity = {config.capacity}"
        )
