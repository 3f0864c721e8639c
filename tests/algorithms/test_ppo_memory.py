"""PPO with a memory: the identities that hold before the first step, seeds, shards and checkpoints."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_sac_program import equal, run

from envs.bikkle import Bikkle
from envs.memory import RepeatFirst
from envs.memory.repeat import RepeatParams
from purerl.algorithms.ppo import PPOConfig, make_ppo
from purerl.compile.program import build_program, train
from purerl.networks import MemoryConfig, NetworkConfig, make_memory_actor_critic
from purerl.rollout.unroll import unroll
from purerl.run import checkpoint

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
        ("gru", False, False),
        ("lstm", False, True),
        ("transformer", False, True),
        ("transformer", True, False),
        ("lru", False, True),
    ],
)
def test_the_ratio_is_one_before_the_first_gradient_step(memory, tokens, shared):
    # One epoch, one minibatch: all is measured before the only step. Two updates, so that the second
    # begins in the middle of episodes; Bikkle has continuous actions and observations made of tokens.
    env, params, encoder = ENV, PARAMS, "mlp"
    if tokens:
        env, encoder = Bikkle(4), "attention"
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

    def act(self, carry, observation, begins, key):
        carry = jnp.where(begins, 0.0, carry) + 1.0
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


@pytest.fixture(scope="module")
def program_of():
    """Compiles PPO with a transformer on RepeatFirst; a rollout ends in the middle of an episode."""
    network = network_of("transformer")

    def build(num_devices=1, **options):
        settings = {"seed": 0, "num_seeds": 1, "total_steps": 128 * 4, "target_chunks": 4} | options
        return build_program(partial(make_ppo, ENV, network), CONFIG, num_devices=num_devices, **settings)

    return build


def test_a_seed_alone_equals_the_same_seed_among_others(program_of):
    together, alone = run(program_of(num_seeds=3)), run(program_of(seed=2))
    np.testing.assert_array_equal(together.key[2], alone.key[0])
    close = lambda a, b: np.testing.assert_allclose(a[2], b[0], atol=1e-5)  # noqa: E731
    jax.tree.map(close, together, alone)


def test_a_seed_alone_equals_the_same_seed_inside_a_vmap():
    # Products of matrices are not summed in the same order there: the same draws, the same up to rounding.
    algorithm = make_ppo(ENV, network_of("gru"))
    run_of = partial(train, algorithm, CONFIG.replace(num_epochs=1), num_updates=2)
    keys = jax.vmap(jax.random.key)(jnp.arange(3))
    together, alone = jax.jit(jax.vmap(run_of))(keys)[0], jax.jit(run_of)(keys[2])[0]
    equal(jax.random.key_data(together.key)[2], jax.random.key_data(alone.key))
    equal(together.actor.env_state, alone.actor.env_state, where=lambda leaf: leaf[2])
    close = lambda a, b: np.testing.assert_allclose(a[2], b, atol=1e-5)  # noqa: E731
    jax.tree.map(close, together.actor.carry, alone.actor.carry)
    jax.tree.map(close, together.learner.params, alone.learner.params)


def test_a_run_resumed_in_the_middle_of_episodes_ends_with_the_same_bits(program_of, tmp_path):
    num_devices = min(2, len(jax.local_devices()))
    program = program_of(num_devices)
    whole, half = run(program), run(program, num_chunks=2)
    assert (half.actor.episode_length > 0).any()
    assert any(np.abs(leaf).max() > 0 for leaf in half.actor.carry["actor"].states)
    architecture = checkpoint.describe(program.state_shape)
    checkpoint.save(tmp_path, half, architecture=architecture, chunk=2, config={}, keep=1)
    saved = checkpoint.restore(checkpoint.latest(tmp_path, print), program.state_shape)
    equal(run(program, saved, num_chunks=2), whole)


def test_no_key_is_used_twice():
    algorithm = make_ppo(ENV, network_of("gru"))
    with jax.debug_key_reuse(True):
        state = jax.jit(algorithm.init)(jax.random.key(0), CONFIG)
        jax.jit(algorithm.update)(state, CONFIG)


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
        check_ppo(CONFIG.replace(num_minibatches=32), whole_segments=True)
