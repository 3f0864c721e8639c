"""What is DQN's own: its variants, its targets as worked arithmetic, its replay."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from probes import ActionFollowsCue, ContinuousTarget, RewardIsCue

from purerl.algorithms.dqn import DQNConfig, make_dqn
from purerl.algorithms.exploration import epsilon_greedy, spread_rates
from purerl.compile.program import train_sums
from purerl.functional import losses
from purerl.functional.metrics import as_means
from purerl.functional.schedules import exploration_rate
from purerl.networks import QNetworkConfig, make_q_network
from purerl.replay.rows import unpack

SMALL = QNetworkConfig(width=16, head_width=16)
CONFIG = DQNConfig(
    num_envs=8,
    num_steps=20,
    batch_size=32,
    buffer_size=800,
    warmup_steps=100,
    learning_rate=1e-2,
    gamma=0.5,
    target_every=10,
    stagger=False,
)
SEEDS = jax.vmap(jax.random.key)(jnp.arange(5))


@cache
def runner(env, net, num_updates):
    """The network, and a compiled run of five seeds, for all configurations that differ in numbers alone."""
    network = make_q_network(env, env.default_params, "mlp", net)
    algorithm = make_dqn(env, network)
    run_of = jax.vmap(lambda config, key: train_sums(algorithm, config, key, num_updates), (None, 0))
    return network, jax.jit(run_of)


def learn(env, num_updates=30, net=SMALL, **changes):
    """Trained learners of five seeds, the network and the sums of metrics."""
    config = CONFIG.replace(env_params=env.default_params, total_updates=num_updates, **changes)
    network, run = runner(env, net, num_updates)
    state, metrics = run(config, SEEDS)
    return state.learner, network, metrics


def values(network, learner, observation):
    """Action values [S, A, B] of all seeds."""
    return jax.vmap(lambda params: network.apply(params, observation))(learner.params)


@pytest.mark.parametrize(
    ("net", "changes"),
    [
        ({}, {"double": False}),
        ({"dueling": True}, {"num_gradient_steps": 4, "learn_every": 2}),
        ({"layer_norm": True}, {"prioritized": True, "target_every": 1, "tau": 0.1}),
        ({}, {"event_share": 0.5, "epsilon_spread": 3.0, "huber_delta": float("inf")}),
    ],
)
def test_every_variant_learns_which_action_is_right(net, changes):
    learner, network, _ = learn(ActionFollowsCue(num_actions=2), net=SMALL.replace(**net), **changes)
    best = values(network, learner, jnp.array([[1.0, 1.0], [-1.0, 1.0]])).argmax(1)
    assert (best == jnp.array([1, 0])).all()


def test_targets_are_those_of_the_papers():
    # Two actions, three samples. Q-learning takes the highest value of the target network: 2, 5, 1; double
    # Q-learning the target network's value of the action that the other network prefers: 2, 3, 1.
    target_value = jnp.array([[2.0, 3.0, 1.0], [0.0, 5.0, -1.0]])
    online_value = jnp.array([[4.0, 9.0, 0.5], [3.0, 8.0, 0.0]])
    reward, discount = jnp.array([1.0, 0.0, -1.0]), jnp.array([0.5, 0.9, 0.0])
    plain = losses.q_learning_target(reward, discount, target_value, target_value)
    double = losses.q_learning_target(reward, discount, target_value, online_value)
    np.testing.assert_allclose(plain, [1 + 0.5 * 2, 0.9 * 5, -1.0])
    np.testing.assert_allclose(double, [1 + 0.5 * 2, 0.9 * 3, -1.0])


def test_the_huber_loss_is_half_the_square_and_then_linear():
    error = jnp.array([-3.0, -0.5, 0.0, 2.0])
    np.testing.assert_allclose(losses.huber(error, 1.0), [2.5, 0.125, 0.0, 1.5])
    np.testing.assert_allclose(losses.huber(error, jnp.inf), [4.5, 0.125, 0.0, 2.0])
    slope = jax.vmap(jax.grad(losses.huber), (0, None))
    np.testing.assert_allclose(slope(error, 1.0), [-1.0, -0.5, 0.0, 1.0])
    np.testing.assert_allclose(slope(error, jnp.inf), error)


def test_a_dueling_head_adds_a_value_and_centered_advantages():
    env = ActionFollowsCue(num_actions=3)
    network = make_q_network(env, env.default_params, "mlp", SMALL.replace(dueling=True))
    observation = jax.random.normal(jax.random.key(0), (4, 2))
    params = network.init(jax.random.key(1), observation)
    _, kept = network.apply(params, observation, capture_intermediates=True)
    value, advantage = (
        kept["intermediates"][f"{name}_out"]["__call__"][0] for name in ("value", "advantage")
    )
    found = network.apply(params, observation)
    np.testing.assert_allclose(found.mean(0), value[0], atol=1e-6)
    np.testing.assert_allclose(found - found.mean(0), advantage - advantage.mean(0), atol=1e-6)


def test_epsilon_falls_and_spreads_over_environments():
    half = CONFIG.replace(exploration_share=0.5, total_updates=1)
    rate = lambda done: exploration_rate(half, jnp.float32(done))  # noqa: E731
    # From 1 to 0.05 in the first half: half-way of that, 0.525.
    np.testing.assert_allclose(
        [rate(0.0), rate(0.25), rate(0.5), rate(1.0)], [1.0, 0.525, 0.05, 0.05], rtol=1e-6
    )
    # Exponents 1, 4.5 and 8 with a spread of 7.
    np.testing.assert_allclose(
        spread_rates(jnp.float32(0.5), 7.0, 3), 0.5 ** np.array([1.0, 4.5, 8.0]), rtol=1e-6
    )
    value = jnp.tile(jnp.array([[0.0], [1.0], [0.5], [0.2]]), (1, 40_000))
    action = epsilon_greedy(value, jax.random.key(0), 0.4)
    # The best action: 0.6 greedily and a quarter of 0.4 by chance.
    np.testing.assert_allclose(np.bincount(action) / 40_000, [0.1, 0.7, 0.1, 0.1], atol=0.01)


@pytest.mark.parametrize(("target_every", "same"), [(1, True), (10**6, False)])
def test_the_target_network_is_a_copy_where_it_moves_each_time(target_every, same):
    learner, _, _ = learn(RewardIsCue(), num_updates=3, target_every=target_every)
    gap = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), learner.params, learner.target_params)
    assert (max(jax.tree.leaves(gap)) == 0) == same


def test_rows_that_were_never_written_look_like_a_first_observation():
    env = RewardIsCue()
    config = CONFIG.replace(env_params=env.default_params)
    state = make_dqn(env, make_q_network(env, env.default_params, "mlp", SMALL)).init(
        jax.random.key(0), config
    )
    rows = unpack(state.actor.replay.storage.rows).observation
    np.testing.assert_array_equal(rows, np.broadcast_to(state.actor.environments.observation[0], rows.shape))


def test_nothing_is_learnt_before_the_warm_up_is_over():
    _, _, metrics = learn(RewardIsCue(), num_updates=3, warmup_steps=400, buffer_size=800)
    # Three updates of 160 steps: the first two are warm-up, and half of the third.
    assert (metrics["loss"].weight[:, :2] == 0).all()
    assert (metrics["loss"].weight[:, 2] == 11 * 32).all()  # 400 = 2.5 * 160: from the tenth of 20 rounds on


def test_a_configuration_that_cannot_run_is_refused_where_a_run_begins():
    env = RewardIsCue()
    algorithm = make_dqn(env, make_q_network(env, env.default_params, "mlp", SMALL))
    config = CONFIG.replace(env_params=env.default_params, learn_every=3)
    with pytest.raises(ValueError, match="not divisible by learn_every = 3"):
        jax.eval_shape(partial(algorithm.init, config=config), jax.random.key(0))


def test_a_loss_and_an_optimizer_of_ones_own_are_arguments():
    # An optimizer that takes no step leaves the parameters as they were, whatever the loss.
    def loss(network, params, batch, config):
        value = network.apply(params, batch.sample.observation)[0]
        return value.mean(), (jnp.abs(value), as_means({"my_value": value}))

    env = RewardIsCue()
    network = make_q_network(env, env.default_params, "mlp", SMALL)
    algorithm = make_dqn(env, network, loss=loss, optimizer=lambda config, rate: optax.sgd(0.0))
    config = CONFIG.replace(env_params=env.default_params)
    state = algorithm.init(jax.random.key(0), config)
    after, metrics = jax.jit(partial(algorithm.update, config=config))(state)
    assert metrics["my_value"].weight == 8 * 32  # 100 steps of warm-up: from the 13th of 20 rounds on
    assert "q_value" not in metrics.names
    jax.tree.map(np.testing.assert_array_equal, after.learner.params, state.learner.params)


def test_continuous_actions_are_refused():
    with pytest.raises(ValueError, match="discrete actions"):
        make_q_network(ContinuousTarget(), ContinuousTarget().default_params)


def test_the_compiled_update_copies_no_replay():
    env = ActionFollowsCue(num_actions=2)
    network = make_q_network(env, env.default_params, "mlp", SMALL)
    for prioritized in (False, True):
        config = CONFIG.replace(
            env_params=env.default_params, buffer_size=800_000, prioritized=prioritized, num_gradient_steps=2
        )
        algorithm = make_dqn(env, network)
        state = jax.eval_shape(partial(algorithm.init, config=config), jax.random.key(0))
        compiled = jax.jit(partial(algorithm.update, config=config), donate_argnums=0).lower(state).compile()
        needs = compiled.memory_analysis()
        assert needs.temp_size_in_bytes < 0.05 * needs.argument_size_in_bytes
