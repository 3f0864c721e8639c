"""Aids to training: a step size that follows the KL, groups for a critic, precision, residual streams."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import ActionFollowsCue

from purerl.algorithms.grpo import group_advantage, start_groups
from purerl.algorithms.ppo import make_ppo
from purerl.algorithms.ppo_config import PPOConfig, check_ppo
from purerl.algorithms.ppo_learning import adapted_rate, prepare
from purerl.compile.program import sweep, train
from purerl.functional.normalize import init_moments
from purerl.networks import NetworkConfig, make_actor_critic
from purerl.networks.kernels.dense import matmul
from purerl.networks.sets import SetAttentionEncoder
from purerl.rollout.levels import LevelTrace
from purerl.types import TokenGroup, Transition

ENV = ActionFollowsCue(num_actions=2)
NETWORK = make_actor_critic(
    ENV,
    ENV.default_params,
    "mlp",
    NetworkConfig(width=16, head_width=0, activation="tanh", shared_encoder=False),
)
CONFIG = PPOConfig(
    num_envs=16,
    num_steps=8,
    num_epochs=2,
    num_minibatches=2,
    microbatch_size=0,
    learning_rate=1e-2,
    gamma=0.5,
    normalize_rewards=False,
    stagger=False,
    env_params=ENV.default_params,
)


def learn(num_updates, **changes):
    config = CONFIG.replace(total_updates=num_updates, **changes)
    return jax.jit(partial(train, make_ppo(ENV, NETWORK), config, num_updates=num_updates))(jax.random.key(0))


def mean(metrics, name):
    return np.asarray(metrics[name])


def test_the_step_size_falls_above_twice_the_target_and_rises_below_half_of_it():
    kl = jnp.array([0.0201, 0.0199, 0.0051, 0.0049])
    np.testing.assert_allclose(adapted_rate(3e-3, kl, 0.01), [2e-3, 3e-3, 3e-3, 4.5e-3], rtol=1e-6)
    np.testing.assert_allclose(adapted_rate(1.2e-5, kl[:1], 0.01), 1e-5, rtol=1e-6)
    np.testing.assert_allclose(adapted_rate(9e-3, kl[-1:], 0.01), 1e-2, rtol=1e-6)


def test_the_step_size_in_force_follows_the_kl_of_each_update():
    state, metrics = learn(12, kl_target=0.01, learning_rate=1e-4)
    rate, kl = mean(metrics, "learning_rate"), mean(metrics, "approx_kl")
    expected = [1e-4]
    for each in kl:
        expected.append(float(adapted_rate(jnp.float32(expected[-1]), each, 0.01)))
    np.testing.assert_allclose(rate, expected[:-1], rtol=1e-5)
    np.testing.assert_allclose(state.learner.rate, expected[-1], rtol=1e-5)
    assert len(set(rate)) > 3
    assert jax.eval_shape(make_ppo(ENV, NETWORK).init, jax.random.key(0), CONFIG).learner.rate is None


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
    transitions = transitions_of(reward, ends, np.zeros_like(ends))
    zeros = jnp.zeros((2, 4))
    trace = LevelTrace(
        slot=zeros.astype(jnp.int32),
        learnable=zeros == 0,
        whole=zeros == 0,
        ended=ends,
        truncated=zeros > 0,
        solved=ends,
        reward=reward,
    )
    config = CONFIG.replace(group_size=2, gamma=1.0)
    batch, *_ = prepare(transitions, trace, jnp.zeros(4), init_moments(), config, None)
    np.testing.assert_array_equal(batch.advantage[:, :2], 0.0)
    np.testing.assert_allclose(batch.advantage[0, 2:], [1.0, -1.0], rtol=1e-5)


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
    state = make_ppo(ENV, NETWORK).init(jax.random.key(1), CONFIG.replace(num_levels=64))
    pool = state.curriculum.pool
    actor = start_groups(state.actor, pool, jax.random.key(2), 4)
    slots = np.asarray(actor.slot).reshape(4, 4)
    assert (slots == slots[:, :1]).all()
    assert len(set(slots[:, 0])) > 1
    np.testing.assert_array_equal(actor.env_state.cue, pool.env_state.cue[actor.slot])
    with pytest.raises(ValueError, match="group_size = 5 does not divide the 16 environments"):
        start_groups(state.actor, pool, jax.random.key(2), 5)


def test_groups_teach_the_right_action_without_a_critic():
    config = CONFIG.replace(group_size=8, num_steps=1, num_minibatches=1, total_updates=60)
    algorithm = make_ppo(ENV, NETWORK)
    keys = jax.vmap(jax.random.key)(jnp.arange(3))
    state, metrics = jax.jit(lambda keys: sweep(algorithm, config, keys, 60))(keys)
    observation = jnp.array([[1.0, 1.0], [-1.0, 1.0]])
    policy = lambda params: NETWORK.apply(params, observation)[0].mode()  # noqa: E731
    assert (jax.vmap(policy)(state.learner.params) == jnp.array([1, 0])).all()
    before = jax.vmap(lambda key: algorithm.init(key, config))(keys).learner.params["params"]
    for name in ("critic_encoder", "critic_out"):
        jax.tree.map(np.testing.assert_array_equal, state.learner.params["params"][name], before[name])
    assert metrics["episode_return"].shape == (3, 60)  # a mean for each seed and update
    assert "explained_variance" not in metrics and "return_variance" in metrics


def test_no_key_is_used_twice_where_groups_begin():
    config = CONFIG.replace(group_size=4, kl_target=0.01)
    algorithm = make_ppo(ENV, NETWORK)
    with jax.debug_key_reuse(True):
        state = jax.jit(algorithm.init)(jax.random.key(0), config)
        jax.jit(algorithm.update)(state, config)


def test_products_are_rounded_to_bfloat16_and_summed_in_float32():
    kernel, x = jax.random.normal(jax.random.key(0), (2, 64, 512))
    product = lambda: jax.vjp(matmul, kernel, x)  # noqa: E731
    exact, exact_back = product()
    with jax.default_matmul_precision("bfloat16"):
        rounded, rounded_back = product()
    half = lambda array: np.asarray(array.astype(jnp.bfloat16), np.float32)  # noqa: E731
    np.testing.assert_allclose(rounded, half(kernel).T @ half(x), rtol=1e-4, atol=1e-4)
    assert rounded.dtype == jnp.float32 and abs(rounded - exact).max() > 1e-3
    for a, b in zip(rounded_back(exact), exact_back(exact), strict=True):
        assert a.dtype == jnp.float32
        np.testing.assert_allclose(a, b, rtol=0.05, atol=0.02 * float(jnp.abs(b).max()))


def test_a_policy_of_bfloat16_products_has_float32_parameters_and_a_ratio_of_one():
    state, metrics = learn(2, precision="bfloat16", num_epochs=1, num_minibatches=1)
    assert {leaf.dtype for leaf in jax.tree.leaves(state.learner.params)} == {jnp.dtype("float32")}
    assert (mean(metrics, "approx_kl") < 1e-10).all()
    exact, _ = learn(2, num_epochs=1, num_minibatches=1)
    spread = jax.tree.map(lambda a, b: abs(a - b).max(), state.learner.params, exact.learner.params)
    assert 0 < max(jax.tree.leaves(spread)) < 0.1


def tokens(key):
    values = jax.random.normal(key, (4, 3, 2))
    here = jnp.ones((4, 1), bool)
    return {
        "agent": TokenGroup(values=jnp.ones((4, 1, 2)), mask=here, kind=0),
        "others": TokenGroup(values=values, mask=jnp.ones((4, 3), bool), kind=1),
    }


def encode(observation, **options):
    encoder = SetAttentionEncoder(width=8, num_heads=2, feed_forward=8, **options)
    params = jax.jit(encoder.init)(jax.random.key(0), observation)
    return np.asarray(jax.jit(encoder.apply)(params, observation)), params["params"]


@pytest.mark.parametrize(
    "layers", [{"num_summary_layers": 2}, {"num_self_layers": 2, "num_summary_layers": 0}]
)
def test_where_a_network_normalizes(layers):
    observation = tokens(jax.random.key(1))
    norms = {}
    for where in ("pre", "post", "none"):
        out, params = encode(observation, normalization=where, **layers)
        paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(params)[0]]
        norms[where] = sum("LayerNorm" in path for path in paths) // 2
        centered = abs(out.mean(1)).max() < 1e-5
        assert centered == (where != "none")
    assert norms == {"pre": 5, "post": 4, "none": 0}


def test_residual_branches_that_start_at_zero_add_nothing():
    one, other = tokens(jax.random.key(1)), tokens(jax.random.key(2))
    np.testing.assert_array_equal(*(encode(each, residual_start="zero")[0] for each in (one, other)))
    assert abs(encode(one)[0] - encode(other)[0]).max() > 0.01


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kl_target": -0.01}, "kl_target = -0.01 must be 0 or more"),
        ({"group_size": 1}, "group_size = 1 must be 0, or at least 2"),
        ({"group_size": 5}, "num_envs = 16 is not divisible by group_size = 5; try num_envs = 20"),
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        check_ppo(CONFIG.replace(**changes))
