"""PPO with a gated transformer on Brax's ant, as robots are trained by the thousand.

    python experiments/ppo_ant.py
    python experiments/ppo_ant.py --wrapper dynamics --num-seeds 5

The defaults are those of record where there is a GPU: 4,096 environments, six blocks of width 256 with eight
heads, a memory of 24 steps, as many as a rollout. On a CPU they are scaled down to what trains in minutes: 64
environments, two blocks of width 64 with four heads. The rest is the same. Needs the extra `brax`.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import purerl  # noqa: F401  sets XLA's flags before JAX starts
from envs.experiments.history import HistoryRun, make_past
from envs.registry import short_name
from purerl.algorithms.ppo import PPOConfig
from purerl.compile import platforms
from purerl.experiment import experiment
from purerl.networks import MemoryConfig, MemoryName, NetworkConfig, make_memory_actor_critic
from purerl.ranges import Count
from purerl.run import cli
from purerl.run.experiment import Experiment, Steps


class Scale(NamedTuple):
    """How large everything is.

    Attributes:
        num_envs: environments side by side.
        width: of encoder, memory and heads.
        num_blocks: layers of the transformer.
        num_heads: in each of them.
        total_steps: environment steps of a seed.
        eval_episodes: evaluation episodes of a seed.
    """

    num_envs: int
    width: int
    num_blocks: int
    num_heads: int
    total_steps: int
    eval_episodes: int


RECORD = Scale(4096, 256, 6, 8, 100_000_000, 512)
SMALL = Scale(64, 64, 2, 4, 1_000_000, 64)
MEMORY = 24
"""Steps that are remembered, and steps of a rollout."""


def scale() -> Scale:
    """The scale for this machine."""
    return SMALL if platforms.is_small_machine() else RECORD


def ppo_of(size: Scale) -> PPOConfig:
    """The learner of record, at a scale."""
    return PPOConfig(
        num_envs=size.num_envs,
        num_steps=MEMORY,
        num_epochs=5,
        num_minibatches=4,
        microbatch_size=0,
        normalize_observations=True,
        kl_target=0.01,
        learning_rate=1e-3,
        gamma=0.99,
        gae_lambda=0.95,
        clip=0.2,
        value_clip=0.2,
        value_coefficient=1.0,
        entropy_coefficient=0.005,
        max_grad_norm=1.0,
    )


def net_of(size: Scale) -> NetworkConfig:
    """Encoder and heads; the logarithm of the standard deviation begins at 0."""
    return NetworkConfig(
        width=size.width, num_layers=1, head_width=size.width, activation="tanh", initial_std=1.0
    )


def memory_of(size: Scale) -> MemoryConfig:
    """The gated transformer."""
    return MemoryConfig(
        width=size.width,
        num_layers=size.num_blocks,
        num_heads=size.num_heads,
        length=MEMORY,
        feed_forward=2 * size.width,
    )


@dataclass(frozen=True)
class Config(HistoryRun):
    """Train an ant with PPO and a gated transformer, evaluate it, and report."""

    env: str = "brax/ant/spring"
    """Name of the environment; any of Brax's, and the others."""
    memory: MemoryName = "transformer"
    total_steps: Steps = field(default_factory=lambda: scale().total_steps)
    eval_episodes: Count = field(default_factory=lambda: scale().eval_episodes)
    ppo: PPOConfig = field(default_factory=lambda: ppo_of(scale()))
    net: NetworkConfig = field(default_factory=lambda: net_of(scale()))
    mem: MemoryConfig = field(default_factory=lambda: memory_of(scale()))


def build(config: Config) -> Experiment:
    """The experiment that a configuration describes; raises ValueError where it cannot be run."""
    env, params, encoder, title = make_past(config)
    return experiment(
        f"ppo-{short_name(config.env)}",
        env,
        config.ppo,
        make_memory_actor_critic(env, params, encoder, config.net, config.memory, config.mem),
        params=params,
        eval_episodes=config.eval_episodes,
        title=title,
    )


if __name__ == "__main__":
    cli.main(Config, build, description=__doc__)
