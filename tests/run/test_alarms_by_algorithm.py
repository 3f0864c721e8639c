"""Which alarms can ring for which algorithm: those whose metrics it tells, as docs/alarms.md says."""

import re
from pathlib import Path

import jax
import pytest
from probes import ActionFollowsCue, ContinuousTarget

from purerl.algorithms.dqn import DQNConfig, make_dqn
from purerl.algorithms.ppo import PPOConfig, make_ppo
from purerl.algorithms.pqn import PQNConfig, make_pqn
from purerl.algorithms.sac import SACConfig, make_sac
from purerl.networks import NetworkConfig, make_actor_critic, make_q_network
from purerl.networks.soft_actor_critic import make_soft_actor_critic
from purerl.view.rules import PAGE, RULES

CHOICES, NUMBERS = ActionFollowsCue(2), ContinuousTarget()
ALGORITHMS = {
    "PPO": (
        NUMBERS,
        make_ppo,
        lambda env: make_actor_critic(env, env.default_params, "mlp", NetworkConfig(width=8)),
        PPOConfig(num_envs=2, num_steps=4, num_minibatches=1),
    ),
    "SAC": (
        NUMBERS,
        make_sac,
        lambda env: make_soft_actor_critic(env, env.default_params, "mlp"),
        SACConfig(num_envs=2, batch_size=2, buffer_size=64, warmup_steps=8),
    ),
    "DQN": (
        CHOICES,
        make_dqn,
        lambda env: make_q_network(env, env.default_params, "mlp"),
        DQNConfig(num_envs=2, buffer_size=64, warmup_steps=8),
    ),
    "PQN": (
        CHOICES,
        make_pqn,
        lambda env: make_q_network(env, env.default_params, "mlp"),
        PQNConfig(num_envs=2, num_steps=4, num_minibatches=1),
    ),
}


def told_by(algorithm, config):
    """Names of the metrics of a chunk, without running one."""

    def chunk(key):
        state, metrics = algorithm.update(algorithm.init(key, config), config)
        return metrics | algorithm.diagnose(state, config)

    return set(jax.eval_shape(chunk, jax.random.key(0)).names)


def documented():
    """Alarm -> names of the algorithms that it can ring for, from the table of the page."""
    page = (Path(__file__).parents[2] / PAGE).read_text()
    rows = re.findall(r"^\| \[([a-zA-Z ]+)\]\(#[\w-]+\) \| ([\w, ]+) \|$", page, flags=re.MULTILINE)
    return {name: set(algorithms.split(", ")) for name, algorithms in rows}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_page_says_which_alarms_can_ring_for_an_algorithm(name):
    env, make, network, config = ALGORITHMS[name]
    metrics = told_by(make(env, network(env)), config.replace(env_params=env.default_params))
    can_ring = {rule.name for rule in RULES if set(rule.metrics) <= metrics}
    assert can_ring == {alarm for alarm, algorithms in documented().items() if name in algorithms}


def test_the_page_lists_every_alarm():
    assert list(documented()) == [rule.name for rule in RULES]


def test_an_entropy_that_stands_still_is_a_fault_for_ppo_alone():
    # SAC's temperature holds the entropy at its target: there, standing still is what is wanted.
    assert documented()["pinned entropy"] == {"PPO"}
