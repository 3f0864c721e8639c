"""The members of a sweep: one configuration and one experiment each, and which can share a program."""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purerl.compile.program import Members, name_of
from purerl.host.errors import UserError, one_line
from purerl.ranges import RunsOrZero, ScoreEpisodes, Seed
from purerl.run import arguments
from purerl.run.building import build_experiment
from purerl.run.experiment import Experiment, RunOptions
from purerl.sweep.space import Choice, SamplerName, Setting, Space, check_values, label

Build = Callable[[Any], Experiment]


_COMMON = {field.name for field in dataclasses.fields(RunOptions)} | {"resume", "eval_only"}
"""Options of a run: a sweep has one for all of its members."""


@dataclass(frozen=True)
class SweepOptions:
    """How a sweep is made."""

    num_members: RunsOrZero = 0
    """How many settings to draw; a grid has as many as it has points."""
    sampler: SamplerName = "auto"
    """How settings are drawn: every point of the grid, at random, or evenly by a Sobol sequence; auto takes
    the grid where every option has points and no number of members is given, else Sobol."""
    sample_seed: Seed = 0
    """Seed of the settings that are drawn; those of training are --seed and those that follow it."""
    width: RunsOrZero = 0
    """Runs that are computed side by side; 0 measures what is fastest here."""
    group_size: RunsOrZero = 0
    """Members that are in memory together; 0 for as many as fit."""
    score_episodes: ScoreEpisodes = 100
    """Episodes of the greedy policy that each run is scored by at its end; 0: returns of training instead."""


class Member(NamedTuple):
    """One setting of the hyperparameters; it is trained with every seed.

    Attributes:
        number: its place in the sweep.
        setting: values of the swept options.
        config: the whole configuration.
        experiment: what it describes.
    """

    number: int
    setting: Setting
    config: RunOptions
    experiment: Experiment

    @property
    def name(self) -> str:
        """How it is called in messages."""
        return f"member {self.number} ({label(self.setting)})"


def typed(space: Space, config_class: type[Any]) -> dict[str, Any]:
    """The space with the values of lists as the options take them, and names as Python writes them.

    Raises:
        UserError: there is no such option, or it does not take such a value.
    """
    found: dict[str, Any] = {}
    for raw_name, values in space.items():
        name = raw_name.replace("-", "_")
        if name in _COMMON:
            option = "--" + name.replace("_", "-")
            raise UserError(f"--sweep.{raw_name}: {option} is the same for all members, give it so")
        check_values(raw_name, values)
        if isinstance(values, Choice):
            found[name] = Choice(tuple(_typed(config_class, name, value) for value in values.values))
        else:
            for end in (values.low, values.high):
                _typed(config_class, name, _whole(config_class(), name, end))
            found[name] = values
    return found


def _typed(config_class: type[Any], name: str, value: Any) -> Any:
    """A value as the command line of the experiment would read it; its errors are those of that command."""
    if not isinstance(value, str):
        text = [str(item) for item in value] if isinstance(value, tuple) else [str(value)]
    else:
        text = value.split()
    option = f"--{name.replace('_', '-')}"
    if text[0] in ("True", "False", "true", "false"):
        flag = option if text[0].lower() == "true" else _negative(option)
        return get(arguments.parse(config_class, [flag]).config, name)
    return get(arguments.parse(config_class, [option, *text]).config, name)


def _negative(option: str) -> str:
    group, _, last = option.removeprefix("--").rpartition(".")
    return f"--{group}.no-{last}" if group else f"--no-{last}"


def get(config: Any, name: str) -> Any:
    """The value of an option: "ppo.learning_rate"."""
    for part in name.split("."):
        config = getattr(config, part)
    return config


def put(config: Any, name: str, value: Any) -> Any:
    """The configuration with another value of an option."""
    first, _, rest = name.partition(".")
    return dataclasses.replace(config, **{first: put(getattr(config, first), rest, value) if rest else value})


