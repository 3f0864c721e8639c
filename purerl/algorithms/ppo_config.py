"""Configuration of PPO, and what of it cannot run."""

from typing import Annotated, Any, Literal

import tyro
from flax import struct

from purerl.ranges import Unlimited


@struct.dataclass
class PPOConfig:
    """Proximal policy optimization."""

    num_envs: int = struct.field(pytree_node=False, default=256)
    """Environments stepped side by side."""
    num_steps: int = struct.field(pytree_node=False, default=32)
    """Steps of each environment in one rollout."""
    num_epochs: int = struct.field(pytree_node=False, default=4)
    """Passes over each rollout."""
    num_minibatches: int = struct.field(pytree_node=False, default=8)
    """Gradient steps in each pass; must divide num_envs * num_steps."""
    microbatch_size: int = struct.field(pytree_node=False, default=128)
    """Samples whose gradients are computed at once and added up; 0 for the whole minibatch. Changes nothing
    but the speed: what fits into the processor's cache is fastest."""
    num_levels: int = struct.field(pytree_node=False, default=0)
    """Fresh levels that resets of one rollout draw from; 0 for as many as environments, 64 at least."""
    stagger: bool = struct.field(pytree_node=False, default=True)
    """Cut each first episode at a random step, so that environments do not reach a time limit together."""
    normalize_rewards: bool = struct.field(pytree_node=False, default=True)
    """Divide rewards by the running standard deviation of the discounted return."""
    normalize_observations: bool = struct.field(pytree_node=False, default=False)
    """Show the network observations in units of their running standard deviation."""
    kl_target: float = struct.field(pytree_node=False, default=0.0)
    """KL of an update to which the step size adapts, beginning with `learning_rate`; 0.01 is usual, 0 keeps
    to the schedule."""
    group_size: int = struct.field(pytree_node=False, default=0)
    """Environments that start from the same level and are compared with each other, in place of a critic
    (GRPO); 0 for the critic. Each rollout begins anew, so num_steps should hold an episode."""
    precision: Literal["default", "bfloat16"] = struct.field(pytree_node=False, default="default")
    """What the factors of matrix products are rounded to: bfloat16, or what the device does by default.
    Parameters and sums are float32 in any case."""
    learning_rate: float = 1e-3
    """Step size of Adam at the start."""
    final_learning_rate: float = 0.0
    """Step size at the end of training; linear in between."""
    gamma: float = 0.99
    """Discount, in [0, 1]."""
    gae_lambda: float = 0.95
    """Decay of the advantage estimator, in [0, 1]."""
    clip: float = 0.2
    """How far the probability ratio may move in one update."""
    value_clip: Unlimited = float("inf")
    """How far the critic may move in one update; inf for no limit."""
    value_coefficient: float = 0.5
    """Weight of the critic's loss."""
    entropy_coefficient: float = 0.0
    """Weight of the entropy bonus."""
    max_grad_norm: Unlimited = 0.5
    """Global norm to which gradients are clipped; inf for no limit."""
    adam_epsilon: float = 1e-5
    """Added to the denominator of Adam."""
    total_updates: Annotated[int, tyro.conf.Suppress] = 1
    """Updates in the whole run, for the schedule; set by the program."""
    env_params: Annotated[Any, tyro.conf.Suppress] = None
    """Parameters of the environment."""


def check_ppo(config: PPOConfig, shards: int = 1, whole_segments: bool = False) -> None:
    """Raises ValueError, with one line that names the remedy, where a configuration cannot run.

    With `whole_segments`, as networks with a memory learn from, minibatches are made of whole environments.
    """
    for name in ("num_envs", "num_steps", "num_epochs", "num_minibatches"):
        if getattr(config, name) < 1:
            raise ValueError(f"{name} = {getattr(config, name)} must be at least 1")
    for name in ("microbatch_size", "num_levels"):
        if getattr(config, name) < 0:
            raise ValueError(f"{name} = {getattr(config, name)} must be 0 or more")
    _check_aids(config, shards)
    samples, parts = config.num_envs * config.num_steps, config.num_minibatches * shards
    if whole_segments and config.num_envs % parts:
        raise ValueError(
            f"num_envs = {config.num_envs} is not divisible by num_minibatches = {config.num_minibatches}: "
            f"a memory learns from whole segments, try num_envs = {-(-config.num_envs // parts) * parts}"
        )
    if samples % parts:
        over = f" over {shards} devices" if shards > 1 else ""
        remedy = -(-samples // parts) * parts
        raise ValueError(
            f"num_envs * num_steps = {samples} is not divisible by num_minibatches = {config.num_minibatches}"
            f"{over}; try num_envs * num_steps = {remedy}"
        )
    for name in ("learning_rate", "clip", "value_clip", "max_grad_norm", "adam_epsilon"):
        if not getattr(config, name) > 0:
            raise ValueError(f"{name} = {getattr(config, name)} must be above 0")
    for name in ("final_learning_rate", "value_coefficient", "entropy_coefficient"):
        if not getattr(config, name) >= 0:
            raise ValueError(f"{name} = {getattr(config, name)} must be 0 or more")
    for name in ("gamma", "gae_lambda"):
        if not 0 <= getattr(config, name) <= 1:
            raise ValueError(f"{name} = {getattr(config, name)} must lie between 0 and 1")


def _check_aids(config: PPOConfig, shards: int) -> None:
    if not config.kl_target >= 0:
        raise ValueError(f"kl_target = {config.kl_target} must be 0 or more")
    if config.group_size < 0 or config.group_size == 1:
        raise ValueError(f"group_size = {config.group_size} must be 0, or at least 2 to compare")
    groups = max(config.group_size, 1) * shards
    if config.num_envs % groups:
        over = f" over {shards} devices" if shards > 1 else ""
        raise ValueError(
            f"num_envs = {config.num_envs} is not divisible by group_size = {config.group_size}{over}; "
            f"try num_envs = {-(-config.num_envs // groups) * groups}"
        )
