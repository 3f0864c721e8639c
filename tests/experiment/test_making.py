"""One call makes an experiment: what it checks, what it chooses, and what it leaves to those who ask."""

import jax
import numpy as np
import pytest
from probes import ActionFollowsCue, ContinuousTarget

from purerl import algorithms
from purerl.algorithms import named, of_config, register, registered
from purerl.algorithms.dqn import DQNConfig
from purerl.algorithms.ppo import PPOConfig
from purerl.algorithms.sac import SACConfig
from purerl.curriculum import CurriculumOptions
from purerl.experiment import experiment, making
from purerl.networks import MemoryConfig, NetworkConfig, make_memory_actor_critic

ENV = ActionFollowsCue(num_actions=2)
TINY = PPOConfig(num_envs=8, num_steps=4, num_epochs=1, num_minibatches=2, microbatch_size=0)


def test_an_algorithm_is_found_by_its_name_and_by_its_configuration():
    assert set(registered()) >= {"ppo", "pqn", "dqn", "sac"}
    assert named("dqn") is of_config(DQNConfig())
    with pytest.raises(ValueError, match=r"there is no algorithm 'ddpg'; there are .*dqn"):
        named("ddpg")
    with pytest.raises(ValueError, match="no algorithm has a configuration of the kind NetworkConfig"):
        of_config(NetworkConfig())


def test_an_algorithm_from_elsewhere_is_found_as_those_of_the_package(monkeypatch):
    class OwnConfig(PPOConfig):
        pass

    monkeypatch.setattr(algorithms, "_of_others", {})
    assert of_config(OwnConfig()).name == "ppo"  # made from that of PPO, and so far nothing else
    entry = register(named("ppo")._replace(name="own", config=OwnConfig))
    assert (of_config(OwnConfig()), of_config(TINY)) == (entry, named("ppo"))
    assert list(registered()) == sorted(registered()) and named("own") is entry


def test_an_environment_and_a_configuration_are_enough():
    made = experiment("probe", ENV, TINY, eval_episodes=3)
    assert made.algorithm_config.env_params == ENV.default_params
    state = jax.eval_shape(made.algorithm.init, jax.random.key(0), made.algorithm_config)
    learners = jax.tree.map(lambda leaf: np.zeros((2, *leaf.shape), leaf.dtype), state.learner)
    found = made.evaluate(learners, 0)["default"]
    # All parameters are 0, so both learners take the same action in the same 3 episodes.
    assert (found["episodes"], found["per_seed"]) == (3, [found["mean"]] * 2)
    np.testing.assert_allclose(made.score(learners, 0, 3), found["per_seed"])


def test_who_evaluates_is_given_the_algorithm_and_without_a_report_nothing_is_drawn():
    asked = []
    made = experiment("probe", ENV, TINY, evaluate=lambda *given: asked.append(given) or {"mean": 1.0})
    assert made.evaluate("learners", 5) == {"mean": 1.0}
    assert asked == [(made.algorithm, "learners", 5)]
    assert made.score is None  # nobody knows how to estimate another evaluation in a few episodes
    made.report(None, None, {}, None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"eval_episodes": 0}, "eval_episodes = 0 must be at least 1"),
        ({"max_devices": -1}, "max_devices = -1 must be 0 or more"),
        ({"algorithm": TINY.replace(max_grad_norm=0.0)}, "max_grad_norm = 0.0 must be above 0"),
        ({"algorithm": TINY.replace(num_minibatches=5)}, "is not divisible by num_minibatches = 5"),
        ({"algorithm": DQNConfig(), "env": ContinuousTarget(num_actions=2)}, "discrete actions"),
        ({"network": "attention"}, "needs observations made of tokens"),
        ({"curriculum": CurriculumOptions()}, "need levels="),
        ({"env": object()}, "object has no method reset_env"),
    ],
)
def test_what_cannot_be_meant_is_one_line_before_anything_is_compiled(options, words):
    usual = {"name": "probe", "env": ENV, "algorithm": TINY, "params": ENV.default_params}
    with pytest.raises(ValueError, match=words) as error:
        experiment(**usual | options)
    assert "\n" not in str(error.value)


def test_members_with_equal_environments_ask_for_the_contract_once(monkeypatch):
    asked = []
    monkeypatch.setattr(making, "_kept", [])
    monkeypatch.setattr(making, "check_environment", lambda env, params: asked.append(env))
    for rate in (1e-3, 1e-2, 1e-1):
        experiment("probe", ENV, TINY.replace(learning_rate=rate))
    assert asked == [ENV]


@pytest.mark.parametrize(
    ("config", "most", "num_devices"),
    [
        (PPOConfig(num_envs=64, num_steps=4, num_minibatches=2), 0, 4),
        (PPOConfig(num_envs=64, num_steps=4, num_minibatches=2), 2, 2),
        (PPOConfig(num_envs=16, num_steps=4, num_minibatches=2), 0, 2),  # eight environments each, at least
        (DQNConfig(num_envs=64), 0, 1),
        (SACConfig(num_envs=8, batch_size=16), 0, 4),
        (SACConfig(num_envs=8, batch_size=16), 3, 2),
        (SACConfig(num_envs=6, batch_size=16), 0, 2),  # 6 environments are divisible by 1, 2 and 3; 16 by 2
    ],
)
def test_environments_are_cut_for_as_many_devices_as_share_them_evenly(
    monkeypatch, config, most, num_devices
):
    monkeypatch.setattr(jax, "devices", lambda: [None] * 4)
    entry = of_config(config)
    network = making.FAMILIES[entry.network].make(ENV, ENV.default_params, "mlp")
    assert making.devices_for(entry, entry.make(ENV, network), config, most) == num_devices


def test_a_memory_learns_from_whole_environments_which_devices_deal_out(monkeypatch):
    monkeypatch.setattr(jax, "devices", lambda: [None] * 4)
    memory = MemoryConfig(width=8, num_layers=1)
    network = make_memory_actor_critic(ENV, ENV.default_params, "mlp", NetworkConfig(width=8), "gru", memory)
    config = PPOConfig(num_envs=64, num_steps=4, num_minibatches=32)
    plain = making.FAMILIES["actor_critic"].make(ENV, ENV.default_params, "mlp")
    ppo = named("ppo")
    # 64 environments in 32 minibatches leave two for each: one for each of two devices, not of four.
    assert making.devices_for(ppo, ppo.make(ENV, network), config) == 2
    assert making.devices_for(ppo, ppo.make(ENV, plain), config) == 4
