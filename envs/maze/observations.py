"""The two views of a maze: the whole grid in channels, or the window about the agent with a compass.

To make planes out of a board takes longer than all else that a step does, so the state holds them from the
start of the episode on, as its `scene`; a view copies or cuts it.
"""

import jax
import jax.numpy as jnp

from envs.maze import boards
from envs.maze.levels import Layout
from envs.maze.state import MazeState
from purerl import spaces

WALL, AGENT, GOAL = range(3)
"""Channels of the grid; the trace of visited cells, where there is one, is the last."""
COMPASS = 5
"""Numbers that lead to the goal: direction (2), offset (2) and distance (1)."""


def grid_scene(layout: Layout, trace: bool) -> jax.Array:
    """All of the grid but the agent: bool [N, N, C]."""
    size = layout.walls.shape[0]
    nothing = jnp.zeros((size, size), bool)
    goal = nothing.at[layout.goal[0], layout.goal[1]].set(True)
    visited = [nothing.at[layout.start[0], layout.start[1]].set(True)] if trace else []
    return jnp.stack([boards.unpack(layout.walls, size), nothing, goal, *visited], axis=-1)


def grid(state: MazeState) -> jax.Array:
    """The whole maze on channels wall, agent, goal and, with a trace, visited cells: bool [N, N, C]."""
    return state.scene.at[state.agent[0], state.agent[1], AGENT].set(True)


def grid_space(size: int, trace: bool) -> spaces.Box:
    """The space of `grid`."""
    return spaces.Box(0, 1, (size, size, 3 + trace), bool)


def patch_scene(layout: Layout, patch_size: int, trace: bool) -> jax.Array:
    """Walls and, with `trace`, visited cells, in a margin of h = k // 2 cells: bool [N + 2 h, N + 2 h, C]."""
    size, margin = layout.walls.shape[0], patch_size // 2
    planes = [jnp.pad(boards.unpack(layout.walls, size), margin, constant_values=True)]
    if trace:
        place = layout.start + margin
        planes.append(jnp.zeros_like(planes[0]).at[place[0], place[1]].set(True))
    return jnp.stack(planes, axis=-1)


def patch(state: MazeState, patch_size: int) -> jax.Array:
    """What an agent with a compass and a short sight knows, as one vector: float32 [F].

    In order, with k = `patch_size`, m remembered positions, and rows before columns throughout:
        window: [k * k * C], cell by cell; 1 for a wall, and for what lies outside. With a trace, C = 2, and a
            second number for each cell is 1 where it has been visited.
        direction to the goal: [2], a unit vector.
        offset of the goal: [2], from the agent, in sides N of the maze.
        distance to the goal: [1], along a straight line, in sides N.
        earlier positions: [m * 3], newest first: offset from the agent, in sides N, and 1; three zeros where
            there is none.
    """
    size = state.walls.shape[0]
    corner = (state.agent[0], state.agent[1], 0)
    seen = jax.lax.dynamic_slice(state.scene, corner, (patch_size, patch_size, state.scene.shape[2]))
    offset = (state.goal - state.agent).astype(jnp.float32)
    distance = jnp.sqrt(jnp.sum(offset**2))
    parts = [seen.astype(jnp.float32), offset / jnp.maximum(distance, 1.0), offset / size]
    parts.append(distance[None] / size)
    if state.earlier is not None:
        present = state.earlier[:, :1] >= 0
        offsets = (state.earlier - state.agent).astype(jnp.float32) / size
        parts.append(jnp.where(present, jnp.concatenate([offsets, jnp.ones_like(offsets[:, :1])], 1), 0.0))
    return jnp.concatenate([part.ravel() for part in parts])


def patch_space(patch_size: int, trace: bool, num_positions: int) -> spaces.Box:
    """The space of `patch`."""
    # Two corners of the maze are less than sqrt(2) sides apart.
    return spaces.Box(-1.5, 1.5, (patch_size**2 * (1 + trace) + COMPASS + 3 * num_positions,))


def with_trace(state: MazeState, agent: jax.Array) -> jax.Array:
    """The scene with one more visited cell, the position int32 [2]."""
    margin = (state.scene.shape[0] - state.walls.shape[0]) // 2
    return state.scene.at[agent[0] + margin, agent[1] + margin, -1].set(True)
