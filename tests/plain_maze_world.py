"""The rules of the maze once more, in plain Python, to be played in lock step with the environment."""

import math
from dataclasses import dataclass, field
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from plain_mazes import search, to_boards

from envs.maze import Layout

MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))


def random_room(rng, size, share=0.3):
    """Walls at random within a border, and a start from which a way leads to the goal."""
    while True:
        walls = np.ones((size, size), bool)
        walls[1:-1, 1:-1] = rng.random((size - 2, size - 2)) < share
        free = np.argwhere(~walls)
        goal = free[rng.integers(len(free))]
        starts = np.argwhere(search(walls, goal) > 0)
        if len(starts):
            return walls, goal, starts[rng.integers(len(starts))]


def layouts_of(rooms):
    """Rooms, each (walls, goal, start), as a `Layout` with a leading axis."""
    walls, goals, starts = (np.stack(part) for part in zip(*rooms, strict=True))
    maps = np.stack([search(*room[:2]) for room in rooms])
    return Layout(
        walls=to_boards(walls).transpose(2, 0, 1),
        goal=jnp.asarray(goals, jnp.int32),
        start=jnp.asarray(starts, jnp.int32),
        distance_map=jnp.asarray(maps, jnp.int16),
        shortest=jnp.asarray(maps[np.arange(len(rooms)), starts[:, 0], starts[:, 1]], jnp.int32),
    )


@partial(jax.jit, static_argnums=0)
def begin(env, params, layouts):
    """States at the start, and what the agent sees there."""
    states = jax.vmap(env.start, (0, None))(layouts, params)
    return states, jax.vmap(env.observe_state, (0, None))(states, params)


@partial(jax.jit, static_argnums=0)
def play(env, params, layouts, actions):
    """Steps without resets, actions [T, M]: (observation, state, reward, terminated, truncated, info)."""
    step_env = jax.vmap(env.step_env, (None, 0, 0, None))

    def step(state, action):
        observation, after, reward, terminated, info = step_env(jax.random.key(0), state, action, params)
        truncated = jax.vmap(env.is_truncated, (0, None))(after, params)
        return after, (observation, after, reward, terminated, truncated, info)

    return jax.lax.scan(step, begin(env, params, layouts)[0], actions)[1]


@dataclass
class PlainMaze:
    """One episode."""

    walls: np.ndarray
    goal: tuple
    agent: tuple
    params: object
    path: list = field(default_factory=list)

    def __post_init__(self):
        self.path.append(self.agent)
        self.distance = search(self.walls, self.goal)

    def step(self, action):
        """Reward, reward without shaping and novelty, terminated, truncated."""
        p, before, size = self.params, self.agent, len(self.walls)
        ahead = before[0] + MOVES[action][0], before[1] + MOVES[action][1]
        self.agent = before if self.walls[ahead] else ahead
        self.path.append(self.agent)
        time = len(self.path) - 1
        reached = self.agent == self.goal
        plain = p.step_reward
        if reached:
            plain += p.goal_reward + p.sparse * (1 - 0.9 * time / p.max_steps_in_episode)
        first = self.path.count(self.agent) == 1
        reward = plain + first * p.novelty / ((~self.walls).sum() - 1)
        follows = 0 if reached else -self.distance[self.agent] / size
        reward += p.shaping * (p.shaping_gamma * follows + self.distance[before] / size)
        return reward, plain, reached, time >= p.max_steps_in_episode

    def grid(self, trace):
        size = len(self.walls)
        picture = np.zeros((size, size, 3 + trace), bool)
        picture[..., 0] = self.walls
        picture[(*self.agent, 1)] = picture[(*self.goal, 2)] = True
        if trace:
            for cell in self.path:
                picture[(*cell, 3)] = True
        return picture

    def patch(self, k, trace, num_positions):
        size, (row, column) = len(self.walls), self.agent
        planes = [np.pad(self.walls, k, constant_values=True)]
        if trace:
            planes.append(np.pad(self.grid(True)[..., 3], k))
        top, left = row + k - k // 2, column + k - k // 2
        numbers = list(np.stack(planes, -1)[top : top + k, left : left + k].ravel())
        offset = np.subtract(self.goal, self.agent)
        length = math.hypot(*offset)
        numbers += [*(offset / max(length, 1)), *(offset / size), length / size]
        for i in range(num_positions):
            place = len(self.path) - 2 - i
            known = place >= 0
            numbers += [*(np.subtract(self.path[place], self.agent) / size), 1] if known else [0, 0, 0]
        return np.array(numbers, np.float32)
