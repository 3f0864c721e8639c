"""SAC on probes and bandits whose answer is known, and against worked arithmetic."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import ActionFollowsCue, ContinuousTarget, Probe, RewardIsCue, RewardOne

from purerl import spaces
from purerl.algorithms.sac import example_experience, make_sac, replay_of, to_bounds
from purerl.algorithms.sac_config import SACConfig, check_sac
from purerl.algorithms.sac_learning import flatten, init_learner, learn_from, unflatten
from purerl.algorithms.sac_losses import continuous_terms, sac_loss
from purerl.networks.soft_actor_critic import SoftNetworkConfig, make_soft_actor_critic
from purerl.replay import Sample
from purerl.train import sweep

SMALL = SoftNetworkConfig(width=16, head_width=0)
SMOOTH = SoftNetworkConfig(width=16, head_width=0, activation="tanh")
CONFIG = SACConfig(
    num_envs=8,
    num_iterations=16,
    num_gradient_steps=2,
    batch_size=32,
    capacity=2048,
    warmup_steps=64,
    learning_rate=1e-2,
    temperature_learning_rate=1e-2,
    initial_temperature=0.1,
    gamma=0.5,
    target_rate=0.05,
    stagger=False,
)
SEEDS = jax.vmap(jax.random.key)(jnp.arange(3))
CUES = jnp.array([[1.0, 1.0], [-1.0, 1.0]])


class ContinuousOne(RewardOne):
    """One number as an action, which changes nothing; reward 1."""

    def action_space(self, params):
        return spaces.Box(-1.0, 1.0, (1,))


class ContinuousCue(RewardIsCue):
    """The same, with the cue as the reward."""

    def action_space(self, params):
        return spaces.Box(-1.0, 1.0, (1,))


def learn(env, num_updates=12, network=SMALL, **changes):
    """Trained learners of three seeds, the network and the metrics."""
    params = env.default_params
    network = make_soft_actor_critic(env, params, "mlp", network)
    config = CONFIG.replace(env_params=params, **changes)
    algorithm = make_sac(env, network)
    state, metrics = jax.jit(lambda keys: sweep(algorithm, config, keys, num_updates))(SEEDS)
    return state.learner, network, metrics


def last(metric):
    """Mean over the last quarter of the updates of all seeds, from a metric [S, num_updates]."""
    quarter = metric.total.shape[1] * 3 // 4
    return metric.total[:, quarter:].sum(1) / metric.weight[:, quarter:].sum(1)


def values(network, learner, observation, action):
    """Values of actions [B, A] or [B] by both critics of all seeds: [S, K, B], or [S, K, B, A] of all."""

    def apply(params):
        features = network.apply(params, observation, method="features")
        return network.apply(params, features, action, method="values")

    return jax.vmap(apply)(learner.params)


def actions(network, learner, observation):
    """The most likely actions of all seeds [S, B, ...]."""
    return jax.vmap(lambda params: network.apply(params, observation, method="policy").mode())(learner.params)


# With a weight of nearly nothing, the entropy changes no value.
GREEDY = {"initial_temperature": 1e-4, "temperature_learning_rate": 0.0}


def test_the_critics_find_a_value_that_depends_on_the_observation():
    learner, network, _ = learn(ContinuousCue(), **GREEDY)
    found = values(network, learner, CUES, jnp.zeros((2, 1)))
    np.testing.assert_allclose(found, np.tile([1.0, -1.0], (3, 2, 1)), atol=0.15)


@pytest.mark.parametrize(("terminates", "expected"), [(True, 1.75), (False, 2.0)])
def test_truncation_bootstraps_and_termination_does_not(terminates, expected):
    # Three steps an episode, reward 1, gamma 0.5, the same observation for ever. Cut by a limit the value is
    # 1 + 0.5 + 0.25 + ... = 2. Ended by the rules it is 1.75, 1.5 or 1 with three, two or one step to go;
    # the critic cannot tell which, and finds less than 1.75.
    env = ContinuousOne(ends_after=3, terminates=terminates, shows_cue=False)
    learner, network, _ = learn(env, num_return_steps=2, **GREEDY)
    found = values(network, learner, jnp.array([[0.0, 1.0]]), jnp.zeros((1, 1)))
    if terminates:
        assert (found < expected).all()
    else:
        np.testing.assert_allclose(found, expected, atol=0.1)


def test_a_continuous_policy_learns_where_to_go():
    learner, network, _ = learn(ContinuousTarget(), num_updates=20, entropy_per_dimension=-3.0)
    found = actions(network, learner, CUES)
    np.testing.assert_allclose(found[..., 0], np.tile([0.5, -0.5], (3, 1)), atol=0.15)


def test_a_discrete_policy_learns_which_action_is_right():
    learner, network, _ = learn(ActionFollowsCue(num_actions=2), entropy_share=0.1)
    assert (actions(network, learner, CUES) == jnp.array([1, 0])).all()
    found = values(network, learner, CUES, jnp.zeros(2, jnp.int32))
    np.testing.assert_allclose(found, np.tile([[-1.0, 1.0], [1.0, -1.0]], (3, 2, 1, 1)), atol=0.2)


class Bandit(Probe):
    """One number as an action, one step, the reward -a^2."""

    def reward(self, state, action):
        return -jnp.square(action[0])

    def action_space(self, params):
        return spaces.Box(-1.0, 1.0, (1,))


def test_the_temperature_of_a_continuous_bandit_converges():
    # The best policy is proportional to exp(-a^2 / alpha): a Gaussian of variance alpha / 2. Its entropy,
    # log(2 pi e sigma^2) / 2, is 0 where sigma^2 = 1 / (2 pi e) = 0.0585, so alpha = 0.117.
    env = Bandit(shows_cue=False)
    _, _, metrics = learn(env, 40, entropy_per_dimension=0.0, num_gradient_steps=4, network=SMOOTH)
    temperature, entropy = (last(metrics[name]) for name in ("temperature", "entropy"))
    np.testing.assert_allclose(entropy, 0.0, atol=0.08)
    np.testing.assert_allclose(temperature, 1.0 / (jnp.pi * jnp.e), rtol=0.2)


def test_the_temperature_of_a_discrete_bandit_converges():
    # Rewards 1 and -1: p / (1 - p) = exp(2 / alpha). Half of the greatest entropy, log(2) / 2, is that of
    # p = 0.890, so alpha = 2 / log(0.890 / 0.110) = 0.957.
    _, _, metrics = learn(ActionFollowsCue(num_actions=2), 40, entropy_share=0.5)
    temperature, entropy = (last(metrics[name]) for name in ("temperature", "entropy"))
    np.testing.assert_allclose(entropy, 0.5 * jnp.log(2.0), atol=0.05)
    np.testing.assert_allclose(temperature, 0.957, rtol=0.15)


class FixedPolicy:
    """Always the same action, 0.5, with the same logarithm of its density, -1."""

    def sample_and_log_prob(self, seed):
        return jnp.full((1, 1), 0.5), jnp.full(1, -1.0)


class FixedNetwork:
    """Two critics, Q_k(s, a) = q_k + a; the parameters are the q."""

    discrete = False
    action_size = 1

    def apply(self, params, *inputs, method):
        if method == "policy":
            return FixedPolicy()
        return inputs[0] if method == "features" else params[:, None] + inputs[1][:, 0]


def test_targets_losses_and_gradients_as_worked_by_hand():
    # Target critics at s' with a' = 0.5: 2.5 and 3.5; the least, less alpha log pi = 0.2 * -1: 2.7.
    # Target: 1 + 0.5 * 2.7 = 2.35. Critics at a = 0.25: 1.25 and 4.25, so their errors are -1.1 and 1.9.
    # Policy loss: 0.2 * -1 - min(1.5, 4.5) = -1.7. Entropy 1 against a target of -1: a surplus of 2.
    batch = Sample(
        observation=jnp.zeros((1, 2)),
        action=jnp.array([[0.25]]),
        reward=jnp.array([1.0]),
        discount=jnp.array([0.5]),
        successor=jnp.zeros((1, 2)),
    )
    params, target_params, log_temperature = jnp.array([1.0, 4.0]), jnp.array([2.0, 3.0]), jnp.log(0.2)
    loss = partial(sac_loss, FixedNetwork())
    arguments = (params, log_temperature, target_params, batch, jnp.ones(1), jax.random.key(0), CONFIG)
    terms = continuous_terms(FixedNetwork(), params, target_params, 0.2, batch, jax.random.key(0))
    np.testing.assert_allclose(terms.target, [2.35], rtol=1e-6)
    np.testing.assert_allclose(terms.policy_loss, [-1.7], rtol=1e-6)
    (value, _), gradients = jax.value_and_grad(loss, (0, 1), has_aux=True)(*arguments)
    expected = 0.5 * (1.1**2 + 1.9**2) - 1.7 + 2.0 * jnp.log(0.2)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(gradients[0], [-1.1, 1.9], rtol=1e-5)  # of the critics' loss alone
    np.testing.assert_allclose(gradients[1], 2.0, rtol=1e-6)


def test_the_target_network_goes_its_share_of_the_way():
    env = ContinuousOne()
    params = env.default_params
    network = make_soft_actor_critic(env, params, "mlp", SMALL)
    config = CONFIG.replace(env_params=params, num_gradient_steps=1, target_rate=0.25)
    replay = replay_of(config)
    key = jax.random.key(0)
    weights = network.init(key, jnp.zeros((1, 2)), jnp.zeros((1, 1)))
    learner = init_learner(weights, config)
    learner = learner.replace(target_params=jax.tree.map(jnp.zeros_like, weights))
    remembered = replay.init(example_experience(env, params, network), 64, 8)
    flat, unravel = flatten(learner)
    after, _ = learn_from(network, unravel, replay, flat, remembered, key, config, None)
    after = unflatten(after, unravel)
    expected = jax.tree.map(lambda leaf: 0.25 * leaf, after.params)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-6), after.target_params, expected)


def test_actions_fill_a_box_of_any_bounds():
    box = spaces.Box(jnp.array([0.0, -2.0]), jnp.array([1.0, 4.0]), (2,))
    actions = to_bounds(jnp.array([[-1.0, -1.0], [0.0, 0.0], [1.0, 1.0]]), box)
    np.testing.assert_allclose(actions, [[0.0, -2.0], [0.5, 1.0], [1.0, 4.0]])
    assert to_bounds(jnp.zeros((3, 1)), spaces.Box(0.0, 1.0, ())).shape == (3,)
    assert to_bounds(jnp.array([1, 0]), spaces.Discrete(2)).dtype == jnp.int32


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_envs": 0}, "num_envs = 0 must be at least 1"),
        ({"learning_rate": -1.0}, "learning_rate = -1.0 must be above 0"),
        ({"gamma": 1.5}, "gamma = 1.5 must lie between 0 and 1"),
        ({"warmup_steps": 4000}, "warmup_steps = 4000 must lie between num_envs = 8 and capacity = 2048"),
        ({"temperature_learning_rate": -1.0}, "temperature_learning_rate = -1.0 must be 0 or more"),
        ({"event_share": 2.0}, "event_share = 2.0 must lie between 0 and 1"),
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        check_sac(CONFIG.replace(**changes), spaces.Box(-1.0, 1.0, (1,)))


def test_a_box_without_bounds_is_refused():
    with pytest.raises(ValueError, match="no finite bounds"):
        check_sac(CONFIG, spaces.Box(-jnp.inf, jnp.inf, (1,)))
