"""What mazes offer to a curriculum."""

from typing import Any

import jax
import jax.numpy as jnp

from envs.maze import mutations
from envs.maze.environment import Maze
from envs.maze.held_out import level_fingerprint
from envs.maze.levels import solved_layouts, training_layouts
from envs.maze.params import MazeParams
from envs.maze.state import MazeState
from purerl.types import Levels

EASIEST_DIFFICULTY, EASIEST_DISTANCE = 0.5, 0.25
"""What hardness 0 stands for; hardness 1 stands for what the parameters say."""


def maze_levels(env: Maze, num_edits: int = 4, keep_solvable: bool = True) -> Levels:
    """Mazes of an environment as levels of a curriculum.

    Difficulty and distance lead in straight lines from 0.5 and 0.25, at hardness 0, to those of the
    parameters, at hardness 1.

    Args:
        env: the environment whose states the levels are.
        num_edits: changes of a mutation.
        keep_solvable: True gives up a mutation that cuts the start off from the goal.
    """

    def generate(key: jax.Array, params: MazeParams, hardness: jax.Array) -> MazeState:
        difficulty = toward(EASIEST_DIFFICULTY, params.difficulty, hardness)
        distance = toward(EASIEST_DISTANCE, params.distance, hardness)
        layouts = training_layouts(key, env.size, env.style, difficulty, distance, params.random_goal)
        return jax.vmap(env.start, (0, None))(layouts, params)

    def mutate(key: jax.Array, states: MazeState, params: MazeParams) -> MazeState:
        layouts = solved_layouts(states.walls.transpose(1, 2, 0), states.goal.T, states.agent.T)
        changed = mutations.mutate(key, layouts, num_edits, keep_solvable, params.random_goal)
        return jax.vmap(env.start, (0, None))(changed, params)

    def fingerprint(state: MazeState) -> jax.Array:
        return level_fingerprint(state.walls, state.goal, state.agent)

    return Levels(
        generate=generate,
        observe=env.observe_state,
        describe=describe,
        fingerprint=fingerprint,
        mutate=mutate,
    )


def toward(easiest: float, hardest: Any, hardness: jax.Array) -> jax.Array:
    """The way from `easiest` to `hardest` in proportion to hardness, float32 [L] in [0, 1]: float32 [L]."""
    return (easiest + (hardest - easiest) * hardness).astype(jnp.float32)


def describe(state: MazeState, params: MazeParams) -> dict[str, jax.Array]:
    """What a plot shows of a level, float32 [] each.

    Returns:
        wall_share: walls within the border, over those of a perfect maze: what `difficulty` sets.
        path_length: steps of a shortest path from the start to the goal; -1 where there is none.
    """
    size = state.walls.shape[0]
    num_cells = ((size - 1) // 2) ** 2
    border, inside = 4 * (size - 1), (size - 2) ** 2
    count = jax.lax.population_count(state.walls).sum(dtype=jnp.int32) - border
    # A spanning tree frees its cells and the walls between joined ones: 2 * cells - 1.
    in_perfect_maze = inside - (2 * num_cells - 1)
    return {
        "wall_share": count.astype(jnp.float32) / in_perfect_maze,
        "path_length": state.shortest.astype(jnp.float32),
    }
