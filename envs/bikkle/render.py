"""Pictures of the arena, drawn with Pillow: no display, no matplotlib."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from envs.bikkle.params import BikkleParams
from envs.bikkle.state import BikkleState

OVERSAMPLING = 3
MARGIN, CAPTION = 0.03, 0.085
BACKDROP, FLOOR, GRID, BORDER = (16, 19, 33), (26, 30, 50), (34, 39, 63), (58, 65, 99)
PINK, PINK_LIGHT = (255, 107, 160), (255, 183, 210)
BLUE, BLUE_LIGHT = (72, 132, 255), (161, 196, 255)
GOLD, AGENT, AGENT_CORE, GAZE = (255, 203, 92), (235, 240, 252), (120, 132, 170), (103, 240, 196)
TEXT, FAINT_TEXT = (226, 231, 245), (132, 141, 176)
TRAIL_LENGTH = 40


class _Canvas:
    """An RGBA picture of the arena's square, in arena coordinates: y is 1 at the top."""

    def __init__(self, size: int) -> None:
        self.side = size * OVERSAMPLING
        self.left = MARGIN * self.side
        self.scale = (1.0 - 2.0 * MARGIN) * self.side
        self.image = Image.new("RGB", (self.side, int(self.side * (1.0 + CAPTION))), BACKDROP)
        self.draw = ImageDraw.Draw(self.image, "RGBA")

    def at(self, x: float, y: float) -> tuple[float, float]:
        return self.left + x * self.scale, self.left + (1.0 - y) * self.scale

    def disc(self, centre: Any, radius: float, fill: Any, outline: Any = None, width: float = 0.0) -> None:
        column, row = self.at(*centre)
        reach = radius * self.scale
        box = (column - reach, row - reach, column + reach, row + reach)
        self.draw.ellipse(box, fill=fill, outline=outline, width=max(1, round(width * self.scale)))

    def line(self, points: Sequence[tuple[float, float]], colour: Any, width: float) -> None:
        pixels = [self.at(*point) for point in points]
        self.draw.line(pixels, fill=colour, width=max(1, round(width * self.scale)))


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
    height = int(size * (1.0 + CAPTION))
    return np.asarray(canvas.image.resize((size, height), Image.Resampling.LANCZOS))


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


def save_gif(path: str | Path, frames: Sequence[np.ndarray], fps: int = 25) -> None:
    """Writes an endless animation."""
    # It takes its time to import, and who only looks at frames does without.
    import imageio.v3 as imageio  # noqa: PLC0415

    imageio.imwrite(path, np.stack(frames), extension=".gif", duration=1000.0 / fps, loop=0)


def _at(states: BikkleState, i: int) -> BikkleState:
    import jax  # noqa: PLC0415

    return jax.tree.map(lambda leaf: np.asarray(leaf)[i], states)


def _draw_floor(canvas: _Canvas) -> None:
    box = (*canvas.at(0.0, 1.0), *canvas.at(1.0, 0.0))
    corner = 0.02 * canvas.scale
    canvas.draw.rounded_rectangle(box, corner, fill=FLOOR)
    for place in np.linspace(0.1, 0.9, 9):
        canvas.line([(place, 0.0), (place, 1.0)], GRID, 0.0015)
        canvas.line([(0.0, place), (1.0, place)], GRID, 0.0015)
    canvas.draw.rounded_rectangle(box, corner, outline=BORDER, width=round(0.004 * canvas.scale))


def _draw_trail(canvas: _Canvas, places: list[Any], pellet_size: float) -> None:
    count = len(places) - 1
    for i in range(count):
        share = (i + 1) / count
        start, end = (tuple(np.asarray(place, float)) for place in places[i : i + 2])
        # A jump is a new episode, not a move.
        if max(abs(start[0] - end[0]), abs(start[1] - end[1])) < 0.2:
            tint = 0.45 * share**1.5
            colour = tuple(int(a * tint + f * (1 - tint)) for a, f in zip(AGENT, FLOOR, strict=True))
            width = pellet_size * (0.15 + 0.45 * share)
            canvas.line([start, end], colour, width)
            canvas.disc(end, width / 2, colour)


def _draw_pellets(canvas: _Canvas, state: BikkleState, pellet_size: float) -> None:
    xs, ys = np.asarray(state.pellet_x, float), np.asarray(state.pellet_y, float)
    for i in range(int(state.num_pellets)):
        x, y = xs[i], ys[i]
        colour, light = (BLUE, BLUE_LIGHT) if i % 2 else (PINK, PINK_LIGHT)
        for glow in (1.7, 1.4, 1.2):
            canvas.disc((x, y), glow * pellet_size, (*colour, 22))
        canvas.disc((x, y), pellet_size, colour)
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
    # Once wider in the colour of the floor, so that it stands out from a pellet as well.
    for colour, more in (((*FLOOR, 200), 0.12 * pellet_size), ((*GAZE, 255), 0.0)):
        canvas.disc((x, y), 0.62 * pellet_size + more / 2, None, colour, 0.12 * pellet_size + more)
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            start, end = near - more / 2, far + more / 2
            arm = [(x + start * dx, y + start * dy), (x + end * dx, y + end * dy)]
            canvas.line(arm, colour, width + more)


def _draw_caption(canvas: _Canvas, state: BikkleState, episode_return: float | None) -> None:
    size = int(0.042 * canvas.side)
    font = ImageFont.load_default(size)
    row = canvas.side * (1.0 + 0.4 * CAPTION)
    canvas.draw.text((canvas.left, row), f"step {int(state.time)}", TEXT, font, anchor="lm")
    middle = f"round {int(state.round_step)}"
    canvas.draw.text((canvas.side / 2, row), middle, FAINT_TEXT, font, anchor="mm")
    if episode_return is not None:
        right = f"return {episode_return:+.1f}"
        canvas.draw.text((canvas.side - canvas.left, row), right, TEXT, font, anchor="rm")
