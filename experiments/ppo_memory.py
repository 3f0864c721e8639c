"""PPO with a memory, where history matters.

    python experiments/ppo_memory.py --env RepeatPrevious --memory gru
    python experiments/ppo_memory.py --env Bikkle-v0 --wrapper occlusion --memory transformer

The policy knows the steps before, through a recurrent network or by attending to them; --memory none is the
same without. A wrapper takes something away that only history can replace.
"""

from dataclasses import dataclass, field

import purerl  # noqa: F401  sets XLA's flags before JAX starts
from envs.experiments.history import HistoryRun, make_past
from envs.registry import short_name
from purerl.algorithms.ppo import PPOConfig
from purerl.experiment import experiment
from purerl.networks import MemoryConfig, NetworkConfig, make_memory_actor_critic
from purerl.run import cli
from purerl.run.experiment import Experiment


@dataclass(frozen=True)
class Config(HistoryRun):
    """Train a policy with a memory with PPO, evaluate it, and report."""

    ppo: PPOConfig = field(
        default_factory=lambda: PPOConfig(
            num_envs=64,
            num_steps=64,
            num_epochs=4,
            num_minibatches=8,
            microbatch_size=0,
            learning_rate=1e-3,
        )
    )
    net: NetworkConfig = field(
        default_factory=lambda: NetworkConfig(
            width=64, num_layers=1, head_width=64, activation="tanh", shared_encoder=True
        )
    )
    mem: MemoryConfig = field(default_factory=MemoryConfig)


def build(config: Config) -> Experiment:
    """The experiment that a configuration describes; raises ValueError where it cannot be run."""
    env, params, encoder, title = make_past(config)
    return experiment(
        f"ppo-memory-{short_name(config.env)}",
        env,
        config.ppo,
        make_memory_actor_critic(env, params, encoder, config.net, config.memory, config.mem),
        params=params,
        eval_episodes=config.eval_episodes,
        title=title,
    )


if __name__ == "__main__":
    cli.main(Config, build, description=__doc__)