def make_members(config: RunOptions, build: Build, settings: Sequence[Setting]) -> list[Member]:
    """The members of a sweep.

    Raises:
        UserError: one of them cannot be run; the message names its values.
    """
    members = []
    for number, setting in enumerate(settings):
        chosen, whole = config, {name: _whole(config, name, value) for name, value in setting.items()}
        for name, value in whole.items():
            chosen = put(chosen, name, value)
        try:
            experiment = build_experiment(build, chosen)
        except UserError as error:
            raise UserError(f"member {number} ({label(whole)}): {one_line(error)}") from error
        members.append(Member(number, whole, chosen, experiment))
    return members


def _whole(config: Any, name: str, value: Any) -> Any:
    """A number between whole ones is rounded where the option takes whole ones."""
    try:
        default = get(config, name)
    except AttributeError:
        return value
    is_count = isinstance(default, int) and not isinstance(default, bool)
    return round(value) if is_count and isinstance(value, float) else value


def buckets(members: Sequence[Member]) -> list[list[Member]]:
    """Members that one compiled program can train, together.

    Options that are leaves of the algorithm's configuration are data to the program. Of any other, such as
    one of the environment, the program itself tells: members whose programs are the same text share it.
    """
    static = [name for name in members[0].setting if not is_leaf(members[0], name)]
    combinations = [tuple(repr(member.setting[name]) for name in static) for member in members]
    texts: dict[Any, str] = {}
    if len(set(combinations)) > 1:
        for combination, member in zip(combinations, members, strict=True):
            if combination not in texts:
                texts[combination] = _program_text(member.experiment)
    found: dict[Any, list[Member]] = {}
    for combination, member in zip(combinations, members, strict=True):
        structure = jax.tree.structure(member.experiment.algorithm_config)
        found.setdefault((texts.get(combination), structure), []).append(member)
    return list(found.values())


def of_one_world(members: Sequence[Member]) -> list[list[int]]:
    """Places of members whose learners one evaluation may play: they differ only in how they learn."""
    found: dict[Any, list[int]] = {}
    for place, member in enumerate(members):
        other = tuple(repr(value) for name, value in member.setting.items() if not is_leaf(member, name))
        found.setdefault(other, []).append(place)
    return list(found.values())


def is_leaf(member: Member, name: str) -> bool:
    """Whether an option is a leaf of the algorithm's configuration, and so by its own word only data."""
    parent, _, field_name = name.rpartition(".")
    owner = get(member.config, parent) if parent else member.config
    if type(owner) is not type(member.experiment.algorithm_config):
        return False
    field = next(field for field in dataclasses.fields(owner) if field.name == field_name)
    return field.metadata.get("pytree_node", True)


def _program_text(experiment: Experiment) -> str:
    algorithm = experiment.algorithm

    def run(key, config):
        return algorithm.update(algorithm.init(key, config), config)

    config = jax.tree.map(jnp.asarray, experiment.algorithm_config)
    text = jax.jit(run).lower(jax.random.key(0), config).as_text()
    return hashlib.sha256(text.encode()).hexdigest()


def rows(members: Sequence[Member], bucket: Sequence[Member]) -> Members:
    """The runs of some members, every seed of the first, then of the next.

    Args:
        members: whose runs.
        bucket: all that share the program; what differs among them varies.
    """
    varied = varied_leaves(bucket)
    options = members[0].config
    seeds = range(options.seed, options.seed + options.num_seeds)
    places = [bucket.index(member) for member in members]
    repeated = {name: np.repeat(values[places], options.num_seeds, axis=0) for name, values in varied.items()}
    return Members(seeds=[*seeds] * len(members), varied=repeated)


def varied_leaves(bucket: Sequence[Member]) -> dict[str, np.ndarray]:
    """The leaves of the algorithm's configuration that differ between members, [M, ...] by path."""
    trees = [jax.tree_util.tree_leaves_with_path(member.experiment.algorithm_config) for member in bucket]
    stacked = {
        name_of(leaves[0][0]): np.stack([np.asarray(leaf) for _, leaf in leaves])
        for leaves in zip(*trees, strict=True)
    }
    return {name: values for name, values in stacked.items() if (values != values[:1]).any()}
