"""A command line for whatever algorithm is registered: its options follow the one that is asked for."""

import dataclasses
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from purerl.algorithms import named, registered
from purerl.experiment.making import experiment
from purerl.networks import NetworkName
from purerl.networks.families import FAMILIES
from purerl.ranges import Count, CountOrZero
from purerl.run.experiment import Experiment, RunOptions

_FILES = ("config.json", "sweep.json")
"""Where a run, a population or a sweep has its configuration."""


@dataclass(frozen=True)
class AnyRun(RunOptions):
    """Train with the algorithm that is asked for, evaluate it, and report."""

    algorithm: str = "ppo"
    """Which algorithm; the options that begin with its name are its own."""
    env: str = "CartPole-v1"
    """Name of the environment."""
    eval_episodes: Count = 200
    """Evaluation episodes for each seed."""
    network: NetworkName | None = None
    """Encoder of the observations; None: attention for tokens, else mlp."""
    max_devices: CountOrZero = 0
    """Over how many devices environments are spread at most; 0 for all there are."""


def asked_for(arguments: Sequence[str], default: str = "ppo") -> str:
    """The algorithm that a command line asks for, or that the run or sweep it names was begun with.

    Args:
        arguments: the command line; what is wrong in it is left to whoever reads it whole.
        default: where it says nothing of that, or what is not known.
    """
    words = [word for argument in arguments for word in argument.split("=", 1)]
    following = dict(itertools.pairwise(words))
    name = following.get("--algorithm", default)
    for option in ("--resume", "--eval-only"):
        if option in following:
            name = _begun_with(Path(following[option])) or name
    return name if name in registered() else default


def _begun_with(path: Path) -> str | None:
    """The algorithm of a run, a sweep or a checkpoint; None where that cannot be read."""
    for folder in (path, *list(path.resolve().parents)[:2]):
        for file in _FILES:
            try:
                found = json.loads((folder / file).read_text())["config"]["algorithm"]
            except (OSError, ValueError, KeyError, TypeError):
                continue
            return found if isinstance(found, str) else None
    return None


def config_class(name: str) -> type[AnyRun]:
    """The options of a run of an algorithm: `AnyRun`, with its configuration and that of its network.

    Args:
        name: of the algorithm.
    """
    entry = named(name)
    family = FAMILIES[entry.network]
    options = family.config(**entry.network_options)
    choices: Any = Literal[tuple(registered())]
    return dataclasses.make_dataclass(
        "Config",
        [
            ("algorithm", choices, dataclasses.field(default=name)),
            (entry.name, entry.config, dataclasses.field(default_factory=entry.config)),
            ("net", family.config, dataclasses.field(default_factory=lambda: options)),
        ],
        bases=(AnyRun,),
        frozen=True,
        namespace={"__doc__": AnyRun.__doc__},
    )


def any_experiment(config: Any, env: Any, params: Any, short_name: str) -> Experiment:
    """The experiment of a configuration.

    Args:
        config: of a class that `config_class` has made.
        env: the environment that it names.
        params: parameters of that.
        short_name: of the environment, for the name of the experiment.

    Raises:
        ValueError: one line, where it cannot be run.
    """
    entry = named(config.algorithm)
    tokens = hasattr(env.observation_space(params), "spaces")
    encoder = config.network or ("attention" if tokens else "mlp")
    options = config.net.replace(**entry.network_options)
    return experiment(
        f"{entry.name}-{short_name}",
        env,
        getattr(config, entry.name),
        FAMILIES[entry.network].make(env, params, encoder, options),
        params=params,
        eval_episodes=config.eval_episodes,
        title=config.env,
        num_seeds=config.num_seeds,
        max_devices=config.max_devices,
    )
