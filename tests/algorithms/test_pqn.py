"""PQN on probes whose answer is known, and its return against a plain loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import ActionFollowsCue, RewardIsCue, RewardOne

from purerl.algorithms.pqn import PQNConfig, make_pqn
from purerl.compile.program import sweep, train
from purerl.functional.returns import gae
from purerl.networks import QNetworkConfig, make_q_network

SMALL = QNetworkConfig(width=16, head_width=0, layer_norm=True)
CONFIG = PQNConfig(
    num_envs=16,
    num_steps=8,
    num_epochs=2,
    num_minibatches=4,
    microbatch_size=0,
    learning_rate=1e-2,
    gamma=0.5,
    stagger=False,
)
SEEDS = jax.vmap(jax.random.key)(jnp.arange(5))


def learn(env, num_updates=60, **changes):
    """Trained learners of five seeds, and the network."""
    network = make_q_network(env, env.default_params, "mlp", SMALL)
    config = CONFIG.replace(env_params=env.default_params, total_updates=num_updates, **changes)
    algorithm = make_pqn(env, network)
    state, _ = jax.jit(lambda keys: sweep(algorithm, config, keys, num_updates))(SEEDS)
    return state.learner, network


def values(network, learner, observation):
    """Action values [S, A, B] of all seeds."""
    return jax.vmap(lambda params: network.apply(params, observation))(learner.params)


@pytest.mark.parametrize(("terminates", "expected"), [(True, 1.0), (False, 2.0)])
def test_truncation_bootstraps_and_termination_does_not(terminates, expected):
    # As for DQN: 1 where the episode ends by the rules, 1 + 0.5 + 0.25 + ... = 2 where it is cut.
    learner, network = learn(RewardOne(ends_after=1, terminates=terminates, shows_cue=False))
    np.testing.assert_allclose(values(network, learner, jnp.array([[0.0, 1.0]])), expected, atol=0.1)


def test_the_network_finds_a_value_that_depends_on_the_observation():
    learner, network = learn(RewardIsCue())
    found = values(network, learner, jnp.array([[1.0, 1.0], [-1.0, 1.0]]))
    np.testing.assert_allclose(found, np.tile([1.0, -1.0], (5, 1, 1)), atol=0.1)


def test_the_network_learns_which_action_is_right():
    learner, network = learn(ActionFollowsCue(num_actions=2))
    best = values(network, learner, jnp.array([[1.0, 1.0], [-1.0, 1.0]])).argmax(1)
    assert (best == jnp.array([1, 0])).all()


def test_advantages_over_the_highest_value_are_the_lambda_return():
    random = np.random.default_rng(0)
    reward, value, next_value = random.normal(size=(3, 9, 2)).astype(np.float32)
    terminated, truncated = random.random((2, 9, 2)) < 0.2
    gamma, decay = 0.9, 0.65
    expected = np.zeros_like(reward)
    for env in range(2):
        for t in reversed(range(9)):
            at = (t, env)
            goes_on = not (terminated[at] or truncated[at])
            following = expected[t + 1, env] if t < 8 and goes_on else next_value[at]
            # Where the episode goes on, the next step's value is what this step's successor was worth.
            bootstrap = value[t + 1, env] if t < 8 and goes_on else next_value[at]
            mixed = (1 - decay) * bootstrap + decay * following
            expected[at] = reward[at] + (0.0 if terminated[at] else gamma * mixed)
    after = np.roll(value, -1, axis=0)
    cut = terminated | truncated | (np.arange(9)[:, None] == 8)
    found = gae(reward, value, np.where(cut, next_value, after), terminated, truncated, gamma, decay) + value
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_seed_alone_equals_the_same_seed_inside_a_vmap():
    env = ActionFollowsCue(num_actions=2)
    network = make_q_network(env, env.default_params, "mlp", SMALL)
    config = CONFIG.replace(env_params=env.default_params, total_updates=4)
    algorithm = make_pqn(env, network)
    together, _ = jax.jit(lambda keys: sweep(algorithm, config, keys, 2))(SEEDS)
    alone, _ = jax.jit(lambda key: train(algorithm, config, key, 2))(SEEDS[3])
    np.testing.assert_array_equal(together.actor.env_state.cue[3], alone.actor.env_state.cue)
    close = lambda a, b: np.testing.assert_allclose(a[3], b, atol=2e-4)  # noqa: E731
    jax.tree.map(close, together.learner.params, alone.learner.params)


def test_no_key_is_used_twice():
    env = RewardIsCue()
    network = make_q_network(env, env.default_params, "mlp", SMALL)
    config = CONFIG.replace(env_params=env.default_params)
    algorithm = make_pqn(env, network)
    with jax.debug_key_reuse(True):
        state = jax.jit(algorithm.init)(jax.random.key(0), config)
        jax.jit(algorithm.update)(state, config)


def test_a_picture_becomes_one_vector_however_its_pixels_are_typed():
    class Pictures(RewardOne):
        def observation_space(self, params):
            return jax.ShapeDtypeStruct((10, 10, 4), bool)

    env = Pictures()
    network = make_q_network(
        env, env.default_params, "image", QNetworkConfig(channels=4, width=8, layer_norm=True)
    )
    pixels = jax.random.bernoulli(jax.random.key(0), shape=(5, 10, 10, 4))
    params = network.init(jax.random.key(1), pixels)
    assert network.apply(params, pixels).shape == (1, 5)
    np.testing.assert_array_equal(
        network.apply(params, pixels), network.apply(params, 255 * pixels.astype(jnp.uint8))
    )
    # 3 x 3 windows of 4 channels without padding leave 8 x 8 pixels of 4 features: 256 inputs of the layer.
    assert params["params"]["encoder"]["MLP_0"]["Dense_0"]["kernel"].shape == (256, 8)
    with pytest.raises(ValueError, match="use network 'mlp'"):
        make_q_network(RewardOne(), RewardOne().default_params, "image")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_minibatches": 3}, r"num_envs \* num_steps = 128 is not divisible by num_minibatches = 3"),
        ({"return_lambda": 1.5}, "return_lambda = 1.5 must lie between 0 and 1"),
        ({"num_envs": 0}, "num_envs = 0 must be at least 1"),
        ({"huber_delta": 0.0}, "huber_delta = 0.0 must be above 0"),
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        check_pqn(CONFIG.replace(**changes))
