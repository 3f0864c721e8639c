"""Policies leave Python: exported with a free batch and read back, they act as they do here."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from probes import ActionFollowsCue, ContinuousTarget

from envs.bikkle import Bikkle
from envs.maze import Maze
from purerl import spaces
from purerl.algorithms.dqn import DQNConfig, make_dqn
from purerl.algorithms.ppo import PPOConfig, make_ppo
from purerl.algorithms.pqn import PQNConfig, make_pqn
from purerl.algorithms.sac import SACConfig, make_sac
from purerl.compile import platforms
from purerl.networks import (
    MemoryConfig,
    NetworkConfig,
    QNetworkConfig,
    make_actor_critic,
    make_memory_actor_critic,
    make_q_network,
)
from purerl.networks.soft_actor_critic import SoftNetworkConfig, make_soft_actor_critic

SIZES = {"width": 8, "num_heads": 2, "channels": 2, "num_iterations": 2}


class Pictures(ActionFollowsCue):
    """Two actions, seen as pictures of 5 x 5 pixels with two channels."""

    def _observe(self, state):
        return jnp.broadcast_to(state.cue, (5, 5, 2))

    def observation_space(self, params):
        return spaces.Box(-1.0, 1.0, (5, 5, 2))


VECTORS, PICTURES, TARGET, ARENA, MAZE = (
    ActionFollowsCue(2),
    Pictures(2),
    ContinuousTarget(),
    Bikkle(4),
    Maze(5),
)
SEEN_BY = {"mlp": VECTORS, "image": PICTURES, "attention": ARENA, "deepsets": ARENA, "cnn": MAZE} | {
    "recurrent": MAZE
}


def ppo(env, network):
    config = PPOConfig(num_envs=2, num_steps=2, num_minibatches=1, normalize_observations=True)
    return make_ppo(env, network), config


def actor_critic(name, env=None):
    env = env or SEEN_BY[name]
    return *ppo(env, make_actor_critic(env, env.default_params, name, NetworkConfig(**SIZES))), env


def remembering(name):
    config = MemoryConfig(width=8, num_heads=2, num_layers=2, length=3, feed_forward=8)
    network = make_memory_actor_critic(
        VECTORS, VECTORS.default_params, "mlp", NetworkConfig(**SIZES), name, config
    )
    return *ppo(VECTORS, network), VECTORS


def action_values(name, make, config):
    env = SEEN_BY[name]
    network = make_q_network(env, env.default_params, name, QNetworkConfig(**SIZES, dueling=True))
    return make(env, network), config, env


def soft(name, env):
    network = make_soft_actor_critic(env, env.default_params, name, SoftNetworkConfig(**SIZES))
    return make_sac(env, network), SACConfig(num_envs=2, batch_size=2, buffer_size=64), env


POLICIES = {f"ppo-{name}": partial(actor_critic, name) for name in SEEN_BY}
POLICIES |= {"ppo-gaussian": partial(actor_critic, "mlp", TARGET)}
POLICIES |= {f"ppo-{name}": partial(remembering, name) for name in ("gru", "lstm", "transformer", "lru")}
POLICIES |= {
    "dqn-mlp": partial(action_values, "mlp", make_dqn, DQNConfig(num_envs=2, buffer_size=64)),
    "pqn-cnn": partial(action_values, "cnn", make_pqn, PQNConfig(num_envs=2)),
    "sac-mlp": partial(soft, "mlp", TARGET),
    "sac-attention": partial(soft, "attention", ARENA),
    "sac-choices": partial(soft, "mlp", VECTORS),
}


def filled(shapes, seed):
    """Numbers of the shapes and dtypes that are asked for, far from degenerate; moments have a weight."""
    generator = np.random.default_rng(seed)

    def fill(leaf):
        drawn = 0.5 * np.abs(generator.normal(size=leaf.shape)) * generator.choice([1.0, -1.0], leaf.shape)
        return (drawn > -0.3 if leaf.dtype == bool else drawn).astype(leaf.dtype)

    return jax.tree.map(fill, shapes)


def acting(name):
    """A policy with a learner, as `act(observation, bits, *carry) -> (sampled, greedy)`, and its world."""
    algorithm, config, env = POLICIES[name]()
    config = config.replace(env_params=env.default_params)
    learner = filled(jax.eval_shape(algorithm.init, jax.random.key(0), config).learner, 0)
    if getattr(learner, "observation_moments", None) is not None:
        ones = jax.tree.map(np.ones_like, learner.observation_moments)
        learner = learner.replace(observation_moments=ones)

    def act(observation, bits, *carry):
        key = jax.random.wrap_key_data(bits)
        return [algorithm.policy(learner, observation, key, greedy, *carry) for greedy in (False, True)]

    return act, algorithm, env


def inputs_of(algorithm, env, batch):
    """Observations of a batch, a key's bits, and the carry where there is a memory."""
    one = jax.eval_shape(env.reset_env, jax.random.key(0), env.default_params)[0]
    many = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((batch, *leaf.shape), leaf.dtype), one)
    carry = algorithm.initial_carry(batch) if algorithm.initial_carry else None
    return (filled(many, batch), np.array([0, 7], np.uint32), *([] if carry is None else [carry]))


