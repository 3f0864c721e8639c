"""Levels: what a rollout tells of each of them, and samples that do not count."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from probes import ActionFollowsCue

from purerl.algorithms.ppo import make_ppo
from purerl.algorithms.ppo_config import PPOConfig
from purerl.levels import LevelTrace, forget_renewed, fresh_levels, level_outcome
from purerl.networks import NetworkConfig, make_actor_critic
from purerl.types import Curriculum

NUM_LEVELS = 3


@given(seed=st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_the_outcome_of_a_level_is_what_a_plain_loop_adds_up(seed):
    random = np.random.default_rng(seed)
    shape = (5, 4)
    trace = LevelTrace(
        slot=random.integers(0, NUM_LEVELS + 1, shape),
        learnable=np.ones(shape, bool),
        ended=random.random(shape) < 0.4,
        solved=random.random(shape) < 0.5,
        episode_return=random.normal(size=shape).astype(np.float32),
    )
    value, advantage = random.normal(size=(2, *shape)).astype(np.float32)
    outcome = level_outcome(
        jax.tree.map(jnp.asarray, trace), jnp.array(value), jnp.array(advantage), NUM_LEVELS
    )
    for level in range(NUM_LEVELS + 1):
        here = trace.slot == level
        ended = here & trace.ended
        assert outcome.num_episodes[level] == ended.sum()
        assert outcome.num_solved[level] == (ended & trace.solved).sum()
        assert outcome.num_steps[level] == here.sum()
        np.testing.assert_allclose(outcome.value_sum[level], value[here].sum(), atol=1e-5)
        positive = np.maximum(advantage[here], 0.0).sum()
        np.testing.assert_allclose(outcome.positive_advantage[level], positive, atol=1e-5)
        best = max(trace.episode_return[ended], default=-np.inf)
        np.testing.assert_allclose(outcome.best_return[level], best, atol=1e-6)


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
        state = algorithm.init(jax.random.key(0), config)
        cue = jnp.array([1.0, -1.0, 1.0, -1.0])
        env_state = dataclasses.replace(state.actor.env_state, cue=cue)
        observation = jax.vmap(env._observe)(env_state)
        actor = dataclasses.replace(state.actor, env_state=env_state, observation=observation)
        state = dataclasses.replace(state, actor=actor)
        plain = config.replace(normalize_rewards=False)
        return algorithm.update(state, plain)[0].learner.params

    one, other = after_one_update(-1.0), after_one_update(7.0)
    jax.tree.map(np.testing.assert_array_equal, one, other)
