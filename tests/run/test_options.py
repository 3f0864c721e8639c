"""Options of every experiment: each is read by something, and none takes a number that no program has."""

import ast
import dataclasses
import math

import jax
import pytest
from fake_experiment import Config as FakeConfig
from fuzzing import EXPERIMENTS, ROOT
from ranges_beyond import beyond

from envs.registry import make_environment
from purerl.host import limits
from purerl.host.errors import UserError
from purerl.population.checks import check_options
from purerl.population.evolution import PopulationOptions
from purerl.ranges import INT32, Range
from purerl.run.building import build_experiment, with_option
from purerl.run.experiment import RunOptions
from purerl.sweep.command import load_experiment
from purerl.sweep.settings import get, put

SUPPRESSED = ("total_updates", "env_params")


@pytest.fixture(params=EXPERIMENTS, ids=lambda file: file.stem)
def experiment(request):
    return load_experiment(request.param)


def test_every_number_has_bounds_and_what_is_beyond_is_refused_by_its_option(experiment):
    config = experiment[0]()
    limits.check(config)
    for name, value, named in limits.values_of(config):
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if isinstance(get(config, name), tuple):
            continue
        allowed = named or (INT32 if isinstance(value, int) else Range())
        if isinstance(value, int):
            wrong = [*beyond(allowed), 10**400]
        else:
            # float32 ends at 3.4028235e38, and what is below 1.1754944e-38 is zero to a processor
            wrong = [math.nan, -math.inf, 3.5e38, -3.5e38, 1e-38] + [math.inf] * (not allowed.may_be_infinite)
            wrong += beyond(allowed)
        for number in wrong:
            with pytest.raises(UserError) as refusal:
                limits.check(put(config, name, number))
            option = "--" + name.replace("_", "-")
            assert str(refusal.value).startswith(f"{option} is {str(number)[:60]}")
            assert "must be" in str(refusal.value)


def names_of(config_class):
    default = config_class()
    for field in dataclasses.fields(default):
        value = getattr(default, field.name)
        yield from names_of(type(value)) if dataclasses.is_dataclass(value) else [field.name]


def names_read():
    """Attributes that the program reads outside of the functions that check and describe options."""
    found = set()
    for folder in ("purerl", "envs", "experiments"):
        for file in (ROOT / folder).rglob("*.py"):
            tree = ast.parse(file.read_text())
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef) and node.name.lstrip("_").startswith(
                    ("check", "require", "unread")
                ):
                    node.body = []
            nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
            found |= {node.attr for node in nodes if isinstance(node.ctx, ast.Load)}
    return found


def test_every_option_is_read_by_more_than_its_check(experiment):
    # `keep_checkpoints` and the like are read by the host, all others by the program or its evaluation.
    assert set(names_of(experiment[0])) - set(SUPPRESSED) <= names_read()


def test_seeds_end_where_they_would_begin_again():
    last = 2**32 - 1
    limits.check(RunOptions(seed=last))
    for config, says in (
        (RunOptions(seed=2**32), "--seed is 4294967296; it must be at most 4294967295"),
        (RunOptions(seed=2**64), "--seed is 18446744073709551616; it must be at most 4294967295"),
        (RunOptions(seed=last, num_seeds=2), "--seed 4294967295 with --num-seeds 2 ends at seed 4294967296"),
        (
            RunOptions(total_steps=10**15),
            "--total-steps is 1000000000000000; it must be at most 1000000000000",
        ),
    ):
        with pytest.raises(UserError) as refusal:
            build_experiment(None, config)
        assert str(refusal.value).startswith(says)
    with pytest.raises(UserError, match="--seed 4294967290 with --num-members 7 ends at seed 4294967296"):
        check_options(PopulationOptions(num_members=7), RunOptions(seed=2**32 - 6))


def test_a_message_about_a_field_names_its_option():
    config = FakeConfig()
    says = with_option("learning_rate = 0.01 must be above 1", config)
    assert says == "--algorithm.learning-rate is 0.01; it must be above 1"
    says = with_option("width = 8 does not divide num_envs = 4; try num_envs = 16", config)
    assert says == "--algorithm.width 8 does not divide --algorithm.num-envs 4; try num_envs = 16"
    assert with_option("height = 8 is too much", config) == "height = 8 is too much"


@pytest.mark.parametrize(
    ("env", "network", "shape"),
    [
        ("BikkleFlat-v0", "mlp", (15,)),
        ("BikkleImage-v0", "image", (16, 16, 4)),
    ],  # 15 = 7 + 2 numbers a pellet
)
def test_each_observation_of_the_arena_can_be_chosen(env, network, shape):
    config_class, build = load_experiment(ROOT / "experiments" / "ppo.py")
    experiment = build_experiment(build, config_class(env=env, network=network))
    params = experiment.algorithm_config.env_params
    assert type(params).__name__ == "BikkleParams"
    arena, _ = make_environment(env)
    assert arena.observation_space(params).shape == shape
    state = jax.eval_shape(experiment.algorithm.init, jax.random.key(0), experiment.algorithm_config)
    assert any(leaf.shape[1:] == shape for leaf in jax.tree.leaves(state.actor))
