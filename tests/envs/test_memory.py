"""Environments that need a memory: the contract, the rules against plain Python, and what memory is worth."""

import itertools
import math
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs.memory import MemoryChain, RepeatFirst, RepeatPrevious, StatelessCartPole
from purerl.rollout.levels import make_pool
from purerl.rollout.unroll import draw_chance, init_actor, step_environments

NUM_EPISODES = 256
REPEATS = [RepeatFirst(), RepeatPrevious(), RepeatPrevious(num_symbols=3, lag=2)]
ENVS = [*REPEATS, MemoryChain(), StatelessCartPole()]


def name_of(env):
    return f"{env.name}-{getattr(env, 'lag', '')}"


class Record(NamedTuple):
    """M episodes side by side, each up to the time limit; observations are [T + 1, M, F], all else [T, M]."""

    observation: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray

    @property
    def returns(self):
        """Sums of the rewards up to the first end of each episode, [M]."""
        ended = self.terminated | self.truncated
        return np.where(np.cumsum(ended, axis=0) - ended == 0, self.reward, 0.0).sum(0)


@cache
def compiled(env):
    """Reset, `(seed, params)`, and step, `(seed, number, state, actions, params)`, of M episodes."""

    def keys(seed, number):
        return jax.random.split(jax.random.fold_in(jax.random.key(seed), number), NUM_EPISODES)

    def reset(seed, params):
        return jax.vmap(env.reset_env, (0, None))(keys(seed, 0), params)

    def step(seed, number, state, action, params):
        taken = jax.vmap(env.step_env, (0, 0, 0, None))(keys(seed, number), state, action, params)
        observation, state, reward, terminated, _ = taken
        return observation, state, (reward, terminated, jax.vmap(env.is_truncated, (0, None))(state, params))

    return jax.jit(reset), jax.jit(step)


def play(env, player, seed=0, limit=None):
    """Episodes of a player, `(observations so far, a list of [M, F]) -> actions [M]`."""
    params = env.default_params
    params = params.replace(max_steps_in_episode=limit or params.max_steps_in_episode)
    reset, step = compiled(env)
    observation, state = reset(seed, params)
    seen, steps = [np.asarray(observation)], []
    for number in range(1, params.max_steps_in_episode + 1):
        action = np.asarray(player(seen), np.int32)
        observation, state, told = step(seed, number, state, action, params)
        seen.append(np.asarray(observation))
        steps.append((action, *told))
    return Record(np.stack(seen), *(np.stack(column) for column in zip(*steps, strict=True)))


def at_random(env, seed=0):
    draw = np.random.default_rng(seed)
    return lambda seen: draw.integers(env.num_actions, size=NUM_EPISODES)


@pytest.mark.parametrize("env", ENVS, ids=name_of)
def test_observations_rewards_and_ends_are_as_the_contract_says(env):
    space = env.observation_space(env.default_params)
    observation, state = jax.eval_shape(env.reset_env, jax.random.key(0), env.default_params)
    action = jax.ShapeDtypeStruct((), jnp.int32)
    after = jax.eval_shape(env.step_env, jax.random.key(0), state, action, env.default_params)
    for seen in (observation, after[0]):
        assert (seen.shape, seen.dtype) == (space.shape, jnp.float32)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), after[1]) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), state
    )
    assert (after[2].shape, after[2].dtype) == ((), jnp.float32)
    assert (after[3].shape, after[3].dtype) == ((), bool)
    assert env.action_space(env.default_params).n == env.num_actions
    record = play(env, at_random(env), limit=7)
    assert ((space.low <= record.observation) & (record.observation <= space.high)).all()


@pytest.mark.parametrize("env", ENVS, ids=name_of)
def test_tasks_end_with_their_last_step_and_only_balancing_is_cut(env):
    limit = 7
    record = play(env, at_random(env), limit=limit)
    at_limit = np.arange(1, limit + 1)[:, None] == np.full(NUM_EPISODES, limit)
    if env.name == "StatelessCartPole":  # nothing falls in seven steps
        assert not record.terminated.any()
        np.testing.assert_array_equal(record.truncated, at_limit)
    else:
        assert not record.truncated.any()
        np.testing.assert_array_equal(record.terminated, at_limit)


