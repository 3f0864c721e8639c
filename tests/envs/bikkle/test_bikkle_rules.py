"""The rules of the arena, one by one."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs.bikkle import Bikkle, BikkleParams, BikkleState
from envs.bikkle.state import target_value

reset = jax.jit(Bikkle.reset_env, static_argnums=0)
step = jax.jit(Bikkle.step_env, static_argnums=0)


@partial(jax.jit, static_argnums=0)
def stand_still(env, keys, state, params):
    """One step without a move, once for each key."""
    return jax.vmap(lambda key: env.step_env(key, state, jnp.zeros(2), params))(keys)


def place(env, params, agent, xs, ys, **fields) -> BikkleState:
    """A state with everything where the test wants it."""
    _, state = reset(env, jax.random.key(0), params)
    as_floats = {"agent": agent, "pellet_x": xs, "pellet_y": ys}
    changes = {name: jnp.array(value, jnp.float32) for name, value in as_floats.items()}
    changes |= {name: jnp.array(value, jnp.int32) for name, value in fields.items()}
    return state.replace(**changes)


def test_the_target_pays_five_at_first_and_never_less_than_a_pink_pellet():
    params = BikkleParams()
    # 5 * (100 - 0) / 100 = 5; 5 * (100 - 50) / 100 = 2.5; 5 * (100 - 95) / 100 = 0.25, lifted to 1.
    values = [float(target_value(jnp.array(t), params)) for t in (0, 50, 95)]
    np.testing.assert_allclose(values, [5.0, 2.5, 1.0])


def test_several_pellets_touched_at_once_are_all_paid_and_all_come_back_apart():
    env, params = Bikkle(max_pellets=8), BikkleParams(num_pellets=8, continuing=True)
    # Five on a circle of radius 0.07 about the agent: 0.082 apart, all within reach 0.08.
    angles = 2 * np.pi * np.arange(5) / 5
    xs = [*(0.5 + 0.07 * np.cos(angles)), 0.1, 0.1, 0.9]
    ys = [*(0.5 + 0.07 * np.sin(angles)), 0.1, 0.9, 0.1]
    state = place(env, params, [0.5, 0.5], xs, ys, target=2, round_step=50)
    keys = jax.random.split(jax.random.key(3), 200)
    _, after, rewards, _, info = stand_still(env, keys, state, params)
    # Slots 0, 2, 4 are pink (2 is the target, worth 2.5), 1 and 3 blue: 1 + 2.5 + 1 - 20 = -15.5.
    np.testing.assert_allclose(rewards, -15.5, rtol=1e-6)
    assert (info["pink"] == 3).all() and (info["blue"] == 2).all() and (info["target"] == 1).all()
    x, y = np.asarray(after.pellet_x), np.asarray(after.pellet_y)
    distance = np.hypot(x[:, :, None] - x[:, None], y[:, :, None] - y[:, None]) + np.eye(8)
    assert distance.min() > 0.08
    np.testing.assert_allclose(x[:, 5:], np.tile([0.1, 0.1, 0.9], (200, 1)), rtol=1e-6)
    assert (np.abs(x[:, :5] - np.asarray(xs[:5])) > 1e-6).all(axis=1).mean() > 0.99


def test_the_counter_returns_to_zero_at_the_end_of_a_round_and_the_target_is_drawn_anew():
    env, params = Bikkle(max_pellets=8), BikkleParams(num_pellets=8, continuing=True)
    xs, ys = np.linspace(0.1, 0.9, 8), np.full(8, 0.9)
    state = place(env, params, [0.5, 0.1], xs, ys, target=0, round_step=99)
    keys = jax.random.split(jax.random.key(5), 4000)
    _, after, _, _, _ = stand_still(env, keys, state, params)
    assert (after.round_step == 0).all()
    share = np.bincount(np.asarray(after.target), minlength=8)[::2] / 4000
    # Standard error sqrt(0.25 * 0.75 / 4000) = 0.007; four of them.
    np.testing.assert_allclose(share, 0.25, atol=0.028)
    _, before_end, _, _, _ = step(env, keys[0], state.replace(round_step=jnp.int32(98)), jnp.zeros(2), params)
    assert before_end.round_step == 99 and before_end.target == 0


def test_an_action_is_clipped_per_axis_and_the_walls_hold():
    env, params = Bikkle(max_pellets=2), BikkleParams(num_pellets=2)
    state = place(env, params, [0.5, 0.005], [0.1, 0.9], [0.9, 0.9], target=0)
    _, after, _, _, _ = step(env, jax.random.key(0), state, jnp.array([7.0, -0.5]), params)
    np.testing.assert_allclose(after.agent, [0.52, 0.0], atol=1e-7)


@pytest.mark.parametrize(
    ("action", "direction"),
    [
        (0.5, (1.0, 0.0)),
        (0.75, (0.0, 1.0)),
        (0.0, (-1.0, 0.0)),
        (1.0, (-1.0, 0.0)),
        (0.625, (0.7071, 0.7071)),
    ],
)
def test_an_angle_of_zero_to_one_turns_once_round_with_steps_of_full_length(action, direction):
    env, params = Bikkle(max_pellets=2, action="angle"), BikkleParams(num_pellets=2)
    state = place(env, params, [0.5, 0.5], [0.1, 0.9], [0.9, 0.9], target=0)
    _, after, _, _, _ = step(env, jax.random.key(0), state, jnp.array([action]), params)
    np.testing.assert_allclose((after.agent - 0.5) / 0.02, direction, atol=1e-4)


def test_the_first_touch_terminates_only_where_the_arena_does_not_continue():
    env = Bikkle(max_pellets=2)
    for continuing in (False, True):
        params = BikkleParams(num_pellets=2, continuing=continuing)
        state = place(env, params, [0.1, 0.9], [0.1, 0.9], [0.9, 0.9], target=0)
        _, _, reward, terminated, _ = step(env, jax.random.key(0), state, jnp.zeros(2), params)
        assert reward == 5.0
        assert terminated == (not continuing)


def test_episodes_draw_their_number_of_pellets_and_what_is_absent_influences_nothing():
    env, params = Bikkle(max_pellets=16), BikkleParams(num_pellets=(2, 4, 8), continuing=True)
    keys = jax.random.split(jax.random.key(1), 3000)
    _, states = jax.jit(jax.vmap(env.reset_env, (0, None)))(keys, params)
    counts = np.asarray(states.num_pellets)
    for count in (2, 4, 8):
        # Standard error sqrt(1/3 * 2/3 / 3000) = 0.0086; four of them.
        assert abs((counts == count).mean() - 1 / 3) < 0.035
    # Blue pellets in slots that are not in use, right where the agent stands.
    hidden = np.arange(16) >= counts[:, None]
    states = states.replace(
        pellet_x=jnp.where(hidden, states.agent[:, :1], states.pellet_x),
        pellet_y=jnp.where(hidden, states.agent[:, 1:], states.pellet_y),
    )
    steps = jax.jit(jax.vmap(env.step_env, (0, 0, None, None)))
    observation, after, rewards, _, _ = steps(keys, states, jnp.zeros(2), params)
    assert (rewards == 0.0).all()
    np.testing.assert_array_equal(after.pellet_x, states.pellet_x)
    pellets = observation["pellets"]
    np.testing.assert_array_equal(np.asarray(pellets.mask).sum(1), counts)
    assert (np.asarray(pellets.values)[hidden] == 0.0).all()


def test_a_scan_over_steps_compiles_once_and_keeps_every_dtype():
    env, params = Bikkle(), BikkleParams()
    _, state = reset(env, jax.random.key(0), params)
    _, after, reward, terminated, _ = step(env, jax.random.key(0), state, jnp.zeros(2), params)
    assert jax.tree.map(jnp.result_type, state) == jax.tree.map(jnp.result_type, after)
    assert not any(leaf.weak_type for leaf in jax.tree.leaves((state, after)))
    assert reward.dtype == jnp.float32 and terminated.dtype == bool
