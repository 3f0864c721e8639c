"""C51: its projection against a plain loop, and probes whose answer is known."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from probes import ActionFollowsCue, RewardIsCue, RewardOne

from purerl.algorithms.c51 import C51Config, c51_loss, make_c51, project, support_of, values_of
from purerl.algorithms.dqn import Batch
from purerl.compile.program import sweep
from purerl.networks import QNetworkConfig, make_q_network
from purerl.replay import Sample

SMALL = QNetworkConfig(width=16, head_width=16)
CONFIG = C51Config(
    num_envs=8,
    num_steps=20,
    batch_size=32,
    buffer_size=800,
    warmup_steps=100,
    learning_rate=1e-2,
    gamma=0.5,
    target_every=10,
    num_atoms=13,
    value_min=-3.0,
    value_max=3.0,
    stagger=False,
)
SEEDS = jax.vmap(jax.random.key)(jnp.arange(3))
CUES = jnp.array([[1.0, 1.0], [-1.0, 1.0]])


def network_of(env):
    return make_q_network(env, env.default_params, "mlp", SMALL)


@cache
def runner(env, num_updates):
    algorithm = make_c51(env, network_of(env))
    return jax.jit(lambda config: sweep(algorithm, config, SEEDS, num_updates))


def learned_values(env, observation, num_updates=30, **changes):
    """Values [S, A, B] that three seeds have learned."""
    config = CONFIG.replace(env_params=env.default_params, total_updates=num_updates, **changes)
    state, _ = runner(env, num_updates)(config)
    return jax.vmap(lambda learner: values_of(network_of(env), learner, observation))(state.learner)


@given(seed=st.integers(0, 2**31), follows=st.booleans())
@settings(max_examples=25, deadline=None)
def test_the_projection_is_that_of_a_plain_loop(seed, follows):
    # Each atom j moves to r + d z_j, stays within the ends, and is dealt to its two neighbors by distance.
    random = np.random.default_rng(seed)
    support, size = np.linspace(-2.0, 2.0, 5), 3
    reward, discount = random.normal(size=size) * 2, random.random(size) * follows
    probability = random.dirichlet(np.ones(5), size).T
    expected = np.zeros((5, size))
    for b in range(size):
        for j in range(5):
            place = np.clip(reward[b] + discount[b] * support[j], -2.0, 2.0) + 2.0  # a unit between atoms
            lower = min(int(place), 3)
            expected[lower, b] += probability[j, b] * (lower + 1 - place)
            expected[lower + 1, b] += probability[j, b] * (place - lower)
    found = project(*(jnp.asarray(each, jnp.float32) for each in (reward, discount, probability, support)))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(found.sum(0), 1.0, atol=1e-5)


def test_behind_a_termination_the_reward_alone_is_projected():
    # Atoms -1, 0, 1: a reward of 0.25 is three quarters 0 and a quarter 1, whatever is said of the successor.
    found = project(jnp.array([0.25]), jnp.zeros(1), jnp.full((3, 1), jnp.nan), jnp.array([-1.0, 0.0, 1.0]))
    np.testing.assert_array_equal(found, [[0.0], [0.75], [0.25]])


class Fixed:
    """Two actions over atoms -1, 0, 1: the parameters are the logits of all observations, [6]."""

    def apply(self, params, observation):
        return jnp.tile(params[:, None], (1, observation.shape[0]))


@pytest.mark.parametrize(("double", "target"), [(True, 0.0), (False, 1.0)])
def test_the_target_is_that_of_the_action_with_the_highest_expected_value(double, target):
    # The target network is sure of 0 for the first action and of -1 for the second. Of itself it chooses the
    # first: the target is all on 1 + 0. The other network prefers the second: all on 1 - 1.
    sure = 50.0
    config = C51Config(num_atoms=3, value_min=-1.0, value_max=1.0, double=double)
    batch = Batch(
        sample=Sample(
            observation=jnp.zeros((1, 2)),
            action=jnp.zeros(1, jnp.int32),
            reward=jnp.ones(1),
            discount=jnp.ones(1),
            next_observation=jnp.zeros((1, 2)),
        ),
        target_value_tp1=jnp.array([0.0, sure, 0.0, sure, 0.0, 0.0])[:, None],
        weight=jnp.ones(1),
    )
    params = jnp.array([0.0, 0.0, 0.0, 0.0, 0.0, 1.0])  # of the first action a third each: -log(1/3)
    loss, (divergence, metrics) = c51_loss(Fixed(), params, batch, config)
    np.testing.assert_allclose(metrics["return_mean"].total, target, atol=1e-5)
    np.testing.assert_allclose([loss, divergence[0]], np.log(3.0), rtol=1e-5)
    np.testing.assert_array_equal(support_of(config), [-1.0, 0.0, 1.0])


def test_the_network_finds_a_value_that_depends_on_the_observation():
    found = learned_values(RewardIsCue(), CUES)
    np.testing.assert_allclose(found, np.tile([1.0, -1.0], (3, 1, 1)), atol=0.1)


@pytest.mark.parametrize(("terminates", "expected"), [(True, 1.0), (False, 2.0)])
def test_truncation_bootstraps_and_termination_does_not(terminates, expected):
    # Reward 1, gamma 0.5: ended by the rules 1, cut by a limit 1 + 0.5 + 0.25 + ... = 2.
    env = RewardOne(ends_after=1, terminates=terminates, shows_cue=False)
    found = learned_values(env, jnp.array([[0.0, 1.0]]))
    np.testing.assert_allclose(found, expected, atol=0.1)


def test_the_best_action_is_found_with_priorities_as_well():
    found = learned_values(ActionFollowsCue(num_actions=2), CUES, prioritized=True, num_return_steps=2)
    assert (found.argmax(1) == jnp.array([1, 0])).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_atoms": 1}, "num_atoms = 1 tells no returns apart"),
        ({"value_min": 3.0}, "value_min = 3.0 must be below value_max = 3.0"),
    ],
)
def test_values_that_tell_nothing_apart_are_refused(changes, message):
    env = RewardIsCue()
    with pytest.raises(ValueError, match=message):
        make_c51(env, network_of(env)).check(CONFIG.replace(**changes), 1)


def test_a_dueling_head_is_refused():
    env = RewardIsCue()
    with pytest.raises(ValueError, match="switch dueling off"):
        make_c51(env, make_q_network(env, env.default_params, "mlp", SMALL.replace(dueling=True)))
