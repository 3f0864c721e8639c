"""GRPO: groups that begin at one level and are compared with each other, without a critic."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import ActionFollowsCue

from purerl.algorithms.grpo import GRPOConfig, group_advantage, make_grpo, start_groups
from purerl.compile.program import sweep
from purerl.networks import NetworkConfig, make_actor_critic
from purerl.types import Transition

ENV = ActionFollowsCue(num_actions=2)
NETWORK = make_actor_critic(
    ENV,
    ENV.default_params,
    "mlp",
    NetworkConfig(width=16, head_width=0, activation="tanh", shared_encoder=False),
)
CONFIG = GRPOConfig(
    num_envs=16,
    num_steps=8,
    num_epochs=2,
    num_minibatches=2,
    microbatch_size=0,
    group_size=4,
    learning_rate=1e-2,
    gamma=0.5,
    normalize_rewards=False,
    stagger=False,
    env_params=ENV.default_params,
)


def test_members_of_a_group_are_compared_by_their_first_episodes():
    random = np.random.default_rng(0)
    reward = random.normal(size=(6, 8)).astype(np.float32)
    terminated, truncated = random.random((2, 6, 8)) < 0.15
    advantage, target, first = group_advantage(transitions_of(reward, terminated, truncated), 4, 0.9)
    returns, lengths = np.zeros(8), np.zeros(8, int)
    for env in range(8):
        for t in range(6):
            returns[env] += 0.9**t * reward[t, env]
            lengths[env] = t + 1
            if terminated[t, env] or truncated[t, env]:
                break
    assert lengths.min() < 6 == lengths.max()
    np.testing.assert_array_equal(first, np.arange(6)[:, None] < lengths)
    np.testing.assert_allclose(target, np.tile(returns, (6, 1)), rtol=1e-5)
    for group in (slice(0, 4), slice(4, 8)):
        expected = (returns[group] - returns[group].mean()) / returns[group].std()
        np.testing.assert_allclose(advantage[:, group], np.tile(expected, (6, 1)), rtol=1e-4)


@pytest.mark.parametrize("group_size", [6, 8, 16])
def test_members_of_a_group_that_tie_have_no_advantage(group_size):
    # Each member earns 0.1, 0.2, ... 0.8, 3.6 in all, in an order of its own: float32 sums differ in their
    # last digits, which divided by their own deviation would be advantages above 1.
    random = np.random.default_rng(group_size)
    tenths = np.append(np.arange(1, 9) / 10, np.zeros(24))
    orders = [random.permutation(tenths) for _ in range(3 * group_size)]
    reward = np.stack(orders, axis=1).astype(np.float32)
    assert len({float(np.add.accumulate(order)[-1]) for order in reward.T}) > 1
    never = np.zeros(reward.shape, bool)
    advantage, target, _ = group_advantage(transitions_of(reward, never, never), group_size, 1.0)
    np.testing.assert_array_equal(advantage, 0.0)
    np.testing.assert_allclose(target, 3.6, rtol=1e-6)
    # One member that earns 0.01 more is no rounding: it stands out by sqrt(G - 1) deviations.
    reward[-1, 0] += 0.01
    advantage, _, _ = group_advantage(transitions_of(reward, never, never), group_size, 1.0)
    np.testing.assert_allclose(advantage[0, 0], np.sqrt(group_size - 1), rtol=1e-3)
    np.testing.assert_array_equal(advantage[:, group_size:], 0.0)


def test_a_group_that_ties_stays_without_advantage_beside_one_that_does_not():
    # Two groups of two: rewards 1 and 1, and 3 and 1 with episodes of two and of one step. The mean over the
    # samples of the second is not 0, and would pull the first away from it.
    reward = np.array([[1.0, 1.0, 3.0, 1.0], [0.0, 0.0, 0.0, 0.0]], np.float32)
    ends = np.array([[False, False, False, True], [True, True, True, True]])
    advantage, _, _ = group_advantage(transitions_of(reward, ends, np.zeros_like(ends)), 2, 1.0)
    np.testing.assert_array_equal(advantage[:, :2], 0.0)
    np.testing.assert_allclose(advantage[0, 2:], [1.0, -1.0], rtol=1e-5)


def transitions_of(reward, terminated, truncated):
    nothing = jnp.zeros(reward.shape)
    return Transition(
        observation=nothing,
        action=nothing,
        log_prob=nothing,
        value=nothing,
        reward=jnp.asarray(reward),
        terminated=jnp.asarray(terminated),
        truncated=jnp.asarray(truncated),
        next_value=nothing,
    )


def test_a_group_starts_from_one_level():
    state = make_grpo(ENV, NETWORK).init(jax.random.key(1), CONFIG.replace(num_levels=64))
    pool = state.curriculum.pool
    actor = start_groups(state.actor, pool, jax.random.key(2), 4)
    slots = np.asarray(actor.slot).reshape(4, 4)
    assert (slots == slots[:, :1]).all()
    assert len(set(slots[:, 0])) > 1
    np.testing.assert_array_equal(actor.env_state.cue, pool.env_state.cue[actor.slot])


def test_groups_teach_the_right_action_without_a_critic():
    config = CONFIG.replace(group_size=8, num_steps=1, num_minibatches=1, total_updates=60)
    algorithm = make_grpo(ENV, NETWORK)
    keys = jax.vmap(jax.random.key)(jnp.arange(3))
    state, metrics = jax.jit(lambda keys: sweep(algorithm, config, keys, 60))(keys)
    observation = jnp.array([[1.0, 1.0], [-1.0, 1.0]])
    policy = lambda params: NETWORK.apply(params, observation)[0].mode()  # noqa: E731
    assert (jax.vmap(policy)(state.learner.params) == jnp.array([1, 0])).all()
    before = jax.vmap(lambda key: algorithm.init(key, config))(keys).learner.params["params"]
    for name in ("critic_encoder", "critic_out"):
        jax.tree.map(np.testing.assert_array_equal, state.learner.params["params"][name], before[name])
    assert "explained_variance" not in metrics and "return_variance" in metrics


def test_no_key_is_used_twice_where_groups_begin():
    config = CONFIG
    algorithm = make_grpo(ENV, NETWORK)
    with jax.debug_key_reuse(True):
        state = jax.jit(algorithm.init)(jax.random.key(0), config)
        jax.jit(algorithm.update)(state, config)


@pytest.mark.parametrize(
    ("changes", "shards", "message"),
    [
        ({"group_size": 1}, 1, "group_size = 1 must be at least 2"),
        ({"group_size": 5}, 1, "num_envs = 16 is not divisible by group_size = 5; try num_envs = 20"),
        (
            {"group_size": 8},
            4,
            "num_envs = 16 is not divisible by group_size = 8 over 4 devices; try num_envs = 32",
        ),
    ],
)
def test_groups_that_cannot_be_formed_are_refused(changes, shards, message):
    with pytest.raises(ValueError, match=message):
        make_grpo(ENV, NETWORK).check(CONFIG.replace(**changes), shards)
