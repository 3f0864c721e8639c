"""The state of a maze, and what follows from it. Positions are (row, column), from the top left corner."""

import jax
import jax.numpy as jnp
from flax import struct

from envs.maze import boards


@struct.dataclass
class MazeState:
    """One maze of N x N, with what the environment was asked to remember; what it was not asked for is None.

    Attributes:
        walls: board, uint32 [N, W]; 1 is wall. The outer border is wall.
        goal: int32 [2].
        agent: int32 [2]; the start, where `time` is 0.
        time: steps since the episode began, int32 [].
        shortest: steps that a shortest path from start to goal takes, int32 []; -1 where there is none.
        scene: planes that the observation is made of, bool; see `envs.maze.observations`. Walls and goal
            are in it once more; the trace of visited cells, if any, is in it alone.
        visits: how often the agent was in each cell, the present visit included, int32 [N, N].
        earlier: the last positions before the present one, newest first, int32 [m, 2]; -1 where absent.
        distances: steps from each cell to the goal, int16 [N, N]; -1 for walls and what cannot reach it.
    """

    walls: jax.Array
    goal: jax.Array
    agent: jax.Array
    time: jax.Array
    shortest: jax.Array
    scene: jax.Array
    visits: jax.Array | None = None
    earlier: jax.Array | None = None
    distances: jax.Array | None = None


def move(state: MazeState, action: jax.Array) -> jax.Array:
    """Where an action leads: int32 [2]. 0 to 3 are up, down, left and right; a wall stops the agent."""
    step = jnp.stack([(action == 1) - 1 * (action == 0), (action == 3) - 1 * (action == 2)])
    ahead = state.agent + step.astype(jnp.int32)
    return jnp.where(boards.test(state.walls, ahead[0], ahead[1]), state.agent, ahead)


def remember(state: MazeState, agent: jax.Array) -> dict[str, jax.Array]:
    """Visits and earlier positions, as far as the state holds them, after a step to `agent`, int32 [2]."""
    renewed = {}
    if state.visits is not None:
        renewed["visits"] = state.visits.at[agent[0], agent[1]].add(1)
    if state.earlier is not None:
        renewed["earlier"] = jnp.concatenate([state.agent[None], state.earlier[:-1]])
    return renewed
