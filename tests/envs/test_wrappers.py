"""Wrappers that hide something: the contract behind each, and what each of them hides."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from envs.bikkle import Bikkle
from envs.memory import StatelessCartPole
from envs.wrappers import WRAPPERS, HiddenDynamics, Occlusion, Retry
from purerl import spaces
from purerl.rollout.levels import make_pool
from purerl.rollout.unroll import draw_chance, init_actor, step_environments

LIMIT, NUM_ENVS, NUM_STEPS = 4, 6, 9
CASES = [(name, env) for name in WRAPPERS for env in (StatelessCartPole(), Bikkle(4))]


@struct.dataclass
class EchoParams:
    max_steps_in_episode: int = 1000


@struct.dataclass
class EchoState:
    action: jax.Array
    time: jax.Array


@dataclass(frozen=True)
class Echo:
    """Shows the last action; one that begins with more than 0.5 is worth 1 and ends the episode."""

    @property
    def default_params(self):
        return EchoParams()

    def reset_env(self, key, params):
        return jnp.zeros(3), EchoState(action=jnp.zeros(3), time=jnp.int32(0))

    def step_env(self, key, state, action, params):
        reached = action[0] > 0.5
        return action, EchoState(action=action, time=state.time + 1), reached * 1.0, reached, {}

    def is_truncated(self, state, params):
        return state.time >= params.max_steps_in_episode

    def observation_space(self, params):
        return spaces.Box(-1.0, 1.0, (3,))

    def action_space(self, params):
        return spaces.Box(-1.0, 1.0, (3,))


def walk(env, params, actions, key=0):
    """Observations, rewards and terminations of one episode, leading axis T, and the state it began in."""
    first_key, key = jax.random.split(jax.random.key(key))

    @jax.jit
    def run():
        observation, start = env.reset_env(first_key, params)

        def step(state, inputs):
            observation, state, reward, terminated, _ = env.step_env(*inputs[:1], state, inputs[1], params)
            return state, (observation, reward, terminated)

        keys = jax.random.split(key, actions.shape[0])
        return observation, start, jax.lax.scan(step, start, (keys, actions))[1]

    return run()


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{case[1].name}")
def rollout(request):
    """Random play of several environments with a short limit: what was seen, step by step."""
    name, inner = request.param
    env = WRAPPERS[name](inner)
    limited = inner.default_params.replace(max_steps_in_episode=LIMIT)
    params = env.default_params.replace(inner=limited)
    space = env.action_space(params)

    def step(actor, key, pool):
        action_key, chance_key = jax.random.split(key)
        actions = jax.vmap(space.sample)(jax.random.split(action_key, NUM_ENVS))
        after, result, _ = step_environments(
            env, params, actor, pool, actions, draw_chance(chance_key, NUM_ENVS)
        )
        return after, (actor, after, result, actions)

    @jax.jit
    def play():
        pool_key, actor_key, key = jax.random.split(jax.random.key(0), 3)
        pool = make_pool(env, params, pool_key, NUM_ENVS)
        actor = init_actor(params, pool, actor_key, NUM_ENVS, stagger=False)
        keys = jax.random.split(key, NUM_STEPS)
        return jax.lax.scan(partial(step, pool=pool), actor, keys)[1]

    return env, params, play()


def test_observations_and_actions_lie_in_their_spaces(rollout):
    env, params, (_, after, result, actions) = rollout
    contains = jax.jit(jax.vmap(jax.vmap(env.observation_space(params).contains)))
    assert contains(after.observation).all()
    assert contains(result.next_observation).all()
    assert jax.vmap(jax.vmap(env.action_space(params).contains))(actions).all()
    space = env.observation_space(params)
    if not hasattr(space, "spaces"):
        assert after.observation.shape[2:] == space.shape


def test_a_limit_truncates_and_the_successor_is_that_of_the_episode_that_was_cut(rollout):
    _, _, (before, after, result, _) = rollout
    assert result.truncated.any()
    assert not (result.truncated & result.terminated).any()
    at_limit = before.env_state.time == LIMIT - 1
    np.testing.assert_array_equal(result.truncated, at_limit & ~result.terminated)
    ended = result.truncated | result.terminated
    np.testing.assert_array_equal(after.env_state.time == 0, ended)
    same = jax.tree.map(  # two computations of one thing, so equal to rounding
        lambda a, b: np.isclose(a, b, rtol=1e-6, atol=1e-6).reshape(NUM_STEPS, NUM_ENVS, -1).all(-1),
        result.next_observation,
        after.observation,
    )
    same = np.all(jax.tree.leaves(same), axis=0)
    assert same[~ended].all()
    assert not same[result.truncated].all()  # what is hidden in both looks the same


def test_a_state_looks_as_it_did_when_it_was_reached(rollout):
    env, params, (_, after, _, _) = rollout
    look = jax.jit(jax.vmap(jax.vmap(lambda state: env.observe_state(state, params))))
    jax.tree.map(np.testing.assert_array_equal, look(after.env_state), after.observation)


def test_what_is_hidden_is_missing_for_the_share_of_time_and_in_bursts_of_the_length():
    env = Occlusion(Echo())
    params = env.default_params.replace(share=0.3, length=3)
    actions = jnp.full((4000, 3), 0.25)
    observation, _, _ = walk(env, params, actions)[2]
    seen = np.asarray(observation[:, 3]) == 1.0
    np.testing.assert_array_equal(observation[seen][:, :3], 0.25)
    np.testing.assert_array_equal(observation[~seen], 0.0)
    # 400 bursts; their number has a deviation of less than its root, which is 5 %.
    assert abs((~seen).mean() - 0.3) < 3 * 0.05 * 0.3
    borders = np.flatnonzero(np.diff(seen))
    bursts = np.diff(borders)[seen[borders[:-1]]]
    assert (bursts % 3 == 0).all()
    assert (bursts == 3).mean() > 0.5


def test_actions_are_turned_scaled_and_late_as_the_episode_has_it():
    env = HiddenDynamics(Echo(), max_delay=2)
    actions = 0.4 * jax.random.uniform(jax.random.key(5), (6, 3), minval=-1.0)
    delays = set()
    for key in range(4):
        _, start, (observation, _, _) = walk(env, env.default_params, actions, key)
        hidden = jax.device_get(start.hidden)
        delays.add(int(hidden.delay))
        turn = np.array(
            [[np.cos(hidden.angle), -np.sin(hidden.angle)], [np.sin(hidden.angle), np.cos(hidden.angle)]]
        )
        sent = np.concatenate([np.zeros((int(hidden.delay), 3)), actions])[:6]
        arrived = hidden.gain * np.concatenate([sent[:, :2] @ turn.T, sent[:, 2:]], axis=1)
        np.testing.assert_allclose(observation[:, :3], arrived, atol=1e-6)
        np.testing.assert_allclose(observation[:, 3:], actions, atol=1e-6)  # the last action is seen
    assert len(delays) > 1


def test_the_environment_never_gets_an_action_beyond_its_bounds():
    # (1, 1) turned by an eighth of a full turn is (0, sqrt 2), and scaling makes more of it.
    env, actions = HiddenDynamics(Echo(), max_delay=0), jnp.ones((2, 3))
    for key in range(8):
        _, start, (observation, _, _) = walk(env, env.default_params, actions, key)
        angle, gain = jax.device_get((start.hidden.angle, start.hidden.gain))
        turned = [np.cos(angle) - np.sin(angle), np.sin(angle) + np.cos(angle), 1.0]
        np.testing.assert_allclose(observation[0, :3], np.clip(gain * np.array(turned), -1, 1), atol=1e-6)


def test_without_anything_hidden_the_world_answers_as_before():
    env = HiddenDynamics(Echo())
    params = env.default_params.replace(max_rotation=0.0, max_gain=1.0, max_delay=0)
    actions = jax.random.uniform(jax.random.key(5), (6, 3), minval=-1.0)
    observation, _, _ = walk(env, params, actions)[2]
    np.testing.assert_allclose(observation[:, :3], actions, atol=1e-6)


def test_a_try_in_a_wrong_way_is_undone_and_seen_once_and_all_ways_work_after_the_right_one():
    env = Retry(Echo(), num_ways=3)
    params = env.default_params
    answer = int(walk(env, params, jnp.zeros((1, 4)))[1].hidden.answer)
    way = lambda number: (2 * number + 1) / 3 - 1  # noqa: E731  the middle of a third of [-1, 1]
    wrong, right = way((answer + 1) % 3), way(answer)
    idle, reach = [0.1, 0.2, 0.3], [0.9, 0.0, 0.0]
    actions = jnp.array([[*idle, wrong], [*reach, wrong], [*idle, wrong], [*reach, right], [*reach, wrong]])
    _, _, (observation, reward, terminated) = walk(env, params, actions)
    np.testing.assert_array_equal(reward, [0, 0, 0, 1, 1])
    np.testing.assert_array_equal(terminated, [False, False, False, True, True])
    np.testing.assert_allclose(observation[:, 0], [0.1, 0.1, 0.1, 0.9, 0.9], rtol=1e-6)
    outcomes = np.zeros((5, 4))
    outcomes[1, (answer + 1) % 3] = 1
    outcomes[3:, 3] = 1
    np.testing.assert_array_equal(observation[:, 3:], outcomes)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1].name}")
def test_a_privileged_critic_sees_more_and_the_policy_what_it_would_otherwise(case):
    name, inner = case
    plain, env = WRAPPERS[name](inner), WRAPPERS[name](inner, privileged=True)
    params = env.default_params
    actions = jax.vmap(env.action_space(params).sample)(jax.random.split(jax.random.key(1), 6))
    first, _, (views, *outcome) = walk(env, params, actions)
    otherwise, _, (observation, *same_outcome) = walk(plain, params, actions)
    close = partial(np.testing.assert_allclose, atol=1e-6)  # two programs, which round each in its own way
    jax.tree.map(close, (first.actor, views.actor), (otherwise, observation))
    jax.tree.map(close, outcome, same_outcome)
    assert jax.jit(jax.vmap(env.observation_space(params).contains))(views).all()
    more, less = (sum(leaf.size for leaf in jax.tree.leaves(view)) for view in (views.critic, views.actor))
    assert more > less or name == "occlusion"


def test_a_privileged_critic_sees_through_the_occlusion():
    env = Occlusion(Echo(), privileged=True)
    actions = jnp.full((50, 3), 0.25)
    views, _, _ = walk(env, env.default_params, actions)[2]
    np.testing.assert_array_equal(views.critic, 0.25)
    assert set(np.unique(views.actor[:, 0])) == {0.0, 0.25}


def test_a_privileged_critic_sees_angle_gain_delay_and_the_actions_on_their_way():
    env = HiddenDynamics(Echo(), max_delay=2, privileged=True)
    actions = 0.4 * jax.random.uniform(jax.random.key(5), (6, 3), minval=-1.0)
    _, start, (views, _, _) = walk(env, env.default_params, actions)
    hidden = jax.device_get(start.hidden)
    delay = np.eye(3)[hidden.delay]
    told = [np.cos(hidden.angle), np.sin(hidden.angle), (hidden.gain - 1) / (hidden.gain + 1), *delay]
    np.testing.assert_allclose(views.critic[:, 6:12], np.tile(told, (6, 1)), rtol=1e-5)
    np.testing.assert_allclose(views.critic[3, 12:], np.asarray(actions)[[3, 2, 1]].ravel(), rtol=1e-6)


def test_a_privileged_critic_sees_the_way_that_works_and_whether_it_was_found():
    env = Retry(Echo(), num_ways=3, privileged=True)
    answer = int(walk(env, env.default_params, jnp.zeros((1, 4)))[1].hidden.answer)
    right = (2 * answer + 1) / 3 - 1
    views, _, _ = walk(env, env.default_params, jnp.array([[0.0, 0, 0, right], [0.9, 0, 0, right]]))[2]
    np.testing.assert_array_equal(views.critic[:, 7:10], np.tile(np.eye(3)[answer], (2, 1)))
    np.testing.assert_array_equal(views.critic[:, 10], [0.0, 1.0])


@pytest.mark.parametrize(
    ("env", "changes", "words"),
    [
        (Occlusion(Echo()), {"share": 1.5}, "share = 1.5 must lie between 0 and 1"),
        (Occlusion(Echo()), {"length": 0}, "length = 0 must be at least 1"),
        (HiddenDynamics(Echo()), {"max_gain": 0.5}, "max_gain = 0.5 must be at least 1"),
        (HiddenDynamics(Echo()), {"max_delay": 3}, "max_delay = 3 must lie between 0 and 2"),
        (Retry(Echo(), num_ways=1), {}, "num_ways = 1 must be at least 2"),
    ],
)
def test_what_cannot_be_meant_is_refused(env, changes, words):
    with pytest.raises(ValueError, match=words):
        env.check(env.default_params.replace(**changes))
