"""Levels: what a rollout tells of each of them, and samples that do not count."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from hypothesis import given, settings
from hypothesis import strategies as st
from probes import ActionFollowsCue, RewardIsCue, RewardOne

from purerl.algorithms.dqn import DQNConfig, make_dqn
from purerl.algorithms.grpo import make_grpo
from purerl.algorithms.ppo import PPOConfig, make_ppo
from purerl.algorithms.pqn import PQNConfig, make_pqn
from purerl.algorithms.sac import make_sac
from purerl.curriculum.outcome import LevelOutcome, level_outcome
from purerl.curriculum.scores import max_monte_carlo, positive_value_loss
from purerl.networks import NetworkConfig, QNetworkConfig, make_actor_critic, make_q_network
from purerl.networks.soft_actor_critic import SoftNetworkConfig, make_soft_actor_critic
from purerl.rollout.levels import forget_renewed, fresh_levels, make_pool
from purerl.types import Curriculum, Judgment, LevelPool, LevelTrace

NUM_LEVELS = 3


@given(seed=st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_the_outcome_of_a_level_is_what_a_plain_loop_adds_up(seed):
    random = np.random.default_rng(seed)
    shape, gamma = (5, 4), 0.8
    ended = random.random(shape) < 0.4
    trace = LevelTrace(
        slot=random.integers(0, NUM_LEVELS + 1, shape),
        learnable=np.ones(shape, bool),
        whole=random.random(shape) < 0.8,
        ended=ended,
        truncated=ended & (random.random(shape) < 0.5),
        solved=random.random(shape) < 0.5,
        reward=random.normal(size=shape).astype(np.float32),
    )
    judgment = Judgment(*random.normal(size=(3, *shape)).astype(np.float32))
    past, age = random.normal(size=4).astype(np.float32), random.integers(0, 3, 4)
    outcome, after = level_outcome(
        *jax.tree.map(jnp.asarray, (trace,)), NUM_LEVELS, judgment, jnp.array(past), jnp.array(age), gamma
    )
    expected, final = np.zeros(shape), np.zeros(shape)
    for e in range(4):
        total, discount = past[e], gamma ** age[e]
        for t in range(5):
            expected[t, e] = total + discount * judgment.value[t, e]
            total, discount = total + discount * trace.reward[t, e], discount * gamma
            final[t, e] = total + discount * judgment.next_value[t, e] * trace.truncated[t, e]
            if ended[t, e]:
                total, discount = 0.0, 1.0
        np.testing.assert_allclose(after[e], total, atol=1e-5)
    for level in range(NUM_LEVELS + 1):
        here = (trace.slot == level) & trace.whole
        assert outcome.num_episodes[level] == (here & ended).sum()
        assert outcome.num_solved[level] == (here & ended & trace.solved).sum()
        assert outcome.num_steps[level] == here.sum()
        np.testing.assert_allclose(outcome.expected_sum[level], expected[here].sum(), atol=1e-5)
        positive = np.maximum(judgment.advantage[here], 0.0).sum()
        np.testing.assert_allclose(outcome.positive_advantage[level], positive, atol=1e-5)
        best = max(final[here & ended], default=-np.inf)
        np.testing.assert_allclose(outcome.best_return[level], best, atol=1e-5)


def test_an_episode_that_began_in_the_middle_tells_nothing_of_its_level():
    # A staggered start is cut after one step: as an episode of level 0 it would be a failure.
    one = lambda value: jnp.array([[value]])  # noqa: E731
    trace = LevelTrace(one(0), one(True), one(False), one(True), one(True), one(False), one(-1.0))
    judgment = Judgment(one(5.0), one(jnp.nan), one(jnp.nan))
    outcome, _ = level_outcome(trace, 1, judgment, jnp.zeros(1), jnp.zeros(1, jnp.int32), 0.9)
    for field in ("num_episodes", "num_solved", "num_steps", "expected_sum", "positive_advantage"):
        np.testing.assert_array_equal(getattr(outcome, field), [0, 0])
    assert outcome.best_return[0] == -np.inf


@struct.dataclass
class Told:
    """The state of a curriculum that changes nothing and keeps what it was told last."""

    pool: LevelPool
    outcome: Any


def listener(env, *needs):
    def init(key, params, count):
        nothing = jnp.zeros(count + 1)
        return Told(pool=make_pool(env, params, key, count), outcome=LevelOutcome(*[nothing] * 6))

    def refresh(key, state, params, outcome, progress):
        return state.replace(outcome=outcome), jnp.zeros(state.pool.learnable.shape[0], bool), {}

    return Curriculum(init=init, refresh=refresh, needs=frozenset(needs), tell=level_outcome)


ROLLOUT = {"num_envs": 8, "num_steps": 2, "num_epochs": 2, "num_minibatches": 1, "learning_rate": 1e-2}
SMALL = QNetworkConfig(width=16, head_width=16)
LEARNERS = {
    "ppo": lambda env, curriculum: (
        make_ppo(env, make_actor_critic(env, None, "mlp", NetworkConfig(width=16)), None, curriculum),
        PPOConfig(**ROLLOUT),
    ),
    "pqn": lambda env, curriculum: (
        make_pqn(env, make_q_network(env, None, "mlp", SMALL), None, curriculum),
        PQNConfig(**ROLLOUT, num_levels=8),
    ),
    "dqn": lambda env, curriculum: (
        make_dqn(env, make_q_network(env, None, "mlp", SMALL), None, curriculum),
        DQNConfig(
            num_envs=8, num_steps=2, num_levels=8, batch_size=32, buffer_size=800, warmup_steps=32,
            learning_rate=1e-2, target_every=10,
        ),
    ),
}  # fmt: skip


def told(name, env, num_updates, gamma=0.5):
    """What a curriculum hears in each of the updates, leaves [U, P + 1]."""
    algorithm, config = LEARNERS[name](env, listener(env, "values"))
    config = config.replace(
        env_params=env.default_params,
        gamma=gamma,
        stagger=False,
        total_updates=num_updates,
        final_learning_rate=1e-3,
    )

    def update(state, _):
        state = algorithm.update(state, config)[0]
        return state, state.curriculum.outcome

    run = lambda key: jax.lax.scan(update, algorithm.init(key, config), None, num_updates)[1]  # noqa: E731
    return jax.device_get(jax.jit(run)(jax.random.key(0)))


@pytest.mark.parametrize("name", LEARNERS)
def test_every_algorithm_with_values_tells_of_returns_as_its_critic_sees_them(name):
    # Three steps of reward 1 across rollouts of two: 1 + 1/2 + 1/4. Twelve updates hold eight whole episodes.
    outcome = told(name, RewardOne(ends_after=3), 12)
    best = outcome.best_return[np.isfinite(outcome.best_return)]
    np.testing.assert_allclose(best, 1.75, rtol=1e-6)
    assert outcome.num_steps.sum() == 12 * 2 * 8
    assert outcome.num_episodes.sum() == 8 * 8
    # Where time is all that ends them, the value of what follows is a part of the return: an eighth of it.
    outcome = told(name, RewardOne(ends_after=3, terminates=False), 2)
    best = outcome.best_return[np.isfinite(outcome.best_return)]
    assert (np.abs(best - 1.75) > 1e-4).all() and (np.abs(best - 1.75) < 1).all()


@pytest.mark.parametrize("name", LEARNERS)
def test_where_the_critic_is_right_scores_are_zero_and_before_they_are_not(name):
    outcome = told(name, RewardIsCue(), 300)
    first, last = (jax.tree.map(lambda leaf, at=at: leaf[at, :-1], outcome) for at in (0, -1))
    played = last.num_steps > 0
    for score in (max_monte_carlo, positive_value_loss):
        np.testing.assert_allclose(score(last)[played], 0.0, atol=0.05)
        assert np.abs(score(first)[first.num_steps > 0]).max() > 0.1


@pytest.mark.parametrize(
    ("make", "need", "sentence"),
    [
        (
            lambda env, it: make_sac(
                env, make_soft_actor_critic(env, None, "mlp", SoftNetworkConfig(width=16)), None, it
            ),
            "values",
            "SAC has no",
        ),
        (LEARNERS["dqn"], "learnable", "DQN learns from all that it plays"),
        (
            lambda env, it: make_grpo(env, make_actor_critic(env, None, "mlp"), None, it),
            "values",
            "GRPO has no values",
        ),
    ],
)
def test_what_an_algorithm_cannot_do_for_a_curriculum_is_refused_in_one_line(make, need, sentence):
    env = ActionFollowsCue(num_actions=2)
    with pytest.raises(ValueError, match=sentence) as caught:
        make(env, listener(env, need))
    assert "\n" not in str(caught.value)
    make(env, listener(env))  # which needs nothing


def test_episodes_on_a_level_that_was_replaced_are_not_counted_for_the_new_one():
    # Slot 1 holds another level now; slot 3 = P was forgotten before.
    slot = forget_renewed(jnp.array([0, 1, 2, 3]), jnp.array([False, True, False]))
    np.testing.assert_array_equal(slot, [0, 3, 2, 3])


def half_learnable(env):
    """Fresh levels, of which every second one is for scoring alone."""
    fresh = fresh_levels(env)

    def mark(state):
        learnable = jnp.arange(state.pool.learnable.shape[0]) % 2 == 0
        return dataclasses.replace(state, pool=dataclasses.replace(state.pool, learnable=learnable))

    def refresh(*arguments):
        state, renewed, metrics = fresh.refresh(*arguments)
        return mark(state), renewed, metrics

    return Curriculum(init=lambda *arguments: mark(fresh.init(*arguments)), refresh=refresh)


def test_samples_from_levels_that_are_only_scored_leave_no_trace_in_the_gradient():
    env = ActionFollowsCue(num_actions=2)
    network = make_actor_critic(env, env.default_params, "mlp", NetworkConfig(width=8))
    config = PPOConfig(
        num_envs=4, num_steps=1, num_epochs=1, num_minibatches=1, env_params=env.default_params
    )

    def after_one_update(reward_of_unlearnable):
        class Rewarded(ActionFollowsCue):
            def step_env(self, key, state, action, params):
                observation, state, reward, ended, info = super().step_env(key, state, action, params)
                return (
                    observation,
                    state,
                    jnp.where(state.cue > 0, reward, reward_of_unlearnable),
                    ended,
                    info,
                )

        # Levels of even slot have cue 1, those of odd slot cue -1; environment e starts on level e.
        env = Rewarded(num_actions=2)
        algorithm = make_ppo(env, network, curriculum=half_learnable(env))
        plain = config.replace(normalize_rewards=False)
        state = algorithm.init(jax.random.key(0), plain)
        cue = jnp.array([1.0, -1.0, 1.0, -1.0])
        env_state = dataclasses.replace(state.actor.env_state, cue=cue)
        observation = jax.vmap(env._observe)(env_state)
        actor = dataclasses.replace(state.actor, env_state=env_state, observation=observation)
        state = dataclasses.replace(state, actor=actor)
        return algorithm.update(state, plain)[0].learner.params

    one, other = after_one_update(-1.0), after_one_update(7.0)
    jax.tree.map(np.testing.assert_array_equal, one, other)
