"""The two views of a maze: the whole grid in channels, or the window about the agent with a compass."""

import jax
import jax.numpy as jnp

from envs.maze import boards
from envs.maze.state import MazeState, cell_plane
from purerl import spaces

COMPASS = 5
"""Numbers that lead to the goal: direction (2), offset (2) and distance (1)."""


def grid(state: MazeState, trace: bool) -> jax.Array:
    """The whole maze on channels wall, agent, goal and, with `trace`, visited cells: bool [N, N, C]."""
    size = state.walls.shape[0]
    channels = [
        boards.unpack(state.walls, size),
        cell_plane(state.agent[0], state.agent[1], size),
        cell_plane(state.goal[0], state.goal[1], size),
    ]
    if trace:
        assert state.visited is not None
        channels.append(boards.unpack(state.visited, size))
    return jnp.stack(channels, axis=-1)


def grid_space(size: int, trace: bool) -> spaces.Box:
    """The space of `grid`."""
    return spaces.Box(0, 1, (size, size, 3 + trace), bool)


def patch(state: MazeState, patch_size: int, trace: bool) -> jax.Array:
    """What an agent with a compass and a short sight knows, as one vector: float32 [F].

    In order, with k = `patch_size` and m remembered positions:
        walls: [k * k], row by row, of the window about the agent; 1 is wall, and so is what lies outside.
        visited cells of the window: [k * k], with `trace`.
        direction to the goal: [2], unit vector (row, column).
        offset of the goal: [2], (row, column) from the agent, in sides N of the maze.
        distance to the goal: [1], along a straight line, in sides N.
        earlier positions: [m * 3], newest first: offset (row, column) from the agent, in sides N, and 1;
            three zeros where there is none.
    """
    size = state.walls.shape[0]
    parts = [window(state.walls, state.agent, patch_size, outside=True)]
    if trace:
        assert state.visited is not None
        parts.append(window(state.visited, state.agent, patch_size, outside=False))
    offset = (state.goal - state.agent).astype(jnp.float32)
    distance = jnp.sqrt(jnp.sum(offset**2))
    parts += [offset / jnp.maximum(distance, 1.0), offset / size, distance[None] / size]
    if state.earlier is not None:
        present = state.earlier[:, :1] >= 0
        offsets = (state.earlier - state.agent).astype(jnp.float32) / size
        parts.append(jnp.where(present, jnp.concatenate([offsets, jnp.ones_like(offsets[:, :1])], 1), 0.0))
    return jnp.concatenate([part.astype(jnp.float32).ravel() for part in parts])


def patch_space(patch_size: int, trace: bool, num_positions: int) -> spaces.Box:
    """The space of `patch`."""
    return spaces.Box(-1.5, 1.5, (patch_size**2 * (1 + trace) + COMPASS + 3 * num_positions,))


def window(board: jax.Array, centre: jax.Array, patch_size: int, outside: bool) -> jax.Array:
    """The k x k cells of a board, uint32 [N, W], about a centre, int32 [2]: bool [k, k]."""
    size = board.shape[0]
    reach = jnp.arange(patch_size) - patch_size // 2
    rows, columns = centre[0] + reach, centre[1] + reach
    lines = board[jnp.clip(rows, 0, size - 1)]  # [k, W]
    within = ((rows >= 0) & (rows < size))[:, None] & ((columns >= 0) & (columns < size))
    word = columns // boards.WORD
    bits = sum(
        jnp.where(word == i, lines[:, i, None] >> (columns % boards.WORD).astype(jnp.uint32), 0)
        for i in range(board.shape[1])
    )
    return jnp.where(within, (bits & 1).astype(bool), outside)
