"""Which options reach learning, as the traced programs of all algorithms tell."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest
from learners import LEARNERS

from purerl.compile.reach import live_inputs, reach
from purerl.host.errors import UserError
from purerl.sweep.reached import check_explored, check_swept
from purerl.sweep.settings import Member

ALWAYS_READ = {"env_params.max_steps_in_episode"}  # by staggered starts, in `init` alone
IDLE = {
    "ppo": ({}, set()),
    "ppo with a gru": ({}, set()),
    "grpo": ({}, set()),
    "ppo, following the KL": ({"kl_target": 0.01}, {"learning_rate", "final_learning_rate", "total_updates"}),
    "a2c": ({}, set()),
    "reinforce": ({}, set()),
    "pqn": ({}, set()),
    "dqn": ({}, {"priority_exponent", "weight_exponent"}),
    "dqn, prioritized": ({}, set()),
    "c51": ({}, {"priority_exponent", "weight_exponent"}),
    "sac": ({}, {"entropy_share", "initial_temperature", "priority_exponent", "weight_exponent"}),
    "sac with choices": (
        {},
        {"entropy_per_dimension", "initial_temperature", "priority_exponent", "weight_exponent"},
    ),
    "td3": ({}, {"priority_exponent", "weight_exponent"}),
}
PPO = LEARNERS["ppo"]
AT_THE_BEGINNING = {"learning_rate", "initial_temperature"}


@pytest.mark.parametrize("name", IDLE)
def test_every_number_reaches_learning_but_those_that_another_option_switches_off(name):
    changes, idle = IDLE[name]
    entry = LEARNERS[name.removesuffix(", following the KL")]
    config = entry.config.replace(**changes)
    paths = jax.tree_util.tree_leaves_with_path(config)
    names = {jax.tree_util.keystr(path).lstrip(".") for path, _ in paths}
    found = reach(entry.on(entry.env()), config)
    assert names - found.learns == idle | ALWAYS_READ
    assert names - found.learns - found.begins == idle - AT_THE_BEGINNING


def test_a_number_reaches_a_loop_through_the_carry_of_its_last_step():
    # b is added to the second entry of the carry, which is added to the first in the next step; c counts in
    # what each step reports alone.
    def run(a, b, c):
        step = lambda carry, _: ((carry[0] + carry[1], carry[1] + b), carry[0] * c)  # noqa: E731
        (first, _), reported = jax.lax.scan(step, (a, 0.0), None, length=3)
        return first, reported

    jaxpr = jax.make_jaxpr(run)(1.0, 2.0, 3.0).jaxpr
    assert live_inputs(jaxpr, [True, False]) == [True, True, False]
    assert live_inputs(jaxpr, [True, True]) == [True, True, True]
    called = jax.make_jaxpr(jax.jit(lambda a, b: (a + 1, b + 1)))(1.0, jnp.ones(2)).jaxpr
    assert live_inputs(called, [False, True]) == [False, True]


def member(setting, **changes):
    config = PPO.config.replace(**changes)
    experiment = SimpleNamespace(algorithm=PPO.on(PPO.env()), algorithm_config=config)
    return Member(0, setting, SimpleNamespace(ppo=config), experiment)


def test_a_population_explores_what_its_updates_read():
    explored = {"learning_rate": "ppo.learning_rate"}
    check_explored([member({})], explored)
    with pytest.raises(UserError, match=r"ppo\.learning_rate is read at the beginning alone"):
        check_explored([member({}, kl_target=0.01)], explored)
    with pytest.raises(UserError, match=r"ppo\.total_updates reaches nothing under the other options"):
        check_explored([member({}, kl_target=0.01)], {"total_updates": "ppo.total_updates"})


def test_a_sweep_varies_what_some_run_of_it_reads():
    # A step size to begin with is read; a final one is read unless all follow the KL.
    check_swept([[member({"ppo.learning_rate": 1e-3, "ppo.num_envs": 16}, kl_target=0.01)]])
    final = {"ppo.final_learning_rate": 0.0}
    with pytest.raises(UserError, match=r"ppo\.final_learning_rate reaches nothing"):
        check_swept([[member(final, kl_target=0.01)]])
    check_swept([[member(final, kl_target=0.01)], [member(final)]])
