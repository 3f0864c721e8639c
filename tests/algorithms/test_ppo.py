"""PPO on probes whose answer is known, and the identities that hold before the first step."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import ActionFollowsCue, ContinuousTarget, RewardIsCue, RewardOne

from envs.bikkle import Bikkle
from purerl.algorithms.epochs import num_microbatches
from purerl.algorithms.ppo import PPOConfig, make_ppo
from purerl.compile.program import sweep, train
from purerl.networks import NetworkConfig, make_actor_critic

SMALL = NetworkConfig(width=16, head_width=0, activation="tanh", shared_encoder=False)
CONFIG = PPOConfig(
    num_envs=16,
    num_steps=8,
    num_epochs=4,
    num_minibatches=4,
    microbatch_size=0,
    learning_rate=1e-2,
    gamma=0.5,
    normalize_rewards=False,
    stagger=False,
)
SEEDS = jax.vmap(jax.random.key)(jnp.arange(5))


def learn(env, num_updates=60, **changes):
    """Trained learners of five seeds, the network and the metrics."""
    params = env.default_params
    network = make_actor_critic(env, params, "mlp", SMALL)
    config = CONFIG.replace(env_params=params, total_updates=num_updates, **changes)
    algorithm = make_ppo(env, network)
    state, metrics = jax.jit(lambda keys: sweep(algorithm, config, keys, num_updates))(SEEDS)
    return state.learner, network, metrics


def outputs(network, learner, observation):
    """The most likely actions [S, B, ...] and the values [S, B] of all seeds."""

    def apply(params):
        policy, value = network.apply(params, observation)
        return policy.mode(), value

    return jax.vmap(apply)(learner.params)


def test_the_critic_finds_a_value_of_one():
    learner, network, _ = learn(RewardOne())
    _, value = outputs(network, learner, jnp.array([[1.0, 1.0]]))
    np.testing.assert_allclose(value, 1.0, atol=0.05)


def test_the_critic_finds_a_value_that_depends_on_the_observation():
    learner, network, _ = learn(RewardIsCue())
    _, value = outputs(network, learner, jnp.array([[1.0, 1.0], [-1.0, 1.0]]))
    np.testing.assert_allclose(value, np.tile([1.0, -1.0], (5, 1)), atol=0.1)


@pytest.mark.parametrize(("terminates", "expected"), [(True, 1.0), (False, 2.0)])
def test_truncation_bootstraps_and_termination_does_not(terminates, expected):
    # One step an episode, reward 1, gamma 0.5, the same observation for ever. Cut by a limit the value is
    # 1 + 0.5 + 0.25 + ... = 2; ended by the rules it is 1.
    env = RewardOne(ends_after=1, terminates=terminates, shows_cue=False)
    learner, network, _ = learn(env)
    _, value = outputs(network, learner, jnp.array([[0.0, 1.0]]))
    np.testing.assert_allclose(value, expected, atol=0.1)


def test_the_policy_learns_which_action_is_right():
    learner, network, _ = learn(ActionFollowsCue(num_actions=2))
    action, _ = outputs(network, learner, jnp.array([[1.0, 1.0], [-1.0, 1.0]]))
    assert (action == jnp.array([1, 0])).all()


def test_a_continuous_policy_learns_where_to_go():
    learner, network, _ = learn(ContinuousTarget(), num_updates=150)
    action, _ = outputs(network, learner, jnp.array([[1.0, 1.0], [-1.0, 1.0]]))
    np.testing.assert_allclose(action[..., 0], np.tile([0.5, -0.5], (5, 1)), atol=0.15)


@pytest.mark.parametrize(
    ("name", "normalized"), [("attention", False), ("deepsets", False), ("mlp", False), ("attention", True)]
)
def test_the_ratio_is_one_before_the_first_gradient_step(name, normalized):
    # One minibatch, one epoch: everything measured in an update is measured before its only step. In the
    # second update, the moments of the observations have moved.
    env = Bikkle(4)
    network = make_actor_critic(env, env.default_params, name, NetworkConfig(width=16))
    config = CONFIG.replace(env_params=env.default_params, num_epochs=1, num_minibatches=1)
    config = config.replace(normalize_observations=normalized)
    _, metrics = jax.jit(partial(train, make_ppo(env, network), num_updates=2))(config, jax.random.key(0))
    assert (metrics["approx_kl"] < 1e-10).all()
    assert (metrics["clip_fraction"] == 0).all()


def test_microbatches_change_nothing_but_the_speed():
    env = RewardIsCue()
    network = make_actor_critic(env, env.default_params, "mlp", SMALL)

    def params(microbatch_size):
        config = CONFIG.replace(
            num_epochs=1, env_params=env.default_params, microbatch_size=microbatch_size, learning_rate=1e-3
        )
        state, _ = jax.jit(partial(train, make_ppo(env, network), num_updates=1))(config, jax.random.key(0))
        return state.learner.params

    jax.tree.map(partial(np.testing.assert_allclose, atol=2e-5), params(0), params(8))


def test_a_minibatch_is_cut_into_the_fewest_equal_parts():
    assert num_microbatches(1024, 128) == 8
    assert num_microbatches(100, 30) == 4  # 4 x 25; 100 does not go into 3
    assert num_microbatches(7, 3) == 7  # a prime number
    assert num_microbatches(64, 0) == 1


def test_a_seed_alone_equals_the_same_seed_inside_a_vmap():
    env = Bikkle(4)
    params = env.default_params
    network = make_actor_critic(env, params, "mlp", SMALL)
    config = CONFIG.replace(env_params=params, learning_rate=1e-3, num_epochs=1)
    algorithm = make_ppo(env, network)
    together, _ = jax.jit(lambda keys: sweep(algorithm, config, keys, 2))(SEEDS)
    alone, _ = jax.jit(lambda key: train(algorithm, config, key, 2))(SEEDS[3])
    # The draws: levels and environment states of the second update, which no rounding can have touched.
    same = lambda a, b: np.testing.assert_array_equal(a[3], b)  # noqa: E731
    levels = [state.curriculum.pool.env_state.pellet_x for state in (together, alone)]
    same(*levels)
    same(jax.random.key_data(together.key), jax.random.key_data(alone.key))
    close = lambda a, b: np.testing.assert_allclose(a[3], b, atol=2e-4)  # noqa: E731
    jax.tree.map(close, together.learner.params, alone.learner.params)
    spread = jax.tree.map(lambda leaf: jnp.abs(leaf[0] - leaf[1]).max(), together.learner.params)
    assert max(jax.tree.leaves(spread)) > 0.01


def test_no_key_is_used_twice():
    env = RewardIsCue()
    network = make_actor_critic(env, env.default_params, "mlp", SMALL)
    config = CONFIG.replace(env_params=env.default_params)
    algorithm = make_ppo(env, network)
    with jax.debug_key_reuse(True):
        state = jax.jit(algorithm.init)(jax.random.key(0), config)
        jax.jit(algorithm.update)(state, config)


def test_an_update_is_traced_once():
    env = RewardIsCue()
    network = make_actor_critic(env, env.default_params, "mlp", SMALL)
    config = jax.tree.map(jnp.asarray, CONFIG.replace(env_params=env.default_params))
    algorithm = make_ppo(env, network)
    traces = []

    @jax.jit
    def update(state):
        traces.append(1)
        return algorithm.update(state, config)[0]

    state = jax.jit(algorithm.init)(jax.random.key(0), config)
    for _ in range(3):
        state = update(state)
    assert len(traces) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_minibatches": 3}, r"num_envs \* num_steps = 128 is not divisible by num_minibatches = 3"),
        ({"learning_rate": -1.0}, "learning_rate = -1.0 must be above 0"),
        ({"gamma": 1.5}, "gamma = 1.5 must lie between 0 and 1"),
        ({"num_envs": 0}, "num_envs = 0 must be at least 1"),
        ({"clip": 0.0}, "clip = 0.0 must be above 0"),
        ({"entropy_coefficient": -0.1}, "entropy_coefficient = -0.1 must be 0 or more"),
        ({"learning_rate": float("nan")}, "learning_rate = nan must be above 0"),
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        check_ppo(CONFIG.replace(**changes))
