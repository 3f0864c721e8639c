"""What is SAC's own: temperatures of bandits whose answer is known, and worked arithmetic."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from learners import CUES
from probes import ActionFollowsCue, ContinuousTarget

from purerl import spaces
from purerl.algorithms.exploration import to_bounds
from purerl.algorithms.off_policy import Round, flatten, unflatten
from purerl.algorithms.sac import SACConfig, continuous_terms, init, learn, make_sac, sac_loss
from purerl.algorithms.skeleton import adam
from purerl.compile.program import train
from purerl.networks.soft_actor_critic import SoftNetworkConfig, make_soft_actor_critic
from purerl.replay import Sample

NETWORK = SoftNetworkConfig(width=16, head_width=0, activation="tanh")
CONFIG = SACConfig(
    num_envs=8,
    num_steps=16,
    num_gradient_steps=4,
    batch_size=32,
    buffer_size=2048,
    warmup_steps=64,
    num_return_steps=2,
    learning_rate=1e-2,
    final_learning_rate=1e-2,
    temperature_learning_rate=1e-2,
    initial_temperature=0.1,
    gamma=0.5,
    tau=0.05,
    stagger=False,
)
NUM_UPDATES = 30
SEEDS = jax.vmap(jax.random.key)(jnp.arange(3))


class Bandit(ContinuousTarget):
    """One number a as an action; reward -a^2."""

    def reward(self, state, action):
        return -jnp.square(action[0])


@cache
def trainer(env):
    """Trains three seeds, one after another: `(keys, config) -> metrics`, compiled once."""
    algorithm = make_sac(env, network_of(env))

    def one_seed(packed):
        return train(algorithm, packed[1], packed[0], NUM_UPDATES)[1]

    return jax.jit(lambda keys, config: jax.lax.map(lambda key: one_seed((key, config)), keys))


def network_of(env):
    return make_soft_actor_critic(env, env.default_params, "mlp", NETWORK)


def learned(env, **changes):
    """The metrics of three seeds that were trained."""
    config = CONFIG.replace(env_params=env.default_params, **changes)
    return trainer(env)(SEEDS, jax.tree.map(jnp.asarray, config))


def last(metric):
    """Mean over the last third of the updates of all seeds, from a metric [S, num_updates]."""
    return metric[:, metric.shape[1] * 2 // 3 :].mean(1)


def test_the_temperature_of_a_continuous_bandit_converges():
    # The best policy for -a^2 is proportional to exp(-a^2 / alpha): a Gaussian of variance alpha / 2. Its
    # entropy, log(2 pi e sigma^2) / 2, is 0 where sigma^2 = 1 / (2 pi e) = 0.0585, so alpha = 0.117.
    metrics = learned(Bandit(), entropy_per_dimension=0.0)
    np.testing.assert_allclose(last(metrics["entropy"]), 0.0, atol=0.1)
    np.testing.assert_allclose(last(metrics["temperature"]), 1.0 / (jnp.pi * jnp.e), rtol=0.25)


TWO = ActionFollowsCue(num_actions=2)


def test_the_temperature_of_a_discrete_bandit_converges():
    # Rewards 1 and -1: p / (1 - p) = exp(2 / alpha). Half of the greatest entropy, log(2) / 2, is that of
    # p = 0.890, so alpha = 2 / log(0.890 / 0.110) = 0.957.
    metrics = learned(TWO, initial_temperature=0.5, entropy_share=0.5)
    np.testing.assert_allclose(last(metrics["entropy"]), 0.5 * jnp.log(2.0), atol=0.05)
    np.testing.assert_allclose(last(metrics["temperature"]), 0.957, rtol=0.15)


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
        next_observation=jnp.zeros((1, 2)),
    )
    params, target_params, log_temperature = jnp.array([1.0, 4.0]), jnp.array([2.0, 3.0]), jnp.log(0.2)
    loss = partial(sac_loss, FixedNetwork())
    arguments = (params, log_temperature, target_params, batch, jnp.ones(1), jax.random.key(0), CONFIG)
    terms = continuous_terms(FixedNetwork(), params, target_params, 0.2, batch, jax.random.key(0))
    np.testing.assert_allclose(terms.target, [2.35], rtol=1e-6)
    np.testing.assert_allclose(terms.policy_loss, [-1.7], rtol=1e-6)
    (value, (error, _)), gradients = jax.value_and_grad(loss, (0, 1), has_aux=True)(*arguments)
    expected = 0.5 * (1.1**2 + 1.9**2) - 1.7 + 2.0 * jnp.log(0.2)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(error, [0.5 * (1.1 + 1.9)], rtol=1e-5)  # what priorities are made of
    np.testing.assert_allclose(gradients[0], [-1.1, 1.9], rtol=1e-5)  # of the critics' loss alone
    np.testing.assert_allclose(gradients[1], 2.0, rtol=1e-6)


def test_the_target_network_goes_its_share_of_the_way():
    network, config = network_of(Bandit()), CONFIG.replace(num_gradient_steps=1, tau=0.25)
    samples = Sample(
        observation=CUES,
        action=jnp.zeros((2, 1)),
        reward=jnp.ones(2),
        discount=jnp.zeros(2),
        next_observation=CUES,
    )

    @jax.jit
    def step(key):
        optimizer, (start_key, learn_key) = adam(config, 0.01), jax.random.split(key)
        learner = init(network, start_key, CUES, optimizer, config)
        learner = learner.replace(target_params=jax.tree.map(jnp.zeros_like, learner.params))
        flat, unravel = flatten(learner)
        given = Round(samples, jnp.ones(2), learn_key, optimizer, unravel, None)
        return unflatten(learn(network, flat, given, config)[0], unravel)

    after = step(jax.random.key(0))
    expected = jax.tree.map(lambda leaf: 0.25 * leaf, after.params)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5), after.target_params, expected)


def test_actions_fill_a_box_of_any_bounds():
    box = spaces.Box(jnp.array([0.0, -2.0]), jnp.array([1.0, 4.0]), (2,))
    actions = to_bounds(jnp.array([[-1.0, -1.0], [0.0, 0.0], [1.0, 1.0]]), box)
    np.testing.assert_allclose(actions, [[0.0, -2.0], [0.5, 1.0], [1.0, 4.0]])
    assert to_bounds(jnp.zeros((3, 1)), spaces.Box(0.0, 1.0, ())).shape == (3,)
    assert to_bounds(jnp.array([1, 0]), spaces.Discrete(2)).dtype == jnp.int32
