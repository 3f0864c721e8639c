"""The arena in lock step with its rules written once more, in NumPy and plain loops.

What is random (new places, new targets) is fed into the reference; the rest it works out by itself.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs.bikkle import Bikkle, BikkleParams


@dataclass
class Arena:
    agent: np.ndarray
    pellets: list[np.ndarray]
    blue: list[bool]
    target: int
    t: int = 0
    size: float = 0.04
    max_step: float = 0.02
    length: int = 100
    continuing: bool = True

    def step(self, action: np.ndarray) -> tuple[float, bool, set[int], bool]:
        """Reward, terminated, the touched pellets, and whether a new target is due."""
        for axis in range(2):
            move = np.float32(min(1.0, max(-1.0, action[axis]))) * np.float32(self.max_step)
            self.agent[axis] = min(1.0, max(0.0, self.agent[axis] + move))
        reward, touched, new_target = 0.0, set(), False
        for i, place in enumerate(self.pellets):
            if np.hypot(*(place.astype(float) - self.agent.astype(float))) > 2 * self.size:
                continue
            touched.add(i)
            if self.blue[i]:
                reward -= 10.0
            elif i == self.target:
                reward += max(1.0, 5.0 * (self.length - self.t) / self.length)
                new_target = True
            else:
                reward += 1.0
        self.t += 1
        if self.t == self.length:
            self.t, new_target = 0, True
        return reward, bool(touched) and not self.continuing, touched, new_target


@partial(jax.jit, static_argnums=0)
def play(env, params, key, actions):
    """Stacks states and outcomes of one episode; the first state is that of the reset."""
    key_reset, key_steps = jax.random.split(key)
    _, state = env.reset_env(key_reset, params)

    def step(state, key_and_action):
        key, action = key_and_action
        _, after, reward, terminated, info = env.step_env(key, state, action, params)
        return after, (after, reward, terminated, info, env.is_truncated(after, params))

    keys = jax.random.split(key_steps, actions.shape[0])
    return state, jax.lax.scan(step, state, (keys, actions))[1]


def walk(key, num_steps, swing):
    """Actions that keep a direction for a while, and go beyond the bounds at times."""
    turns = jax.random.normal(key, (num_steps // 20, 2)) * swing
    return jnp.repeat(turns, 20, axis=0)


@pytest.mark.parametrize(("max_pellets", "num_pellets"), [(4, 4), (16, 16), (16, 2)])
def test_every_reward_touch_round_and_termination_agrees_with_the_reference(max_pellets, num_pellets):
    env = Bikkle(max_pellets=max_pellets)
    num_touches, num_checked = 0, 0
    for continuing in (True, False):
        params = BikkleParams(num_pellets=num_pellets, continuing=continuing, max_steps_in_episode=3000)
        actions = walk(jax.random.key(num_pellets), 3000, 1.5)
        first, history = play(env, params, jax.random.key(7), actions)
        first, (states, rewards, ends, infos, cuts) = jax.tree.map(np.asarray, (first, history))
        blue = [i % 2 == 1 for i in range(num_pellets)]
        pellets = [np.array([first.pellet_x[i], first.pellet_y[i]]) for i in range(num_pellets)]
        arena = Arena(first.agent.copy(), pellets, blue, int(first.target), continuing=continuing)
        x, y = states.pellet_x[:, :num_pellets], states.pellet_y[:, :num_pellets]
        apart = np.hypot(x[:, :, None] - x[:, None], y[:, :, None] - y[:, None])
        assert (apart + np.eye(num_pellets)).min() > 0.08
        for i, action in enumerate(np.asarray(actions)):
            reward, terminated, touched, new_target = arena.step(action)
            np.testing.assert_allclose(rewards[i], reward, rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(states.agent[i], arena.agent, atol=1e-6)
            assert ends[i] == terminated
            assert cuts[i] == (i + 1 >= 3000)
            assert states.round_step[i] == arena.t
            assert infos["pink"][i] + infos["blue"][i] == len(touched)
            assert infos["blue"][i] == sum(blue[j] for j in touched)
            for j in range(num_pellets):
                now = np.array([states.pellet_x[i, j], states.pellet_y[i, j]])
                assert (j in touched) == bool((now != arena.pellets[j]).any())
                arena.pellets[j] = now
            assert new_target or states.target[i] == arena.target
            assert states.target[i] % 2 == 0 and states.target[i] < num_pellets
            arena.target = int(states.target[i])
            arena.agent = states.agent[i].copy()
            num_touches, num_checked = num_touches + len(touched), num_checked + 1
    assert num_checked == 6000
    assert num_touches >= 10
