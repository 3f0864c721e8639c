"""PPO with a memory, where history matters.

    python experiments/ppo_memory.py --env RepeatPrevious --memory gru
    python experiments/ppo_memory.py --env Bikkle-v0 --wrapper occlusion --memory transformer

The policy knows the steps before, through a recurrent network or by attending to them; --memory none is the
same without. A wrapper takes something away that only history can replace.
"""

import dataclasses
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from any_environment import experiment_in, make_environment, short_name, with_numbers

import purerl  # noqa: F401  sets XLA's flags before JAX starts
from envs.wrappers import HiddenDynamics, Occlusion, Retry
from envs.wrappers.hidden_dynamics import Gain
from envs.wrappers.retry import Ways
from purerl.algorithms.ppo import PPOConfig, make_ppo
from purerl.compile.program import build_program, usable_devices
from purerl.networks import (
    MemoryConfig,
    MemoryName,
    NetworkConfig,
    NetworkName,
    make_memory_actor_critic,
)
from purerl.ranges import Count, CountOrZero, Number, Share
from purerl.run import cli
from purerl.run.experiment import Experiment, RunOptions, Steps


@dataclass(frozen=True)
class HistoryOptions:
    """What the wrappers take away."""

    share: Share = 0.5
    """Share of steps in which the observation, or each token, is not seen (occlusion)."""
    length: Count = 5
    """Steps for which it stays unseen (occlusion)."""
    max_rotation: Number = 1.5708
    """Largest angle, in radians, by which actions are turned (dynamics)."""
    max_gain: Gain = 1.5
    """Largest factor by which actions are scaled or divided (dynamics)."""
    max_delay: CountOrZero = 2
    """Most steps by which actions are late (dynamics)."""
    num_ways: Ways = 4
    """Ways to try, of which one works (retry)."""


_READ_BY = {
    "occlusion": ("share", "length"),
    "dynamics": ("max_rotation", "max_gain", "max_delay"),
    "retry": ("num_ways",),
}


@dataclass(frozen=True)
class Config(RunOptions):
    """Train a policy with a memory with PPO, evaluate it, and report."""

    env: str = "RepeatPrevious"
    """Name of the environment."""
    numbers: dict[str, Number] = field(default_factory=dict)
    """Numbers of the environment in the place of its defaults: names and values by turns."""
    wrapper: Literal["none", "occlusion", "dynamics", "retry"] = "none"
    """What hides something of it."""
    privileged_critic: bool = False
    """Show the critic what the wrapper hides from the policy."""
    memory: MemoryName = "gru"
    """Memory across steps."""
    total_steps: Steps = 1_000_000
    """Environment steps for each seed; 2e6 is understood."""
    eval_episodes: Count = 500
    """Evaluation episodes for each seed."""
    network: NetworkName | None = None
    """Encoder of each observation; None: attention for tokens, else mlp."""
    history: HistoryOptions = field(default_factory=HistoryOptions)
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

    def unread(self) -> dict[str, str]:
        """Options without effect here, and why."""
        found = {"mem": "--memory none"} if self.memory == "none" else {}
        for wrapper, names in _READ_BY.items():
            if wrapper != self.wrapper:
                found |= {f"history.{name}": f"--wrapper {self.wrapper}" for name in names}
        return found


def wrap(
    env: Any, params: Any, wrapper: str, options: HistoryOptions, privileged: bool = False
) -> tuple[Any, Any]:
    """An environment with something hidden, from the critic too unless it is privileged, and its parameters.

    Raises:
        ValueError: one line, where the options cannot be meant.
    """
    if wrapper == "none" and privileged:
        raise ValueError(
            f"nothing of {env.name} is hidden that a privileged critic could see; use --wrapper "
            "occlusion, dynamics or retry, or leave --privileged-critic out"
        )
    if wrapper == "none":
        return env, params
    if wrapper == "occlusion":
        wrapped = Occlusion(env, privileged=privileged)
        wrapped_params = dataclasses.replace(
            wrapped.default_params, inner=params, share=options.share, length=options.length
        )
    elif wrapper == "dynamics":
        wrapped = HiddenDynamics(env, max_delay=options.max_delay, privileged=privileged)
        wrapped_params = dataclasses.replace(
            wrapped.default_params,
            inner=params,
            max_rotation=options.max_rotation,
            max_gain=options.max_gain,
        )
    else:
        wrapped = Retry(env, num_ways=options.num_ways, privileged=privileged)
        wrapped_params = dataclasses.replace(wrapped.default_params, inner=params)
    wrapped.check(wrapped_params)
    return wrapped, wrapped_params


def build(config: Config) -> Experiment:
    """The experiment that a configuration describes; raises ValueError where it cannot be run."""
    inner, inner_params = make_environment(config.env)
    inner_params = with_numbers(inner, inner_params, config.numbers)
    env, params = wrap(inner, inner_params, config.wrapper, config.history, config.privileged_critic)
    tokens = hasattr(inner.observation_space(inner_params), "spaces")
    encoder = config.network or ("attention" if tokens else "mlp")
    network = make_memory_actor_critic(env, params, encoder, config.net, config.memory, config.mem)
    ppo = config.ppo.replace(env_params=params)
    make = partial(make_ppo, env, network)
    algorithm = make()
    algorithm.check(ppo, 1)
    name = config.env if config.wrapper == "none" else f"{config.env} with {config.wrapper}"
    return experiment_in(
        name,
        env,
        params,
        config.eval_episodes,
        name=f"ppo-memory-{short_name(config.env)}",
        algorithm=algorithm,
        algorithm_config=ppo,
        num_devices=usable_devices(algorithm, ppo),
        build_program=partial(build_program, make, ppo),
    )


if __name__ == "__main__":
    cli.main(Config, build, description=__doc__)
