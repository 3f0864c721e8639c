"""Configuration of DQN, and what of it cannot run."""

from typing import Annotated, Any

import tyro
from flax import struct

from purerl.ranges import Unlimited
from purerl.replay import check_event_share


@struct.dataclass
class DQNConfig:
    """Deep Q-learning."""

    num_envs: int = struct.field(pytree_node=False, default=10)
    """Environments stepped side by side."""
    num_iterations: int = struct.field(pytree_node=False, default=100)
    """Steps of each environment in one update."""
    learn_every: int = struct.field(pytree_node=False, default=1)
    """Steps of each environment before each round of learning; must divide num_iterations."""
    num_gradient_steps: int = struct.field(pytree_node=False, default=1)
    """Gradient steps in each round of learning, on batches that are drawn together."""
    batch_size: int = struct.field(pytree_node=False, default=128)
    """Transitions in the batch of one gradient step."""
    capacity: int = struct.field(pytree_node=False, default=50_000)
    """Transitions that the replay holds."""
    num_return_steps: int = struct.field(pytree_node=False, default=1)
    """Rewards in a target before it bootstraps: n of the n-step return."""
    num_frames: int = struct.field(pytree_node=False, default=1)
    """Frames that observations stack along their last axis, the newest last; the replay stores each once."""
    double: bool = struct.field(pytree_node=False, default=True)
    """Choose the action in a target by the network that learns, and value it by the target network."""
    prioritized: bool = struct.field(pytree_node=False, default=False)
    """Draw transitions in proportion to their last error."""
    event_share: float = struct.field(pytree_node=False, default=0.0)
    """Share of each batch that is drawn from steps with an event, a reward other than 0."""
    event_size: float = struct.field(pytree_node=False, default=0.0)
    """Magnitude that the reward of an event exceeds; above 0 where every step has some reward."""
    num_levels: int = struct.field(pytree_node=False, default=0)
    """Fresh levels that resets of one update draw from; 0 for as many as environments, 64 at least."""
    stagger: bool = struct.field(pytree_node=False, default=True)
    """Cut each first episode at a random step, so that environments do not reach a time limit together."""
    warmup_steps: int = 1_000
    """Environment steps before learning begins."""
    learning_rate: float = 5e-4
    """Step size of Adam at the start."""
    final_learning_rate: float = 0.0
    """Step size at the end of training; linear in between."""
    gamma: float = 0.99
    """Discount, in [0, 1]."""
    huber_delta: Unlimited = 1.0
    """Error from which on the loss is linear; inf for half the squared error."""
    target_every: int = 200
    """Gradient steps between two moves of the target network, which happen at the end of a round."""
    target_rate: float = 1.0
    """Share of the way that the target network then goes, in (0, 1]; 1 copies the network."""
    epsilon: float = 1.0
    """Share of random actions at the start."""
    final_epsilon: float = 0.05
    """Share of random actions when exploration has come to its end."""
    exploration_share: float = 0.3
    """Share of training in which the share of random actions falls, linearly."""
    epsilon_spread: float = 0.0
    """How much less the last environment explores than the first: exponents rise from 1 to 1 + this."""
    priority_exponent: float = 0.6
    """Exponent of the error in a priority, in [0, 1]."""
    weight_exponent: float = 0.4
    """Exponent of the importance weights at the start, in [0, 1]; it rises to 1, linearly."""
    max_grad_norm: Unlimited = 10.0
    """Global norm to which gradients are clipped; inf for no limit."""
    adam_epsilon: float = 1e-5
    """Added to the denominator of Adam."""
    total_updates: Annotated[int, tyro.conf.Suppress] = 1
    """Updates in the whole run, for the schedules; set by the program."""
    env_params: Annotated[Any, tyro.conf.Suppress] = None
    """Parameters of the environment."""


def check_dqn(config: DQNConfig, shards: int = 1) -> None:
    """Raises ValueError, with one line that names the remedy, where a configuration cannot run."""
    _check_sizes(config, shards)
    for name in ("learning_rate", "huber_delta", "target_rate", "max_grad_norm", "adam_epsilon"):
        if not getattr(config, name) > 0:
            raise ValueError(f"{name} = {getattr(config, name)} must be above 0")
    for name in ("final_learning_rate", "epsilon_spread", "event_size"):
        if not getattr(config, name) >= 0:
            raise ValueError(f"{name} = {getattr(config, name)} must be 0 or more")
    shares = ("gamma", "target_rate", "epsilon", "final_epsilon", "exploration_share", "event_share")
    for name in (*shares, "priority_exponent", "weight_exponent"):
        if not 0 <= getattr(config, name) <= 1:
            raise ValueError(f"{name} = {getattr(config, name)} must lie between 0 and 1")
    check_event_share(config.batch_size // shards, config.event_share, config.event_size)
    if config.prioritized and config.event_share:
        raise ValueError("event_share has no meaning with prioritized replay; set one of them to 0")


def _check_sizes(config: DQNConfig, shards: int) -> None:
    at_least_one = ("num_envs", "num_iterations", "learn_every", "num_gradient_steps", "batch_size")
    for name in (*at_least_one, "capacity", "num_return_steps", "num_frames", "target_every"):
        if getattr(config, name) < 1:
            raise ValueError(f"{name} = {getattr(config, name)} must be at least 1")
    for name in ("num_levels", "warmup_steps"):
        if getattr(config, name) < 0:
            raise ValueError(f"{name} = {getattr(config, name)} must be 0 or more")
    if config.num_iterations % config.learn_every:
        remedy = -(-config.num_iterations // config.learn_every) * config.learn_every
        raise ValueError(
            f"learn_every = {config.learn_every} does not divide num_iterations = {config.num_iterations}; "
            f"try num_iterations = {remedy}"
        )
    for name in ("num_envs", "batch_size"):
        if getattr(config, name) % shards:
            remedy = -(-getattr(config, name) // shards) * shards
            raise ValueError(
                f"{name} = {getattr(config, name)} is not divisible by {shards} devices; try {remedy}"
            )
    if config.warmup_steps > config.capacity:
        raise ValueError(
            f"warmup_steps = {config.warmup_steps} is more than the replay holds; try capacity = "
            f"{config.warmup_steps} or more, or fewer of them"
        )
