"""Ranges of options: every number has one, and what lies next to it is refused by who takes the option."""

import ast
import dataclasses
import importlib
import math
import re
import typing
from pathlib import Path
from typing import Annotated

import jax.numpy as jnp
import numpy as np
import pytest
import tyro
from ranges_beyond import beyond

from envs.bikkle import Bikkle, BikkleParams
from envs.experiments.bikkle import ArenaOptions, make_arena
from envs.experiments.maze import make_world
from envs.maze import Maze, maze_levels
from envs.memory import MemoryChain, RepeatPrevious, StatelessCartPole
from envs.wrappers import HiddenDynamics, Occlusion, Retry
from envs.wrappers.options import READ_BY, wrap
from purerl import ranges
from purerl.curriculum import make_curriculum
from purerl.host import limits
from purerl.host.errors import UserError
from purerl.networks import make_actor_critic, make_memory_actor_critic, make_q_network
from purerl.networks.soft_actor_critic import make_soft_actor_critic
from purerl.ranges import Range, ranges_of
from purerl.run.building import build_experiment
from purerl.run.experiment import RunOptions

ROOT = Path(__file__).parent.parent
OPTIONS = re.compile(r"[A-Z]\w*(Config|Options|Params)|Config|Options|Request|Run|Compare")
ENV = StatelessCartPole()
PARAMS = ENV.default_params


def found():
    """Module and name of each dataclass of options in the tree."""
    for folder in ("purerl", "envs", "experiments", "benchmarks"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            parts = file.relative_to(ROOT).with_suffix("").parts
            module = ".".join(parts[1:] if folder == "experiments" else parts)
            for node in ast.parse(file.read_text()).body:
                is_dataclass = isinstance(node, ast.ClassDef) and any(
                    "dataclass" in ast.unparse(decorator) for decorator in node.decorator_list
                )
                if is_dataclass and OPTIONS.fullmatch(node.name):
                    yield module, node.name


def load(module, name):
    if module == "envs.brax_adapter":
        pytest.importorskip("brax")
    return getattr(importlib.import_module(module), name)


def default_of(options_class):
    required = {"inner": PARAMS, "old": Path("old"), "new": Path("new"), "only": (), "out": Path("out")}
    return options_class(
        **{
            field.name: required[field.name]
            for field in dataclasses.fields(options_class)
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        }
    )


def refuse(options, name):
    """Hands options to who takes them."""
    takers = {
        "NetworkConfig": lambda: make_actor_critic(ENV, PARAMS, "mlp", options),
        "QNetworkConfig": lambda: make_q_network(ENV, PARAMS, "mlp", options),
        "SoftNetworkConfig": lambda: make_soft_actor_critic(ENV, PARAMS, "mlp", options),
        "MemoryConfig": lambda: make_memory_actor_critic(ENV, PARAMS, memory="gru", memory_config=options),
        "CurriculumOptions": lambda: make_curriculum(maze_levels(Maze()), options),
        "BikkleParams": lambda: Bikkle().check(options),
        "MazeParams": lambda: Maze().check(options),
        "OcclusionParams": lambda: Occlusion(ENV).check(options),
        "HiddenDynamicsParams": lambda: HiddenDynamics(ENV).check(options),
        "RetryParams": lambda: Retry(ENV).check(options),
        "ChainParams": lambda: MemoryChain().check(options),
        "RepeatParams": lambda: RepeatPrevious().check(options),
        "CartPoleParams": lambda: ENV.check(options),
        "BraxParams": lambda: ranges.check(options),
        "ArenaOptions": lambda: make_arena("record", options, 0.99),
        "WorldOptions": lambda: make_world(options, 0.99),
        "HistoryOptions": lambda: wrap(ENV, PARAMS, wrapper_of(name), options),
    }
    if isinstance(options, RunOptions):
        build_experiment(None, options)
    else:
        takers.get(type(options).__name__, lambda: limits.check(options))()


def wrapper_of(name):
    return next(wrapper for wrapper, names in READ_BY.items() if name in names)


def holds_numbers(hint):
    inner = [] if typing.get_origin(hint) is typing.Literal else typing.get_args(hint)
    return any(map(holds_numbers, inner)) if inner else hint in (int, float)


def with_number(options, name, number):
    """The options with a number in the place of one of a field."""
    value = getattr(options, name)
    if isinstance(value, tuple):
        value = (number, *value[1:])
    elif isinstance(value, dict):
        value = {"number": number}
    else:
        hint = str(typing.get_type_hints(type(options))[name])
        value = (number,) if value is None and "tuple" in hint else number
    return dataclasses.replace(options, **{name: value})


@pytest.mark.parametrize(("module", "name"), list(found()))
def test_every_number_has_a_range_and_what_lies_next_to_it_is_refused(module, name):
    options_class = load(module, name)
    options, allowed = default_of(options_class), ranges_of(options_class)
    for field, hint in typing.get_type_hints(options_class, include_extras=True).items():
        value = getattr(options, field)
        if tyro.conf.Suppress in getattr(hint, "__metadata__", ()):  # set by the program, not by a person
            continue
        numbers = [] if dataclasses.is_dataclass(value) else list(ranges.numbers_in(value))
        assert field in allowed or not (numbers or holds_numbers(hint)), f"{name}.{field} has no range"
        assert all(map(allowed.get(field, Range()).holds, numbers)), f"{name}.{field}"
    for field, each in allowed.items():
        for number in (*beyond(each), math.nan):
            with pytest.raises((ValueError, UserError)) as refusal:
                refuse(with_number(options, field, number), field)
            said = str(refusal.value).replace("-", "_")
            assert field in said and str(number).replace("-", "_") in said and "must" in said, said
            assert "\n" not in said


def test_the_arena_of_the_command_line_has_the_ranges_of_the_arena():
    arena, params = ranges_of(ArenaOptions), ranges_of(BikkleParams)
    assert arena == {name: params[name] for name in arena}


@pytest.mark.parametrize(
    ("allowed", "words"),
    [
        (Range(1, ranges.MOST_INT32, whole=True), "at least 1"),
        (Range(0, 8, whole=True), "between 0 and 8"),
        (Range(above=0.0, most=0.5), "above 0 and at most 0.5"),
        (Range(above=0.0, below=1.0), "above 0 and below 1"),
        (Range(0.0, below=1.0), "at least 0 and below 1"),
        (Range(above=0.0, may_be_infinite=True), "above 0 or inf"),
        (Range(), ""),
        (ranges.INT32, ""),
    ],
)
def test_a_range_says_itself_in_words(allowed, words):
    assert allowed.words() == words


def test_a_number_beyond_a_bound_of_the_machine_hears_of_that_bound():
    count = ranges.Count.__metadata__[0]
    assert (count.wanted(0), count.wanted(2**31)) == ("at least 1", "at most 2147483647")
    assert count.wanted(1.5) == "a whole number at least 1"
    assert Range().wanted(math.nan) == "a finite number"


@dataclasses.dataclass(frozen=True)
class Shares:
    shares: Annotated[tuple[float, ...] | None, Range(0.0, 1.0)] = None


@pytest.mark.parametrize("kind", [tuple, list, np.asarray, jnp.asarray])
def test_tuples_lists_and_arrays_are_looked_into(kind):
    ranges.check(Shares(kind([0.0, 0.5, 1.0])))
    with pytest.raises(ValueError, match=r"^shares = 1.5 must lie between 0 and 1$"):
        ranges.check(Shares(kind([0.5, 1.5])))