def with_free_batch(inputs):
    """Shapes of the same, with the number of observations left open."""
    (batch,) = export.symbolic_shape("batch")
    observation, bits, *carry = inputs
    free = lambda leaf: jax.ShapeDtypeStruct((batch, *leaf.shape[1:]), leaf.dtype)  # noqa: E731
    return jax.tree.map(free, observation), bits, *jax.tree.map(free, carry)


def exported(act, inputs, platforms_meant=("cpu", "cuda")):
    """The function of arrays alone, exported: records of ours are no part of a file."""
    treedef = jax.tree.structure(inputs)
    of_arrays = jax.jit(lambda *leaves: jax.tree.leaves(act(*treedef.unflatten(leaves))))
    with platforms.tracing_for(platforms.ANY):
        return export.export(of_arrays, platforms=platforms_meant)(*jax.tree.leaves(inputs))


def assert_alike(act, there, inputs):
    here = jax.tree.leaves(jax.jit(act)(*inputs))
    assert {len(leaf) for leaf in here[:2]} == {len(jax.tree.leaves(inputs)[0])}
    for ours, theirs in zip(here, there.call(*jax.tree.leaves(inputs)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", POLICIES)
def test_an_exported_policy_acts_alike_on_any_number_of_observations(name):
    act, algorithm, env = acting(name)
    there = exported(act, with_free_batch(inputs_of(algorithm, env, 3)))
    # Products of 3 are turned here and have a layout, those of 70 are not: see `platforms.turns_samples`.
    for batch in (3, 70) if name in ("ppo-mlp", "ppo-attention") else (3,):
        assert_alike(act, there, inputs_of(algorithm, env, batch))


def test_a_policy_is_written_to_a_file_and_read_back():
    pytest.importorskip("flatbuffers")  # JAX writes with it
    act, algorithm, env = acting("sac-attention")
    inputs = inputs_of(algorithm, env, 3)
    file = exported(act, with_free_batch(inputs)).serialize()
    assert_alike(act, export.deserialize(file), inputs)


def test_a_policy_for_a_fixed_batch_is_exported_too_although_a_cpu_fixes_layouts():
    act, algorithm, env = acting("ppo-mlp")
    inputs = inputs_of(algorithm, env, 3)
    assert_alike(act, exported(act, inputs, ("cpu",)), inputs)
    # Without the word, JAX refuses: what a CPU is told of layouts is no part of its promise.
    with pytest.raises(ValueError, match="LayoutConstraint"):
        export.export(jax.jit(act))(*inputs)