@pytest.mark.parametrize("env", ENVS, ids=name_of)
def test_a_rollout_keeps_the_true_successor_and_goes_on_with_a_new_episode(env):
    num_envs, limit = 6, 4
    params = env.default_params.replace(max_steps_in_episode=limit)

    @jax.jit
    def roll(key):
        pool_key, actor_key, key = jax.random.split(key, 3)
        pool = make_pool(env, params, pool_key, num_envs)
        actor = init_actor(params, pool, actor_key, num_envs, stagger=False)
        chances = draw_chance(key, 2 * limit, num_envs)

        def step(actor, chance):
            action = jnp.arange(num_envs) % env.num_actions
            seen = jax.vmap(env.step_env, (0, 0, 0, None))(chance.keys, actor.env_state, action, params)[0]
            after, result, _ = step_environments(env, params, actor, pool, action, chance)
            return after, (seen, result, after, pool.observation)

        return jax.lax.scan(step, actor, chances)[1]

    seen, result, after, firsts = roll(jax.random.key(0))
    np.testing.assert_array_equal(result.next_observation, seen)
    ended = np.asarray(result.terminated | result.truncated)
    np.testing.assert_array_equal(
        ended, np.tile(np.arange(2 * limit)[:, None] % limit == limit - 1, num_envs)
    )
    np.testing.assert_array_equal(after.env_state.time == 0, ended)
    begun = np.asarray(after.observation)[ended]  # each is one of the pool, up to rounding
    assert np.isclose(begun[:, None], np.asarray(firsts)[0], atol=1e-6).all(-1).any(-1).all()


def plain_rewards(env, observation, action):
    """What one episode is paid, from what was seen, [T + 1, F], and answered, [T]."""
    length = len(action)
    if env.name == "MemoryChain":
        sign = 1 if observation[0][2] > 0 else 0
        return [0.0] * (length - 1) + [1.0 if action[-1] == sign else -1.0]
    symbols = [list(row[:-1]).index(1.0) for row in observation]
    lag = getattr(env, "lag", None)
    rewards = []
    for step, answer in enumerate(action):
        asked = symbols[0] if lag is None else symbols[step - lag] if step >= lag else None
        reward = (1.0 if answer == asked else -1.0) / (length - (lag or 0))
        rewards.append(0.0 if asked is None else reward)
    return rewards


@pytest.mark.parametrize("env", [*REPEATS, MemoryChain()], ids=name_of)
@pytest.mark.parametrize("seed", [1, 2])
def test_answers_are_paid_by_the_rule(env, seed):
    record = play(env, at_random(env, seed), seed=seed, limit=9)
    for episode in range(NUM_EPISODES):
        expected = plain_rewards(env, record.observation[:, episode].tolist(), record.action[:, episode])
        np.testing.assert_allclose(record.reward[:, episode], expected, rtol=1e-6)


@pytest.mark.parametrize("env", REPEATS, ids=name_of)
def test_symbols_are_shown_one_at_a_time_all_alike_and_the_first_step_is_marked(env):
    observation = play(env, at_random(env)).observation
    symbols, first = observation[..., :-1], observation[..., -1]
    np.testing.assert_array_equal(symbols.sum(-1), 1.0)
    np.testing.assert_array_equal(first[0], 1.0)
    np.testing.assert_array_equal(first[1:], 0.0)
    # 53 * 64 draws: the share of each has a deviation of less than 0.01.
    np.testing.assert_allclose(symbols.mean((0, 1)), 1 / env.num_symbols, atol=0.03)


def test_the_chain_shows_its_sign_once_the_time_left_and_where_the_answer_counts():
    observation = play(MemoryChain(), at_random(MemoryChain()), limit=5).observation
    np.testing.assert_allclose(observation[:, 0, 0], [1.0, 0.8, 0.6, 0.4, 0.2, 0.0], atol=1e-6)
    np.testing.assert_array_equal(observation[:, 0, 1], [0, 0, 0, 0, 1, 0])
    assert set(observation[0, :, 2]) == {-1.0, 1.0}
    np.testing.assert_array_equal(observation[1:, :, 2], 0.0)


def plain_cart_pole(offset, speed, angle, spin, actions):
    """Offsets and angles of Barto, Sutton and Anderson's pole, after each push: [T, 2]."""
    seen = []
    for action in actions:
        force = 10.0 if action else -10.0
        sine, cosine = math.sin(angle), math.cos(angle)
        common = (force + 0.05 * spin**2 * sine) / 1.1
        spin_rate = (9.8 * sine - cosine * common) / (0.5 * (4 / 3 - 0.1 * cosine**2 / 1.1))
        speed_rate = common - 0.05 * spin_rate * cosine / 1.1
        offset, speed = offset + 0.02 * speed, speed + 0.02 * speed_rate
        angle, spin = angle + 0.02 * spin, spin + 0.02 * spin_rate
        seen.append((offset, angle))
    return np.array(seen)


