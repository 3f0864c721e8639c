"""Experiments in which history matters: any environment, other numbers in it, something hidden."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from envs.registry import make_environment, with_numbers
from envs.wrappers.options import READ_BY, HistoryOptions, WrapperName, wrap
from purerl.networks import MemoryName, NetworkName
from purerl.ranges import Count, Number
from purerl.run.experiment import RunOptions, Steps


@dataclass(frozen=True)
class HistoryRun(RunOptions):
    """Options of a run of a policy with a memory."""

    env: str = "RepeatPrevious"
    """Name of the environment."""
    numbers: dict[str, Number] = field(default_factory=dict)
    """Numbers of the environment in the place of its defaults: names and values by turns."""
    wrapper: WrapperName = "none"
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

    def unread(self) -> dict[str, str]:
        """Options without effect here, and why."""
        found = {"mem": "--memory none"} if self.memory == "none" else {}
        for wrapper, names in READ_BY.items():
            if wrapper != self.wrapper:
                found |= {f"history.{name}": f"--wrapper {self.wrapper}" for name in names}
        return found


class Past(NamedTuple):
    """An environment with something hidden.

    Attributes:
        env: the environment.
        params: its parameters.
        encoder: of its observations, unless another one is asked for.
        title: what it is called.
    """

    env: Any
    params: Any
    encoder: NetworkName
    title: str


def make_past(config: HistoryRun) -> Past:
    """The environment that a configuration describes; raises ValueError where it cannot be meant."""
    inner, inner_params = make_environment(config.env)
    inner_params = with_numbers(inner, inner_params, config.numbers)
    env, params = wrap(inner, inner_params, config.wrapper, config.history, config.privileged_critic)
    tokens = hasattr(inner.observation_space(inner_params), "spaces")
    title = config.env if config.wrapper == "none" else f"{config.env} with {config.wrapper}"
    return Past(env, params, config.network or ("attention" if tokens else "mlp"), title)
