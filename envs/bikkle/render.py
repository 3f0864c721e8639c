"""Pictures of the arena, drawn with Pillow: no display, no matplotlib."""

from typing import Any

import numpy as np

from envs.bikkle.params import BikkleParams
from envs.bikkle.state import BikkleState
from envs.drawing import (
    AGENT,
    AGENT_CORE,
    BLUE,
    BLUE_LIGHT,
    BORDER,
    FAINT_TEXT,
    FLOOR,
    GOLD,
    GRID,
    MINT,
    PINK,
    PINK_LIGHT,
    TEXT,
    Canvas,
    mix,
    save_gif,
)

__all__ = ["frame", "render_episode", "render_frame", "save_gif"]

MARGIN, CAPTION = 0.03, 0.085
TRAIL_LENGTH = 40


class _Canvas(Canvas):
    """A picture of the arena's square, in arena coordinates: y is 1 at the top."""

    def __init__(self, size: int) -> None:
        margin = MARGIN * size
        super().__init__(size, int(size * (1.0 + CAPTION)), margin, margin, size - 2.0 * margin)

    def at(self, x: float, y: float) -> tuple[float, float]:
        return super().at(x, 1.0 - y)


def render_frame(
    snapshot: BikkleState,
    size: int = 384,
    trail: Any = (),
    pellet_size: float = 0.04,
    episode_return: float | None = None,
) -> np.ndarray:
    """Draws one state.

    Args:
        snapshot: a state without batch axes, of arrays that NumPy can read.
        size: width in pixels; the caption is added below.
        trail: earlier positions of the agent, [2] each, oldest first.
        pellet_size: radius of agent and pellets, in arena sides.
        episode_return: for the caption; left out where None.

    Returns:
        uint8 [H, size, 3].
    """
    canvas = _Canvas(size)
    _draw_floor(canvas)
    _draw_trail(canvas, [*trail, snapshot.agent], pellet_size)
    _draw_pellets(canvas, snapshot, pellet_size)
    _draw_agent(canvas, snapshot, pellet_size)
    if bool(snapshot.gaze.present):
        _draw_gaze(canvas, np.asarray(snapshot.gaze.point), pellet_size)
    _draw_caption(canvas, snapshot, episode_return)
    return canvas.pixels()


def frame(state: BikkleState, params: BikkleParams) -> np.ndarray:
    """Draws one state of an arena with these parameters: uint8 [H, W, 3]."""
    return render_frame(state, pellet_size=float(params.pellet_size))


def render_episode(
    states: BikkleState,
    rewards: Any = None,
    size: int = 384,
    pellet_size: float = 0.04,
) -> list[np.ndarray]:
    """Draws every state of an episode, with the agent's trail.

    Args:
        states: leaves [T, ...], as a scan stacks them.
        rewards: [T], each earned on the way to the state beside it; adds the return to the caption.
        size: width in pixels.
        pellet_size: radius of agent and pellets, in arena sides.

    Returns:
        T frames, uint8 [H, size, 3] each.
    """
    agents = np.asarray(states.agent)
    totals = None if rewards is None else np.cumsum(np.asarray(rewards))
    frames = []
    for i in range(agents.shape[0]):
        total = None if totals is None else float(totals[i])
        trail = agents[max(0, i - TRAIL_LENGTH) : i]
        frames.append(render_frame(_at(states, i), size, trail, pellet_size, total))
    return frames


def _at(states: BikkleState, i: int) -> BikkleState:
    import jax  # noqa: PLC0415

    return jax.tree.map(lambda leaf: np.asarray(leaf)[i], states)


def _draw_floor(canvas: _Canvas) -> None:
    canvas.box((0.0, 1.0), (1.0, 0.0), FLOOR, radius=0.02)
    for place in np.linspace(0.1, 0.9, 9):
        canvas.line([(place, 0.0), (place, 1.0)], GRID, 0.0015)
        canvas.line([(0.0, place), (1.0, place)], GRID, 0.0015)
    canvas.box((0.0, 1.0), (1.0, 0.0), None, 0.02, BORDER, 0.004)


def _draw_trail(canvas: _Canvas, places: list[Any], pellet_size: float) -> None:
    count = len(places) - 1
    for i in range(count):
        share = (i + 1) / count
        start, end = (tuple(np.asarray(place, float)) for place in places[i : i + 2])
        # A jump is a new episode, not a move.
        if max(abs(start[0] - end[0]), abs(start[1] - end[1])) < 0.2:
            color = mix(AGENT, FLOOR, 0.45 * share**1.5)
            width = pellet_size * (0.15 + 0.45 * share)
            canvas.line([start, end], color, width)
            canvas.disc(end, width / 2, color)


def _draw_pellets(canvas: _Canvas, state: BikkleState, pellet_size: float) -> None:
    xs, ys = np.asarray(state.pellet_x, float), np.asarray(state.pellet_y, float)
    for i in range(int(state.num_pellets)):
        x, y = xs[i], ys[i]
        color, light = (BLUE, BLUE_LIGHT) if i % 2 else (PINK, PINK_LIGHT)
        for glow in (1.7, 1.4, 1.2):
            canvas.disc((x, y), glow * pellet_size, (*color, 22))
        canvas.disc((x, y), pellet_size, color)
        canvas.disc((x - 0.3 * pellet_size, y + 0.3 * pellet_size), 0.26 * pellet_size, (*light, 220))
        if i == int(state.target):
            canvas.disc((x, y), 1.45 * pellet_size, None, GOLD, 0.16 * pellet_size)


def _draw_agent(canvas: _Canvas, state: BikkleState, pellet_size: float) -> None:
    x, y = np.asarray(state.agent, float)
    canvas.disc((x, y), 1.25 * pellet_size, (*AGENT, 30))
    canvas.disc((x, y), pellet_size, AGENT)
    canvas.disc((x, y), 0.55 * pellet_size, AGENT_CORE)
    canvas.disc((x, y), 0.3 * pellet_size, FLOOR)


def _draw_gaze(canvas: _Canvas, point: np.ndarray, pellet_size: float) -> None:
    x, y = (float(number) for number in point)
    near, far, width = 0.35 * pellet_size, 0.95 * pellet_size, 0.16 * pellet_size
    # Once wider in the color of the floor, so that it stands out from a pellet as well.
    for color, more in (((*FLOOR, 200), 0.12 * pellet_size), ((*MINT, 255), 0.0)):
        canvas.disc((x, y), 0.62 * pellet_size + more / 2, None, color, 0.12 * pellet_size + more)
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            start, end = near - more / 2, far + more / 2
            arm = [(x + start * dx, y + start * dy), (x + end * dx, y + end * dy)]
            canvas.line(arm, color, width + more)


def _draw_caption(canvas: _Canvas, state: BikkleState, episode_return: float | None) -> None:
    side = canvas.size[0]
    row, text_size, margin = side * (1.0 + 0.4 * CAPTION), 0.042 * side, MARGIN * side
    canvas.text(margin, row, f"step {int(state.time)}", TEXT, text_size, "lm")
    canvas.text(side / 2, row, f"round {int(state.round_step)}", FAINT_TEXT, text_size, "mm")
    if episode_return is not None:
        canvas.text(side - margin, row, f"return {episode_return:+.1f}", TEXT, text_size, "rm")