def test_the_pole_moves_as_the_equations_say_and_falls_beyond_its_limits():
    env, limit = StatelessCartPole(), 60
    start = jax.device_get(compiled(env)[0](0, env.default_params)[1])
    record = play(env, at_random(env), limit=limit)
    np.testing.assert_allclose(record.reward, 1 / limit, rtol=1e-6)
    limits = np.array([2.4, 12 * math.pi / 180])
    for episode in range(0, NUM_EPISODES, 16):
        first = [float(value[episode]) for value in (start.offset, start.speed, start.angle, start.spin)]
        places = plain_cart_pole(*first, record.action[:, episode])
        fallen = (np.abs(places) > limits).any(1)
        upto = np.flatnonzero(fallen)[0] + 1  # all fall within 60 random pushes
        np.testing.assert_allclose(
            record.observation[1 : upto + 1, episode], places[:upto] / limits, atol=1e-4
        )
        np.testing.assert_array_equal(record.terminated[:upto, episode], fallen[:upto])


def remembers(env):
    """The best player that knows all that was seen."""
    if env.name == "MemoryChain":
        return lambda seen: seen[0][:, 2] > 0
    if env.name == "StatelessCartPole":

        def balance(seen):  # velocities are differences
            place, before = seen[-1] * [2.4, 0.2094], seen[max(len(seen) - 2, 0)] * [2.4, 0.2094]
            return place @ [0.5, 10.0] + (place - before) / 0.02 @ [1.0, 2.0] > 0

        return balance
    lag = getattr(env, "lag", None)
    return lambda seen: seen[0 if lag is None else max(len(seen) - 1 - lag, 0)][:, :-1].argmax(-1)


@pytest.mark.parametrize("env", ENVS, ids=name_of)
def test_who_remembers_gets_the_largest_return(env):
    np.testing.assert_allclose(play(env, remembers(env)).returns, 1.0, rtol=1e-5)


@pytest.mark.parametrize("env", REPEATS, ids=name_of)
def test_the_best_answer_to_each_symbol_alone_is_no_better_than_chance(env):
    # What is seen does not depend on the answers, so one record judges every map from symbols to answers.
    record = play(env, remembers(env))
    symbols, right = record.observation[:-1, :, :-1].argmax(-1), record.action
    lag = getattr(env, "lag", 1)  # of RepeatFirst, the first answer needs no memory
    answers = np.array(list(itertools.product(range(env.num_symbols), repeat=env.num_symbols)))
    hits = answers[:, symbols[lag:]] == right[lag:]  # [maps, T, M]
    best = (2.0 * hits - 1.0).mean((1, 2)).max()
    assert abs(best - (2 / env.num_symbols - 1)) < 0.1


def test_the_end_of_a_chain_looks_the_same_whatever_the_answer_is():
    record = play(MemoryChain(), remembers(MemoryChain()))
    assert (record.observation[-2] == record.observation[-2, :1]).all()
    answers = record.action[-1]
    assert 0.25 < answers.mean() < 0.75


def test_no_line_between_places_balances_the_pole():
    # Push to the right where a x + b theta > c: directions of (a, b), and c; those below 0 are mirrored.
    direction, threshold = np.meshgrid(np.linspace(0, 2 * math.pi, 32, endpoint=False), [0.0, 0.1])
    direction, threshold = (np.repeat(axis.ravel(), 4) for axis in (direction, threshold))
    weights = np.stack([np.cos(direction), np.sin(direction)], axis=1)
    record = play(StatelessCartPole(), lambda seen: (seen[-1] * weights).sum(1) > threshold)
    assert record.returns.reshape(-1, 4).mean(1).max() < 0.5


@pytest.mark.parametrize("env", ENVS, ids=name_of)
def test_an_episode_among_others_is_the_same_alone(env):
    def walk(key):
        reset_key, key = jax.random.split(key)
        observation, state = env.reset_env(reset_key, env.default_params)

        def step(state, inputs):
            observation, state, reward, terminated, _ = env.step_env(
                *inputs[:1], state, inputs[1], env.default_params
            )
            return state, (observation, reward, terminated)

        actions = jnp.arange(12) % env.num_actions
        return observation, jax.lax.scan(step, state, (jax.random.split(key, 12), actions))[1]

    keys = jax.random.split(jax.random.key(3), 5)
    together, alone = jax.jit(jax.vmap(walk))(keys), jax.jit(walk)(keys[2])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[2], b, atol=1e-6), together, alone)
