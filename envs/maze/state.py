"""The state of a maze, and what follows from it. Positions are (row, column), from the top left corner."""

import jax
import jax.numpy as jnp
from flax import struct

from envs.maze import boards
from envs.maze.levels import Layout


@struct.dataclass
class MazeState:
    """One maze of N x N, with what the environment was asked to remember; what it was not asked for is None.

    Attributes:
        walls: board, uint32 [N, W]; 1 is wall. The outer border is wall.
        goal: int32 [2].
        agent: int32 [2]; the start, where `time` is 0.
        time: steps since the episode began, int32 [].
        shortest: steps that a shortest path from start to goal takes, int32 []; -1 where there is none.
        visited: board of the cells where the agent was or is, uint32 [N, W].
        visits: how often the agent was in each cell, the present visit included, int32 [N, N].
        earlier: the last positions before the present one, newest first, int32 [m, 2]; -1 where absent.
        distances: steps from each cell to the goal, int16 [N, N]; -1 for walls and what cannot reach it.
    """

    walls: jax.Array
    goal: jax.Array
    agent: jax.Array
    time: jax.Array
    shortest: jax.Array
    visited: jax.Array | None = None
    visits: jax.Array | None = None
    earlier: jax.Array | None = None
    distances: jax.Array | None = None


def begin(
    layout: Layout, track_visited: bool, track_visits: bool, num_positions: int, track_distances: bool
) -> MazeState:
    """The state at the start of an episode in a maze, with what is to be remembered.

    Args:
        layout: one level, without batch axes.
        track_visited: whether to hold `visited`.
        track_visits: whether to hold `visits`.
        num_positions: m, how many `earlier` positions to hold.
        track_distances: whether to hold `distances`.
    """
    size = layout.walls.shape[0]
    row, column = layout.start[0], layout.start[1]
    return MazeState(
        walls=layout.walls,
        goal=layout.goal,
        agent=layout.start,
        time=jnp.zeros((), jnp.int32),
        shortest=layout.shortest,
        visited=boards.single(row, column, size) if track_visited else None,
        visits=cell_plane(row, column, size).astype(jnp.int32) if track_visits else None,
        earlier=jnp.full((num_positions, 2), -1, jnp.int32) if num_positions else None,
        distances=layout.distance_map if track_distances else None,
    )


def cell_plane(row: jax.Array, column: jax.Array, size: int) -> jax.Array:
    """The grid on which one cell is True: bool [size, size]."""
    index = jnp.arange(size)
    return (index[:, None] == row) & (index == column)


def move(state: MazeState, action: jax.Array) -> jax.Array:
    """Where an action leads: int32 [2]. 0 to 3 are up, down, left and right; a wall stops the agent."""
    step = jnp.stack([(action == 1) - 1 * (action == 0), (action == 3) - 1 * (action == 2)])
    ahead = state.agent + step.astype(jnp.int32)
    return jnp.where(boards.test(state.walls, ahead[0], ahead[1]), state.agent, ahead)


def remember(state: MazeState, agent: jax.Array) -> dict[str, jax.Array]:
    """What the state remembers, renewed by a step to `agent`, int32 [2]: fields of `MazeState`."""
    size = state.walls.shape[0]
    renewed = {}
    if state.visited is not None:
        renewed["visited"] = state.visited | boards.single(agent[0], agent[1], size)
    if state.visits is not None:
        renewed["visits"] = state.visits + cell_plane(agent[0], agent[1], size)
    if state.earlier is not None:
        renewed["earlier"] = jnp.concatenate([state.agent[None], state.earlier[:-1]])
    return renewed
