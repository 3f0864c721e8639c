"""Observations, actions and endings of every kind: handled as users expect, or refused in one line."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import Probe

from envs.encoded import encoded, encoded_space
from envs.registry import make_environment
from purerl import spaces
from purerl.algorithms.dqn import DQNConfig, make_dqn
from purerl.algorithms.ppo import PPOConfig, make_ppo
from purerl.algorithms.sac import SACConfig, make_sac
from purerl.compile.program import train_sums
from purerl.contracts import check_environment
from purerl.functional.normalize import (
    init_observation_moments,
    normalize_observation,
    update_observation_moments,
)
from purerl.networks import NetworkConfig, QNetworkConfig, make_actor_critic, make_q_network
from purerl.networks.grids import to_grid
from purerl.networks.layers import flatten_observation
from purerl.networks.soft_actor_critic import SoftNetworkConfig, make_soft_actor_critic
from purerl.rollout.evaluate import evaluate

KEY = jax.random.key(0)


@dataclass(frozen=True)
class Kinds(Probe):
    """A probe whose observations, actions and `done` are of any kind; the sign of the cue is seen."""

    kind: str = "discrete"
    actions: Any = None
    done: Any = bool

    def _observe(self, state):
        cue = (state.cue > 0).astype(jnp.int32)
        pixels = jnp.full((4, 4, 1), 255 * cue, jnp.uint8)
        nested = {"cue": cue, "more": (jnp.stack([cue, 2 * cue]), pixels[0], state.time)}
        return {
            "discrete": cue,
            "multi": jnp.stack([cue, 2 * cue]),
            "bytes": pixels,
            "codes": 3 * cue[None].astype(jnp.uint8),
            "integers": 1000 * cue[None],
            "dict": nested,
        }[self.kind]

    def observation_space(self, params):
        more = (
            spaces.MultiDiscrete((2, 3)),
            spaces.Box(0, 255, (4, 1), jnp.uint8),
            spaces.Box(0, 9, (), jnp.int32),
        )
        return {
            "discrete": spaces.Discrete(2), "multi": spaces.MultiDiscrete((2, 3)),
            "bytes": spaces.Box(0, 255, (4, 4, 1), jnp.uint8), "codes": spaces.Box(0, 3, (1,), jnp.uint8),
            "integers": spaces.Box(0, 1000, (1,), jnp.int32),
            "dict": spaces.Dict({"cue": spaces.Discrete(2), "more": spaces.Tuple(more)}),
        }[self.kind]  # fmt: skip

    def action_space(self, params):
        return self.actions or super().action_space(params)

    def step_env(self, key, state, action, params):
        observation, state, reward, ended, info = super().step_env(key, state, action, params)
        return observation, state, reward, ended.astype(self.done), info


KINDS = ("discrete", "multi", "bytes", "codes", "integers", "dict")
BOX = spaces.Box(np.array([[-1.0, -2.0, 0.0], [0.0, 0.0, 5.0]]), 6.0, (2, 3))


def seen(kind, cue):
    """What a network reads: the observation of a cue, encoded and flattened, [F]."""
    env = Kinds(kind=kind)
    env = encoded(env, env.default_params)
    keys = jax.random.split(KEY, 20)
    observation, state = jax.vmap(env.reset_env, (0, None))(keys, env.default_params)
    index = int(np.argmax(np.asarray(state.cue) == cue))
    assert bool(env.observation_space(env.default_params).contains(observation[index]))
    return np.asarray(flatten_observation(observation)[:, index])


def test_each_kind_of_observation_is_read_as_users_expect():
    np.testing.assert_array_equal(seen("discrete", 1.0), [0, 1])
    np.testing.assert_array_equal(seen("discrete", -1.0), [1, 0])
    np.testing.assert_array_equal(seen("multi", 1.0), [0, 1, 0, 0, 1])  # 1 of 2 and 2 of 3
    np.testing.assert_array_equal(seen("bytes", 1.0), np.ones(16))  # 255 / 255
    np.testing.assert_array_equal(seen("codes", 1.0), [3])  # up to 3: numbers, and not bytes
    np.testing.assert_array_equal(seen("integers", 1.0), [1000])
    # The cue one-hot, two integers one-hot, four bytes, and the time, which is 0.
    np.testing.assert_array_equal(seen("dict", 1.0), [0, 1, *[0, 1, 0, 0, 1], 1, 1, 1, 1, 0])


def test_pictures_stay_bytes_until_a_network_reads_them():
    env = Kinds(kind="bytes")
    assert encoded(env, env.default_params) is env
    grid = to_grid(jnp.full((2, 4, 4, 1), 51, jnp.uint8))
    np.testing.assert_allclose(grid, 0.2)


def test_integers_are_normalized_like_all_numbers_and_bytes_and_booleans_are_not():
    # 0 and 1000 by turns: mean 500, deviation 500, so -1 and 1.
    numbers = jnp.array([[0], [1000]], jnp.int32)
    parts = {"integers": numbers, "bytes": jnp.ones((2, 1), jnp.uint8), "flags": jnp.ones((2, 1), bool)}
    moments = update_observation_moments(init_observation_moments(parts), parts)
    normalized = normalize_observation(moments, parts)
    np.testing.assert_allclose(normalized["integers"], [[-1.0], [1.0]], rtol=1e-5)
    assert normalized["bytes"] is parts["bytes"]
    assert normalized["flags"] is parts["flags"]


def learner_of(name, env, params):
    """An algorithm with its smallest network, ready to be trained, and its sizes."""
    small = {"width": 8, "head_width": 0}
    common = {"num_envs": 4, "num_steps": 4, "batch_size": 4, "buffer_size": 64, "warmup_steps": 4}
    if name == "sac":
        soft = make_soft_actor_critic(env, params, "mlp", SoftNetworkConfig(**small))
        return make_sac(env, soft), SACConfig(**common)
    if name == "dqn":
        q_network = make_q_network(env, params, "mlp", QNetworkConfig(**small))
        return make_dqn(env, q_network), DQNConfig(**common)
    network = make_actor_critic(env, params, "mlp", NetworkConfig(**small, shared_encoder=False))
    ppo = PPOConfig(num_envs=4, num_steps=4, num_epochs=1, num_minibatches=1, microbatch_size=0)
    return make_ppo(env, network), ppo.replace(normalize_observations=True)


@pytest.mark.parametrize(
    ("name", "kind", "actions", "done"),
    [
        ("ppo", "dict", BOX, jnp.float32),
        ("sac", "dict", BOX, jnp.int32),
        ("dqn", "bytes", None, jnp.int32),
        ("ppo", "discrete", None, jnp.int32),
        ("dqn", "multi", None, jnp.float32),
    ],
)
def test_every_learner_trains_and_is_evaluated_on_every_kind(name, kind, actions, done):
    env = Kinds(kind=kind, actions=actions, done=done)
    params = env.default_params
    check_environment(env, params)
    env = encoded(env, params)
    algorithm, sizes = learner_of(name, env, params)
    config = sizes.replace(env_params=params, total_updates=2, stagger=False)
    state, metrics = jax.jit(partial(train_sums, algorithm, config, num_updates=2))(KEY)
    for leaf in jax.tree.leaves(state.learner):
        assert jnp.isfinite(leaf).all()
    # Episodes of one step: as many as there were steps.
    assert metrics["episode_length"].weight.sum() == 2 * algorithm.steps_per_update(config)
    policy = lambda *inputs: algorithm.policy(*inputs, True)  # noqa: E731
    learner = jax.tree.map(lambda leaf: np.asarray(leaf)[None], state.learner)
    each = jax.tree.map(lambda leaf: np.asarray(leaf)[None], params)
    episodes = evaluate(env, each, policy, learner, KEY, 4, 3)
    np.testing.assert_array_equal(episodes.episode_return, 1.0)
    assert episodes.solved.all()


def test_what_cannot_be_read_is_refused_in_one_line():
    env = Kinds(kind="dict")
    with pytest.raises(
        ValueError, match=r"of the kind Dict as they are; wrap the environment by envs\.encoded"
    ):
        make_actor_critic(env, env.default_params, "mlp")
    mixed = spaces.Dict({"tokens": spaces.Tokens(2, 3, 0), "number": spaces.Box(0, 1, ())})
    with pytest.raises(ValueError, match="of the kind Tokens are not handled here"):
        encoded_space(mixed)


def test_an_environment_that_cannot_be_made_here_is_one_line(monkeypatch):
    import gymnax  # noqa: PLC0415  takes seconds

    def fails(name):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(gymnax, "make", fails)
    with pytest.raises(ValueError, match="cannot be made") as refused:
        make_environment("MNISTBandit-bsuite")
    assert str(refused.value) == "MNISTBandit-bsuite cannot be made on this machine: no route to host"


def test_discrete_states_of_gymnax_are_seen_one_hot():
    env, params = make_environment("FrozenLake-misc")
    observation, state = env.reset_env(KEY, params)
    assert observation.shape == env.observation_space(params).shape == (16,)
    assert observation.sum() == 1
    after, *_ = env.step_env(KEY, state, jnp.int32(1), params)
    assert after.dtype == observation.dtype == bool
