"""Configuration of PQN, and what of it cannot run."""

from typing import Annotated, Any

import tyro
from flax import struct

from purerl.ranges import Unlimited


@struct.dataclass
class PQNConfig:
    """Parallelized Q-learning: without replay and without a target network."""

    num_envs: int = struct.field(pytree_node=False, default=128)
    """Environments stepped side by side."""
    num_steps: int = struct.field(pytree_node=False, default=32)
    """Steps of each environment in one rollout."""
    num_epochs: int = struct.field(pytree_node=False, default=2)
    """Passes over each rollout."""
    num_minibatches: int = struct.field(pytree_node=False, default=32)
    """Gradient steps in each pass; must divide num_envs * num_steps."""
    microbatch_size: int = struct.field(pytree_node=False, default=128)
    """Samples whose gradients are computed at once and added up; 0 for the whole minibatch. Changes nothing
    but the speed: what fits into the processor's cache is fastest."""
    num_levels: int = struct.field(pytree_node=False, default=0)
    """Fresh levels that resets of one rollout draw from; 0 for as many as environments, 64 at least."""
    stagger: bool = struct.field(pytree_node=False, default=True)
    """Cut each first episode at a random step, so that environments do not reach a time limit together."""
    learning_rate: float = 5e-4
    """Step size of RAdam at the start."""
    final_learning_rate: float = 0.0
    """Step size at the end of training; linear in between."""
    gamma: float = 0.99
    """Discount, in [0, 1]."""
    return_lambda: float = 0.65
    """Decay of the lambda-return, in [0, 1]: 0 bootstraps after each step, 1 at the end of the rollout."""
    huber_delta: Unlimited = float("inf")
    """Error from which on the loss is linear; inf for half the squared error."""
    epsilon: float = 1.0
    """Share of random actions at the start."""
    final_epsilon: float = 0.05
    """Share of random actions when exploration has come to its end."""
    exploration_share: float = 0.1
    """Share of training in which the share of random actions falls, linearly."""
    epsilon_spread: float = 0.0
    """How much less the last environment explores than the first: exponents rise from 1 to 1 + this."""
    max_grad_norm: Unlimited = 10.0
    """Global norm to which gradients are clipped; inf for no limit."""
    total_updates: Annotated[int, tyro.conf.Suppress] = 1
    """Updates in the whole run, for the schedules; set by the program."""
    env_params: Annotated[Any, tyro.conf.Suppress] = None
    """Parameters of the environment."""


def check_pqn(config: PQNConfig, shards: int = 1) -> None:
    """Raises ValueError, with one line that names the remedy, where a configuration cannot run."""
    for name in ("num_envs", "num_steps", "num_epochs", "num_minibatches"):
        if getattr(config, name) < 1:
            raise ValueError(f"{name} = {getattr(config, name)} must be at least 1")
    for name in ("microbatch_size", "num_levels", "final_learning_rate", "epsilon_spread"):
        if not getattr(config, name) >= 0:
            raise ValueError(f"{name} = {getattr(config, name)} must be 0 or more")
    for name in ("learning_rate", "huber_delta", "max_grad_norm"):
        if not getattr(config, name) > 0:
            raise ValueError(f"{name} = {getattr(config, name)} must be above 0")
    for name in ("gamma", "return_lambda", "epsilon", "final_epsilon", "exploration_share"):
        if not 0 <= getattr(config, name) <= 1:
            raise ValueError(f"{name} = {getattr(config, name)} must lie between 0 and 1")
    samples, parts = config.num_envs * config.num_steps, config.num_minibatches * shards
    if samples % parts:
        over = f" over {shards} devices" if shards > 1 else ""
        remedy = -(-samples // parts) * parts
        raise ValueError(
            f"num_envs * num_steps = {samples} is not divisible by num_minibatches = {config.num_minibatches}"
            f"{over}; try num_envs * num_steps = {remedy}"
        )
