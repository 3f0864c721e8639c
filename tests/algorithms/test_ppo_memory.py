"""PPO with a memory: what is measured before the first step, carries, and what a memory is for."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs.bikkle import Bikkle
from envs.memory import RepeatFirst
from envs.memory.repeat import RepeatParams
from purerl.algorithms.on_policy_parts import check_on_policy
from purerl.algorithms.ppo import PPOConfig, make_ppo
from purerl.compile.program import train
from purerl.networks import MemoryConfig, NetworkConfig, make_memory_actor_critic
from purerl.rollout.unroll import unroll

MEMORY = MemoryConfig(width=16, num_heads=2, num_layers=1, length=5, feed_forward=16)
NET = NetworkConfig(width=16, head_width=0, activation="tanh")
ENV = RepeatFirst()
PARAMS = RepeatParams(max_steps_in_episode=6)
CONFIG = PPOConfig(
    num_envs=16,
    num_steps=8,
    num_epochs=2,
    num_minibatches=2,
    microbatch_size=0,
    learning_rate=1e-2,
    normalize_rewards=False,
    env_params=PARAMS,
)


def network_of(memory, env=ENV, params=PARAMS, encoder="mlp", shared=True):
    net = NET.replace(shared_encoder=shared)
    return make_memory_actor_critic(env, params, encoder, net, memory, MEMORY)


@pytest.mark.parametrize(
    ("memory", "tokens", "shared"),
    [
        ("gru", True, False),
        ("lstm", False, True),
        ("transformer", False, False),
        ("lru", False, True),
    ],
)
def test_the_ratio_is_one_before_the_first_gradient_step(memory, tokens, shared):
    # One epoch, one minibatch: all is measured before the only step. Two updates, so that the second
    # begins in the middle of episodes; Bikkle has continuous actions and observations made of tokens.
    env, params, encoder = ENV, PARAMS, "mlp"
    if tokens:
        env, encoder = Bikkle(4), "deepsets"
        params = env.default_params.replace(max_steps_in_episode=5)
    network = network_of(memory, env, params, encoder, shared)
    config = CONFIG.replace(env_params=params, num_epochs=1, num_minibatches=1)
    _, metrics = jax.jit(partial(train, make_ppo(env, network), num_updates=2))(config, jax.random.key(0))
    assert (metrics["approx_kl"] < 1e-10).all()
    assert (metrics["clip_fraction"] == 0).all()
    assert (metrics["value_loss"] > 0).all()


def test_microbatches_change_nothing_but_the_speed():
    network = network_of("gru")

    def params(microbatch_size):
        config = CONFIG.replace(num_epochs=1, microbatch_size=microbatch_size, learning_rate=1e-3)
        state, _ = jax.jit(partial(train, make_ppo(ENV, network), num_updates=1))(config, jax.random.key(0))
        return state.learner.params

    jax.tree.map(partial(np.testing.assert_allclose, atol=2e-5), params(0), params(16))


class CountsSteps:
    """A policy whose carry is how many steps of the episode it has seen."""

    def act(self, carry, observation, is_first, key):
        carry = jnp.where(is_first, 0.0, carry) + 1.0
        return carry, jnp.zeros(carry.shape, jnp.int32), jnp.zeros(carry.shape), carry

    def value_of(self, carry, observation):
        return 100.0 + carry


class Truncated(RepeatFirst):
    """Cut by a limit instead of ended."""

    def step_env(self, key, state, action, params):
        observation, state, reward, _, info = super().step_env(key, state, action, params)
        return observation, state, reward, jnp.zeros((), bool), info

    def is_truncated(self, state, params):
        return state.time >= params.max_steps_in_episode


def test_the_carry_is_reset_at_episode_starts_and_values_the_successor_before_the_reset():
    # Episodes of 3 steps in a rollout of 5: the carry counts 1, 2, 3, 1, 2. The successor of the third step
    # is valued with a carry of 3, that of the last with one of 2.
    env, params = Truncated(), RepeatParams(max_steps_in_episode=3)
    config = CONFIG.replace(env_params=params, num_envs=4, stagger=False)
    state = jax.jit(make_ppo(env, network_of("gru")).init)(jax.random.key(0), config)
    policy = CountsSteps()
    actor, transitions, _, _ = unroll(
        env=env,
        params=params,
        actor=state.actor.replace(carry=jnp.full(4, 7.0)),
        pool=state.curriculum.pool,
        key=jax.random.key(1),
        num_steps=5,
        act=policy.act,
        value_of=policy.value_of,
    )
    np.testing.assert_array_equal(transitions.value[:, 0], [1, 2, 3, 1, 2])
    np.testing.assert_array_equal(transitions.next_value[:, 0], [2, 3, 103, 2, 102])
    np.testing.assert_array_equal(actor.carry, 2.0)


def test_a_memory_learns_what_its_twin_without_cannot():
    # The first of four symbols, asked for at every step of six. Without a memory the first step alone can be
    # answered, and the others by chance: a return of 1/6 + 5/6 (1/4 - 3/4) = -0.25.
    def final_return(memory):
        algorithm = make_ppo(ENV, network_of(memory))
        config = CONFIG.replace(num_envs=64, num_epochs=4, total_updates=60)
        _, metrics = jax.jit(partial(train, algorithm, num_updates=60))(config, jax.random.key(0))
        return float(jnp.nanmean(metrics["episode_return"][-10:]))

    assert final_return("gru") > 0.9
    assert final_return("none") < -0.1


def test_minibatches_of_segments_need_whole_environments():
    with pytest.raises(ValueError, match="num_envs = 16 is not divisible by num_minibatches = 32"):
        check_on_policy(CONFIG.replace(num_minibatches=32), 1, whole_segments=True)
