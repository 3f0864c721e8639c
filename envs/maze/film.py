"""Several mazes in one picture: episodes side by side, and sheets of levels."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from envs.drawing import BACKDROP, FAINT_TEXT, Color
from envs.maze.environment import Maze
from envs.maze.levels import Layout
from envs.maze.params import MazeParams
from envs.maze.render import progress, render_frame
from envs.maze.state import MazeState
from purerl.spaces import fit_action

HOLD = 12
"""Frames for which the last picture of a film stays."""


def record(
    env: Maze,
    params: MazeParams,
    layouts: Layout,
    act: Callable[[jax.Array, jax.Array], jax.Array],
    key: jax.Array,
    num_steps: int,
) -> MazeState:
    """Plays one episode in each of some mazes, all at once.

    Args:
        env: the environment.
        params: its parameters.
        layouts: the mazes, leading axis M.
        act: `(observations [M, ...], key) -> actions int32 [M]`.
        key: for `act`.
        num_steps: T.

    Returns:
        States, leaves [T + 1, M, ...], from the start on. Where an episode has ended, its last state stays.
    """
    first = jax.vmap(env.start, (0, None))(layouts, params)

    def step(state: MazeState, act_key: jax.Array) -> tuple[MazeState, MazeState]:
        observation = jax.vmap(env.observe_state, (0, None))(state, params)
        fit = jax.vmap(lambda action: fit_action(action, env.action_space(params)))
        action = fit(act(observation, act_key))
        _, after, _, _, _ = jax.vmap(env.step_env, (None, 0, 0, None))(act_key, state, action, params)
        over = jnp.all(state.agent == state.goal, axis=1) | jax.vmap(env.is_truncated, (0, None))(
            state, params
        )

        def keep(old: jax.Array, new: jax.Array) -> jax.Array:
            return jnp.where(over.reshape(-1, *(1,) * (old.ndim - 1)), old, new)

        kept = jax.tree.map(keep, state, after)
        return kept, kept

    states = jax.lax.scan(step, first, jax.random.split(key, num_steps))[1]
    return jax.tree.map(lambda one, rest: jnp.concatenate([one[None], rest]), first, states)


def render_episodes(
    states: MazeState, params: MazeParams, size: int = 240, columns: int = 4, heat: bool = False
) -> list[np.ndarray]:
    """Draws episodes side by side, each with its trail, a shortest path and the steps taken and needed.

    Args:
        states: as `record` returns them, leaves [T + 1, M, ...].
        params: parameters of the environment.
        size: width of a maze in pixels.
        columns: mazes in a row, at most.
        heat: True shows how often each cell has been visited.

    Returns:
        Frames until the last episode ends, and some more, uint8 [H, W, 3] each.
    """
    states = jax.tree.map(np.asarray, states)
    count = int(states.time.max()) + 1
    films = [_film(_at(states, (slice(None), m)), params, size, heat) for m in range(states.time.shape[1])]
    frames = [tile([film[min(t, len(film) - 1)] for film in films], columns) for t in range(count)]
    return frames + [frames[-1]] * HOLD


def _film(states: MazeState, params: MazeParams, size: int, heat: bool) -> list[np.ndarray]:
    """Frames of one episode, leaves [T + 1, ...], until it ends."""
    agents, times = np.asarray(states.agent), np.asarray(states.time)
    num_steps = int(times[-1] - times[0])
    visits = np.zeros(2 * (states.walls.shape[1],))
    frames = []
    for t in range(num_steps + 1):
        state = _at(states, t)
        visits[tuple(agents[t])] += 1
        frames.append(
            render_frame(
                state,
                size=size,
                trail=agents[:t],
                path=True,
                heat=visits if heat else None,
                caption=progress(state, params),
            )
        )
    return frames


def contact_sheet(
    states: MazeState,
    titles: Sequence[str],
    size: int = 200,
    columns: int = 6,
    colors: Sequence[Color] | None = None,
) -> np.ndarray:
    """Draws levels in a grid, each with a shortest path and a title.

    Args:
        states: leaves [L, ...].
        titles: L short ones.
        size: width of a maze in pixels.
        columns: mazes in a row, at most.
        colors: of the titles.

    Returns:
        uint8 [H, W, 3].
    """
    states = jax.tree.map(np.asarray, states)
    colors = colors or [FAINT_TEXT] * len(titles)
    return tile(
        [
            render_frame(_at(states, i), size=size, path=True, caption=caption)
            for i, caption in enumerate(zip(titles, colors, strict=True))
        ],
        columns,
    )


def tile(pictures: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Puts pictures of one size, uint8 [H, W, 3], into rows of at most so many."""
    columns = min(columns, len(pictures))
    blank = np.broadcast_to(np.array(BACKDROP, np.uint8), pictures[0].shape)
    missing = [blank] * (-len(pictures) % columns)
    rows = [*pictures, *missing]
    return np.concatenate(
        [np.concatenate(rows[i : i + columns], axis=1) for i in range(0, len(rows), columns)], axis=0
    )


def _at(states: MazeState, index: Any) -> MazeState:
    return jax.tree.map(lambda leaf: leaf[index], states)
