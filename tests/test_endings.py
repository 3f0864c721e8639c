"""Behind the end of an episode there is nothing: what is seen there reaches no learner, NaN or not."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import LastLook

from purerl.algorithms.dqn import make_dqn
from purerl.algorithms.dqn_config import DQNConfig
from purerl.algorithms.ppo import make_ppo
from purerl.algorithms.ppo_config import PPOConfig
from purerl.algorithms.pqn import make_pqn
from purerl.algorithms.pqn_config import PQNConfig
from purerl.algorithms.sac import make_sac
from purerl.algorithms.sac_config import SACConfig
from purerl.losses import q_learning_target
from purerl.metrics import unpack
from purerl.networks import (
    MemoryConfig,
    NetworkConfig,
    QNetworkConfig,
    make_actor_critic,
    make_memory_actor_critic,
    make_q_network,
)
from purerl.networks.soft_actor_critic import SoftNetworkConfig, make_soft_actor_critic
from purerl.returns import bootstrap, gae
from purerl.train import train

NAN = jnp.float32(jnp.nan)
PARAMS = LastLook().default_params
SMALL = NetworkConfig(width=8, head_width=0, activation="tanh", shared_encoder=False)
MEMORY = MemoryConfig(width=8, num_heads=2, num_layers=1, length=3, feed_forward=8)
# 7 steps: with episodes of three steps and of two, rollouts end at ends of episodes, and between them.
ROLLOUT = {"num_steps": 7, "num_epochs": 2, "num_minibatches": 2, "microbatch_size": 0}
PPO = PPOConfig(num_envs=16, normalize_observations=True, env_params=PARAMS, **ROLLOUT)
DQN = DQNConfig(
    num_envs=4, num_iterations=16, num_gradient_steps=2, batch_size=16, capacity=120, warmup_steps=8,
    target_every=5, env_params=PARAMS,
)  # fmt: skip
SAC = SACConfig(
    final_learning_rate=0.0,
    num_envs=4, num_iterations=16, num_gradient_steps=2, batch_size=16, capacity=120, warmup_steps=8,
    env_params=PARAMS,
)  # fmt: skip


def ppo(env):
    return make_ppo(env, make_actor_critic(env, PARAMS, "mlp", SMALL))


def ppo_with(memory):
    def make(env):
        return make_ppo(env, make_memory_actor_critic(env, PARAMS, "mlp", SMALL, memory, MEMORY))

    return make


def pqn(env):
    network = make_q_network(env, PARAMS, "mlp", QNetworkConfig(width=8, head_width=0, layer_norm=True))
    return make_pqn(env, network)


def dqn(env):
    return make_dqn(env, make_q_network(env, PARAMS, "mlp", QNetworkConfig(width=8, head_width=8)))


def sac(env):
    return make_sac(env, make_soft_actor_critic(env, PARAMS, "mlp", SoftNetworkConfig(width=8, head_width=0)))


LEARNERS = {
    "ppo": (ppo, PPO),
    "ppo, many environments": (ppo, PPO.replace(num_envs=96, num_steps=4)),
    "ppo with a gru": (ppo_with("gru"), PPO),
    "grpo": (ppo, PPO.replace(group_size=4)),
    "pqn": (pqn, PQNConfig(num_envs=16, env_params=PARAMS, **ROLLOUT)),
    "dqn": (dqn, DQN),
    "dqn, prioritised, three steps": (dqn, DQN.replace(prioritised=True, num_return_steps=3)),
    "sac, three steps": (sac, SAC.replace(num_return_steps=3, event_share=0.25)),
}


@cache
def runs(name):
    """Three of four updates, with 0 and with NaN behind the end: learner, metrics, diagnosis."""
    make, config = LEARNERS[name]
    algorithm = make(LastLook())

    @jax.jit
    def run(seen):
        chosen = config.replace(total_updates=4, env_params=PARAMS.replace(seen=seen))
        state, metrics = train(algorithm, chosen, jax.random.key(0), 3)
        return state.learner, unpack(metrics), unpack(algorithm.diagnose(state, chosen))

    quick = run.lower(0.0).compile({"xla_backend_optimization_level": 0})
    return quick(0.0), quick(jnp.nan)


@pytest.mark.parametrize("name", LEARNERS)
def test_what_is_seen_behind_the_end_reaches_nothing(name):
    (learnt, *told), (learnt_beside_nan, *told_beside_nan) = runs(name)
    for leaf in jax.tree.leaves(learnt_beside_nan):
        assert np.isfinite(leaf).all()
    jax.tree.map(np.testing.assert_array_equal, learnt_beside_nan, learnt)
    jax.tree.map(np.testing.assert_array_equal, told_beside_nan, told)


@pytest.mark.parametrize("name", ["ppo", "grpo", "pqn", "dqn", "sac, three steps"])
def test_the_first_update_has_the_full_rate_and_the_last_of_four_a_quarter_of_it(name):
    rate = runs(name)[0][1]["learning_rate"]
    start = LEARNERS[name][1].learning_rate
    expected = np.array([1.0, 0.75, 0.5])
    if name == "dqn":  # 16 rounds in each update: the mean over 0, 1, ..., 15 of 64, then of 16, ..., 31
        expected -= 7.5 / 64
    np.testing.assert_allclose(rate.total / rate.weight, start * expected, rtol=1e-5)


def test_a_return_goes_on_where_something_follows():
    # Reward 1, factor 0.5, value 4: 1 + 0.5 * 4 = 3; where nothing follows 1, whatever the value.
    follows = jnp.array([True, False, False])
    worth = bootstrap(jnp.ones(3), follows, 0.5, jnp.array([4.0, NAN, jnp.inf]))
    np.testing.assert_array_equal(worth, [3.0, 1.0, 1.0])
    slope = jax.grad(lambda value: bootstrap(jnp.ones(3), follows, 0.5, value).sum())
    np.testing.assert_array_equal(slope(jnp.array([4.0, NAN, jnp.inf])), [0.5, 0.0, 0.0])


def test_no_target_sees_the_value_behind_an_end():
    # One step, reward 1, value 2, terminated: 1 - 2 = -1.
    one, yes = jnp.ones((1, 1)), jnp.ones((1, 1), bool)
    assert gae(one, 2 * one, NAN * one, yes, ~yes, 0.5, 0.9) == -1.0
    # Nor does an advantage cross an end backwards: the first step is as before, the second is NaN's own.
    two, ends = jnp.array([[1.0], [NAN]]), jnp.array([[True], [False]])
    assert gae(two, 2 * jnp.ones((2, 1)), jnp.ones((2, 1)), ends, ~yes, 0.5, 0.9)[0] == -1.0
    values = jnp.array([[NAN, 2.0], [NAN, 1.0]])
    target = q_learning_target(jnp.ones(2), jnp.array([0.0, 0.5]), values, values)
    np.testing.assert_array_equal(target, [1.0, 2.0])
