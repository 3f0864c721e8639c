"""The rollout: true successors, resets from the pool, statistics of episodes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from purerl import spaces
from purerl.rollout.evaluate import Greedy, evaluate, fresh_starts, play, summarize
from purerl.rollout.levels import make_pool
from purerl.rollout.unroll import draw_chance, init_actor, step_environments, unroll, values_where


@struct.dataclass
class CountParams:
    max_steps_in_episode: int = 3
    start: float = 0.0


@struct.dataclass
class CountState:
    count: jax.Array
    time: jax.Array


class Count:
    """Counts up by the action from where the level starts, and ends at ten or at the limit."""

    default_params = CountParams()

    def reset_env(self, key, params):
        state = CountState(count=params.start + jax.random.uniform(key), time=jnp.int32(0))
        return state.count[None], state

    def step_env(self, key, state, action, params):
        state = CountState(count=state.count + action, time=state.time + 1)
        return state.count[None], state, action, state.count >= 10.0, {}

    def is_truncated(self, state, params):
        return state.time >= params.max_steps_in_episode

    def observation_space(self, params):
        return spaces.Box(0.0, 20.0, (1,))

    def action_space(self, params):
        return spaces.Box(0.0, 10.0, ())


def start(num_envs=4, stagger=False, **params):
    env, params = Count(), CountParams(**params)
    actor = init_actor(
        params, make_pool(env, params, jax.random.key(0), num_envs), jax.random.key(3), num_envs, stagger
    )
    pool = make_pool(env, params.replace(start=100.0), jax.random.key(1), 5)
    return env, params, actor, pool


def test_the_successor_is_the_one_before_the_reset_and_the_next_observation_the_one_after():
    env, params, actor, pool = start(max_steps_in_episode=1)
    stepped, step, _ = step_environments(
        env, params, actor, pool, jnp.ones(4), draw_chance(jax.random.key(2), 4)
    )
    np.testing.assert_allclose(step.next_observation, actor.observation + 1.0)
    assert step.truncated.all()
    assert not step.terminated.any()
    assert (stepped.observation >= 100.0).all()  # levels of the pool start there


def test_resets_draw_from_the_pool_and_from_all_of_it():
    env, params, actor, pool = start(num_envs=200, max_steps_in_episode=1)
    stepped, _, _ = step_environments(
        env, params, actor, pool, jnp.ones(200), draw_chance(jax.random.key(2), 200)
    )
    assert set(np.asarray(stepped.observation[:, 0])) == set(np.asarray(pool.observation[:, 0]))


def test_an_episode_that_ends_both_ways_at_once_is_terminated():
    env, params, actor, pool = start(max_steps_in_episode=1)
    _, step, _ = step_environments(
        env, params, actor, pool, jnp.full(4, 10.0), draw_chance(jax.random.key(2), 4)
    )
    assert step.terminated.all()
    assert not step.truncated.any()


def test_bootstrap_values_belong_to_the_true_successor():
    # value(observation) = observation; in an episode cut after 3 steps of 1, the successor of the last
    # step is its observation + 1, although the next row of the rollout is a fresh level near 100. There
    # every step terminates, and what follows has no value.
    env, params, actor, pool = start()
    act = lambda carry, seen, is_first, key: (carry, jnp.ones(4), jnp.zeros(4), seen[:, 0])  # noqa: E731
    value_of = lambda carry, observation: observation[:, 0]  # noqa: E731
    _, transitions, _, metrics = unroll(env, params, actor, pool, jax.random.key(2), 7, act, value_of)
    np.testing.assert_allclose(transitions.next_value[:3], transitions.value[:3] + 1.0, rtol=1e-6)
    assert transitions.truncated[2].all()
    assert transitions.terminated[3:].all()
    assert transitions.observation[3].min() >= 100.0
    # One episode of three steps and return 3, then four of one step and return 1, in each environment.
    assert metrics["episode_return"].weight == 4 * 5
    assert metrics["episode_return"].total == 4 * (3 + 1 + 1 + 1 + 1)


@pytest.mark.parametrize("num_envs", [1, 7, 72, 128])
def test_values_are_computed_where_they_are_needed_however_many_those_are(num_envs):
    observation = jnp.arange(num_envs, dtype=jnp.float32)[:, None]
    value_of = lambda carry, x: 10.0 + x[:, 0]  # noqa: E731
    for count in {0, 1, num_envs // 2, num_envs}:
        needed = jax.random.permutation(jax.random.key(count), num_envs) < count
        values = values_where(needed, value_of, observation)
        np.testing.assert_array_equal(values[needed], 10.0 + observation[:, 0][needed])


def test_staggered_environments_do_not_end_together():
    # Reward 0 a step and a limit of 50: nothing but the limit, or a cut, ends an episode.
    env, params, actor, pool = start(num_envs=64, stagger=True, max_steps_in_episode=50)
    act = lambda carry, seen, is_first, key: (carry, jnp.zeros(64), jnp.zeros(64), jnp.zeros(64))  # noqa: E731
    value_of = lambda carry, observation: observation[:, 0]  # noqa: E731
    pool = make_pool(env, params, jax.random.key(1), 5)
    transitions = unroll(env, params, actor, pool, jax.random.key(2), 50, act, value_of)[1]
    first = np.asarray(transitions.truncated).argmax(0)
    # 64 draws of 50 steps hit 50 (1 - (1 - 1 / 50)^64) = 36 different ones on average.
    assert len(set(first)) > 25
    assert not transitions.terminated.any()


def test_a_staggered_start_is_the_start_of_a_level_and_its_cut_bootstraps():
    # Each environment begins at time 0 with the observation of its state. Where the first of its episodes is
    # cut, before the limit, the value is that of the true successor: its observation plus the action, 1.
    env, params, actor, pool = start(num_envs=64, stagger=True, max_steps_in_episode=6)
    np.testing.assert_array_equal(actor.env_state.time, 0)
    np.testing.assert_array_equal(actor.observation[:, 0], actor.env_state.count)
    act = lambda carry, seen, is_first, key: (carry, jnp.ones(64), jnp.zeros(64), seen[:, 0])  # noqa: E731
    value_of = lambda carry, observation: observation[:, 0]  # noqa: E731
    transitions = unroll(env, params, actor, pool, jax.random.key(2), 6, act, value_of)[1]
    first = np.asarray(transitions.truncated).argmax(0)
    np.testing.assert_array_equal(first + 1, np.where(actor.cut_after == 0, 6, actor.cut_after))
    index = (first, np.arange(64))
    np.testing.assert_allclose(transitions.next_value[index], transitions.value[index] + 1.0, rtol=1e-6)


def test_episodes_that_a_staggered_start_cut_short_are_left_out_of_the_statistics():
    # Reward 1 a step and a limit of 6: a whole episode returns 6, one that is cut 1 to 5. In 12 steps each
    # environment ends the episode that it began with and the one after it.
    env, params, actor, _ = start(num_envs=64, stagger=True, max_steps_in_episode=6)
    pool = make_pool(env, params, jax.random.key(1), 5)
    act = lambda carry, seen, is_first, key: (carry, jnp.ones(64), jnp.zeros(64), jnp.zeros(64))  # noqa: E731
    value_of = lambda carry, observation: observation[:, 0]  # noqa: E731
    metrics = unroll(env, params, actor, pool, jax.random.key(2), 12, act, value_of)[3]
    num_whole = 64 + int((actor.cut_after == 0).sum())
    assert metrics["episode_return"].weight == num_whole
    assert metrics["episode_return"].total == metrics["episode_length"].total == 6 * num_whole


class Recorder(Count):
    """Shows the action that it was given, [6]; its step ends as an integer says, with an integer reward."""

    def reset_env(self, key, params):
        return jnp.zeros(6), CountState(count=jnp.zeros((2, 3)), time=jnp.int32(0))

    def step_env(self, key, state, action, params):
        assert action.shape == (2, 3)
        assert action.dtype == jnp.float32
        after = CountState(count=action, time=state.time + 1)
        return action.ravel(), after, jnp.int32(1), jnp.int32(after.time == 2), {}

    def is_truncated(self, state, params):
        return jnp.float32(0.0)

    def action_space(self, params):
        return spaces.Box(np.array([[-1.0, -2.0, -3.0], [0.0, 0.0, 0.0]]), 1.0, (2, 3))


SAMPLED = jnp.array([-9.0, -9.0, -9.0, -9.0, 0.5, 9.0])
GIVEN = np.array([-1.0, -2.0, -3.0, 0.0, 0.5, 1.0])


def test_an_environment_gets_clipped_actions_of_its_own_shape_and_what_is_learnt_from_is_the_raw_one():
    env, params = Recorder(), CountParams()
    pool = make_pool(env, params, jax.random.key(0), 3)
    actor = init_actor(params, pool, jax.random.key(1), 3, stagger=False)
    raw = jnp.tile(SAMPLED, (3, 1))
    act = lambda carry, seen, is_first, key: (carry, raw, jnp.full(3, -7.0), jnp.zeros(3))  # noqa: E731
    actor, transitions, _, _ = unroll(
        env, params, actor, pool, jax.random.key(2), 2, act, lambda carry, seen: jnp.zeros(3)
    )
    np.testing.assert_array_equal(transitions.observation[1], np.tile(GIVEN, (3, 1)))
    np.testing.assert_array_equal(transitions.action[0], raw)
    np.testing.assert_array_equal(transitions.log_prob, -7.0)
    assert transitions.terminated.dtype == transitions.truncated.dtype == bool
    assert transitions.reward.dtype == jnp.float32
    assert transitions.terminated.tolist() == [[False] * 3, [True] * 3]


def test_evaluation_clips_actions_as_training_does():
    seen = []
    env, params = Recorder(), CountParams()

    def policy(observation, key):
        jax.debug.callback(lambda shown: seen.append(np.asarray(shown)), observation)
        return jnp.tile(SAMPLED, (observation.shape[0], 1))

    starts = fresh_starts(env, params, jax.random.key(0), 3)
    episodes = play(env, params, policy, starts, jax.random.key(1), 3)
    jax.effects_barrier()
    np.testing.assert_array_equal(episodes.length, 2)
    assert any((shown == GIVEN).all() for shown in seen)
    assert all((shown == GIVEN).all() or (shown == 0).all() for shown in seen)


def test_evaluation_counts_whole_episodes_once():
    # Four steps of 2.5 reach ten and end the episode (start in [0, 1)): return 10, whatever comes after.
    env, params = Count(), CountParams(max_steps_in_episode=100)
    policy = lambda observation, key: jnp.full(observation.shape[0], 2.5)  # noqa: E731
    starts = fresh_starts(env, params, jax.random.key(0), 6)
    episodes = play(env, params, policy, starts, jax.random.key(1), 20)
    np.testing.assert_allclose(episodes.episode_return, 10.0)
    np.testing.assert_array_equal(episodes.length, 4)
    assert episodes.solved.all()


class Between(Count):
    """Stands well as long as the count lies between five and eight."""

    def step_env(self, key, state, action, params):
        *rest, info = super().step_env(key, state, action, params)
        return *rest, info | {"solved": (rest[1].count > 5.0) & (rest[1].count < 8.0)}


@pytest.mark.parametrize(("limit", "solved"), [(2, False), (3, True), (100, False)])
def test_an_episode_is_solved_by_how_it_ends_in_evaluation_as_in_training(limit, solved):
    # Steps of 2 from [0, 1): after two 4, after three 6, after five above 10, where it ends.
    env, params = Between(), CountParams(max_steps_in_episode=limit)
    pool = make_pool(env, params, jax.random.key(0), 4)
    starts = pool.observation, pool.env_state
    policy = lambda observation, key: jnp.full(observation.shape[0], 2.0)  # noqa: E731
    episodes = play(env, params, policy, starts, jax.random.key(1), 7)
    np.testing.assert_array_equal(episodes.solved, [solved] * 4)
    actor = init_actor(params, pool, jax.random.key(0), 4, stagger=False)
    for step in range(min(limit, 5)):
        chance = draw_chance(jax.random.key(step), 4)
        actor, _, told = step_environments(env, params, actor, pool, jnp.full(4, 2.0), chance)
    assert (told["solve_rate"].total, told["solve_rate"].weight) == (4.0 * solved, 4.0)


class Shaped(Count):
    """Twice the reward is shaping."""

    def step_env(self, key, state, action, params):
        observation, state, reward, terminated, _ = super().step_env(key, state, action, params)
        return observation, state, 3.0 * reward, terminated, {"unshaped_reward": reward}


def test_evaluation_counts_no_shaping():
    env, params = Shaped(), CountParams(max_steps_in_episode=100)
    policy = lambda observation, key: jnp.full(observation.shape[0], 2.5)  # noqa: E731
    starts = fresh_starts(env, params, jax.random.key(0), 6)
    episodes = play(env, params, policy, starts, jax.random.key(1), 20)
    np.testing.assert_allclose(episodes.episode_return, 10.0)


def test_evaluation_of_many_equals_evaluation_of_each():
    env = Count()
    params = CountParams(max_steps_in_episode=np.array([2, 3]), start=np.zeros(2))
    learners = np.array([1.0, 2.0, 3.0])
    policy = lambda learner, observation, key: learner * jnp.ones(observation.shape[0])  # noqa: E731
    returns = evaluate(env, params, policy, learners, jax.random.key(0), 5, 4, block=2).episode_return
    assert returns.shape == (3, 2, 5)
    np.testing.assert_allclose(returns, np.array([[2, 3], [4, 6], [6, 9]])[:, :, None] * np.ones(5))


def test_the_standard_error_is_over_seeds_where_there_are_several():
    one = summarize(np.array([[1.0, 2.0, 3.0]]))
    # Deviation 1 over three episodes: 1 / sqrt(3).
    np.testing.assert_allclose(one["sem"], 1 / np.sqrt(3))
    two = summarize(np.array([[1.0, 3.0], [3.0, 5.0]]))
    # Means 2 and 4: deviation sqrt(2), over sqrt(2).
    assert two == {"mean": 3.0, "sem": 1.0, "episodes": 2, "per_seed": [2.0, 4.0]}


def test_what_evaluates_a_policy_is_compiled_once_for_all_learners_of_it():
    traced = []

    def policy(learner, observation, key, greedy):
        traced.append(greedy)
        return learner * jnp.ones(observation.shape[0])

    params = CountParams(max_steps_in_episode=np.array([2]), start=np.zeros(1))
    env, found, num_traces = Count(), [], []
    for learners in (np.array([1.0, 2.0]), np.array([2.0, 1.0])):
        episodes = evaluate(env, params, Greedy(policy), learners, jax.random.key(0), 5, 4)
        found.append(episodes.episode_return[:, 0, 0])
        num_traces.append(len(traced))
    assert set(traced) == {True} and num_traces[0] == num_traces[1]
    np.testing.assert_allclose(found, [[2.0, 4.0], [4.0, 2.0]])
