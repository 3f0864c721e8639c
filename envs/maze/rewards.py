"""What a step is worth: the plain reward, shaping by the distance to the goal, and a bonus for novelty."""

import jax
import jax.numpy as jnp

from envs.maze.params import MazeParams
from envs.maze.state import MazeState


def plain_reward(after: MazeState, reached: jax.Array, params: MazeParams) -> jax.Array:
    """r = step_reward, and on reaching the goal + goal_reward + sparse (1 - 0.9 t / limit): float32 [].

    Args:
        after: the state after the step; t is its time.
        reached: whether the step led to the goal, bool [].
        params: the maze's parameters.
    """
    share = after.time / jnp.asarray(params.max_steps_in_episode, jnp.float32)
    at_goal = params.goal_reward + params.sparse * (1.0 - 0.9 * share)
    return jnp.asarray(params.step_reward + jnp.where(reached, at_goal, 0.0), jnp.float32)


def potential(state: MazeState) -> jax.Array:
    """phi(s): less the steps to the goal, in sides N of the maze, float32 []; 0 where it is out of reach."""
    distances = state.distances
    assert distances is not None
    steps = distances[state.agent[0], state.agent[1]]
    return -jnp.maximum(steps, 0).astype(jnp.float32) / distances.shape[0]


def shaping(before: MazeState, after: MazeState, terminated: jax.Array, params: MazeParams) -> jax.Array:
    """F = c (gamma phi(s') - phi(s)), with phi = 0 where the episode terminated (Ng et al., 1999)."""
    if before.distances is None:
        return jnp.zeros((), jnp.float32)
    follows = jnp.where(terminated, 0.0, potential(after))
    return params.shaping * (params.shaping_gamma * follows - potential(before))


def novelty_bonus(after: MazeState, params: MazeParams) -> jax.Array:
    """An equal share of c for the first visit in this episode of each free cell but the start: float32 [].

    No walk, however long, earns more than c with it, and going a way again earns nothing. A bonus for every
    visit, as c / sqrt(n) for the n-th, would pay more for pacing between two cells than for the goal.
    """
    if after.visits is None:
        return jnp.zeros((), jnp.float32)
    num_free = after.visits.size - jax.lax.population_count(after.walls).sum(dtype=jnp.int32)
    share = params.novelty / jnp.maximum(num_free - 1, 1).astype(jnp.float32)
    return jnp.where(after.visits[after.agent[0], after.agent[1]] == 1, share, 0.0)
