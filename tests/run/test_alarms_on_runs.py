"""Alarms on runs that learn: silent on healthy ones, each heard in one that was built to fail so."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from probes import ContinuousTarget, ProbeParams

from purerl.algorithms.ppo import PPOConfig, make_ppo
from purerl.compile.program import train
from purerl.networks import NetworkConfig, make_actor_critic
from purerl.view.alarms import replay
from purerl.view.rules import RULES

NUM_CHUNKS = 40
NUM_HEALTHY = 100


@struct.dataclass
class TaskParams:
    """`gain` multiplies the reward; without `ends`, no episode ever does."""

    gain: float = 1.0
    ends: bool = True


class Task(ContinuousTarget):
    """Come near a point, in a world that is better on one side; parameters spoil it."""

    default_params = TaskParams()

    def step_env(self, key, state, action, params):
        observation, state, reward, ended, info = super().step_env(key, state, action, params)
        return observation, state, params.gain * (reward + state.cue), ended & params.ends, info


class Toil(ContinuousTarget):
    """Every step costs, until the limit: the shorter an episode, the higher its return."""

    default_params = ProbeParams(max_steps_in_episode=32)

    def is_truncated(self, state, params):
        return state.time >= params.max_steps_in_episode

    def reward(self, state, action):
        return super().reward(state, action) - 1.0


class Fault(NamedTuple):
    """What is wrong in a run, and the alarm that tells it."""

    alarm: str
    config: dict[str, Any]
    task: dict[str, Any]
    initial_std: float = 0.6
    critic: float = 1.0


HEALTHY = PPOConfig(
    num_envs=16,
    num_steps=8,
    num_epochs=2,
    num_minibatches=2,
    microbatch_size=0,
    learning_rate=3e-3,
    final_learning_rate=3e-3,
    gamma=0.5,
    normalize_rewards=False,
    total_updates=NUM_CHUNKS,
)
SHAPE = NetworkConfig(width=16, head_width=0, shared_encoder=False, activation="tanh")


def always(rate):
    return {"learning_rate": rate, "final_learning_rate": rate}


FAULTS = [
    Fault("exploding gradient", {"max_grad_norm": np.inf}, {"gain": 1e4}),
    Fault("vanished gradient", {}, {"gain": 0.0}, critic=0.0),
    Fault("dead agent", {}, {"gain": 0.0}),
    # Past a quarter of the run, steps have the wrong sign: what was learned is surely unlearned.
    Fault("fallen return", {"learning_rate": 3e-3, "final_learning_rate": -1e-2}, {}),
    Fault("constant return", {}, {"gain": 0.0}),
    # Its values begin at a thousand times the scale of returns, from which it comes back too slowly.
    Fault("failing critic", {}, {}, critic=1000.0),
    Fault("idle critic", {"value_coefficient": 0.0}, {}, critic=0.0),
    Fault("too large steps", always(0.3), {}),
    Fault("exploding KL", {"learning_rate": 1e-4, "final_learning_rate": 0.3}, {}),
    Fault("too high learning rate", always(0.05), {}),
    Fault("pinned entropy", always(1e-9), {}),
    Fault("saturated actions", {}, {}, initial_std=30.0),
    Fault("collapsed entropy", {}, {}, initial_std=1e-5),
    Fault("no episodes", {}, {"ends": False}),
]


def lines_of(metrics, runs):
    """The lines of `metrics.jsonl` of some of many runs, as seeds of one, a chunk an update."""
    told = {name: np.asarray(mean)[runs].T for name, mean in metrics.items()}  # [C, S]
    return [
        {
            "chunk": number + 1,
            "env_steps": 128 * (number + 1),
            "failed_seeds": [],
            "metrics": {name: list(means[number]) for name, means in told.items()},
        }
        for number in range(NUM_CHUNKS)
    ]


@pytest.fixture(scope="module")
def heard():
    """Names of the alarms told in each run with a fault, and in all healthy ones. All are one program."""
    env = Task()
    algorithm = make_ppo(env, make_actor_critic(env, env.default_params, "mlp", SHAPE))
    faults = FAULTS + [Fault("", {}, {})] * NUM_HEALTHY
    configs = [HEALTHY.replace(env_params=TaskParams(**fault.task), **fault.config) for fault in faults]
    stacked = jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *configs)
    seeds = jnp.array([0] * len(FAULTS) + list(range(NUM_HEALTHY)))
    starts = jnp.array([(fault.initial_std, fault.critic) for fault in faults])

    def run(key, config, start):
        def init(key, config):
            state = algorithm.init(key, config)
            params = dict(state.learner.params["params"])
            params["log_std"] = jnp.log(start[0])[None]
            params["critic_out"] = jax.tree.map(lambda leaf: start[1] * leaf, params["critic_out"])
            return state.replace(learner=state.learner.replace(params={"params": params}))

        return train(algorithm._replace(init=init), config, key, NUM_CHUNKS)[1]

    metrics = jax.jit(jax.vmap(run))(jax.vmap(jax.random.key)(seeds), stacked, starts)
    groups = [*([run] for run in range(len(FAULTS))), range(len(FAULTS), len(faults))]
    watches = [replay(lines_of(metrics, runs), range(len(runs)), NUM_CHUNKS) for runs in groups]
    return [[told.alarm.name for told in watch.told] for watch in watches]


@pytest.mark.parametrize("number", range(len(FAULTS)), ids=[fault.alarm for fault in FAULTS])
def test_a_run_that_goes_wrong_says_why(heard, number):
    assert FAULTS[number].alarm in heard[number]


def test_no_alarm_is_left_out():
    assert {fault.alarm for fault in FAULTS} == {rule.name for rule in RULES}


def test_healthy_runs_are_silent(heard):
    assert heard[-1] == []


def test_the_short_episodes_of_staggered_starts_are_no_better_than_those_that_follow():
    # Parts of episodes end in the first four chunks, whole ones of 32 steps, about -40, from then on.
    env = Toil(terminates=False)
    algorithm = make_ppo(env, make_actor_critic(env, env.default_params, "mlp", SHAPE))
    config = HEALTHY.replace(env_params=env.default_params)
    metrics = jax.jit(partial(train, algorithm, num_updates=NUM_CHUNKS))(config, jax.random.key(0))[1]
    lines = lines_of(jax.tree.map(lambda leaf: leaf[None], metrics), [0])
    assert "fallen return" not in [told.alarm.name for told in replay(lines, (0,), NUM_CHUNKS).told]
    returns = np.array([line["metrics"]["episode_return"][0] for line in lines])
    assert np.nanmax(returns[:4], initial=-np.inf) < -32
