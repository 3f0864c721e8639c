"""Pictures of a maze: walls, goal, agent, its trail, a shortest path, and where it has been how often."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from envs.drawing import (
    AGENT,
    AGENT_CORE,
    BACKDROP,
    FAINT_TEXT,
    FLOOR,
    GOLD,
    MINT,
    OVERSAMPLING,
    PINK,
    TEXT,
    Canvas,
    Color,
    mix,
)
from envs.maze.boards import WORD
from envs.maze.params import MazeParams
from envs.maze.state import MazeState

WALL, WALL_SHADE = (74, 83, 128), (50, 57, 92)
MARGIN, CAPTION = 0.03, 0.1
STEPS = ((-1, 0), (1, 0), (0, -1), (0, 1))
Cell = tuple[int, int]
Caption = tuple[str, Color]


class _Canvas(Canvas):
    """A picture of N x N cells, in units of cells: (row, column), whole numbers at the center of a cell.

    Only the inner half of the border is shown.
    """

    def __init__(self, num_cells: int, size: int, captioned: bool) -> None:
        height = size + round(CAPTION * size) if captioned else size
        # Whole pixels to half a cell keep the edges of neighbors in line.
        half_cell = (1.0 - 2.0 * MARGIN) * size * OVERSAMPLING / (2 * (num_cells - 1))
        scale = 2.0 * max(1, int(half_cell)) / OVERSAMPLING
        margin = (size - scale * (num_cells - 1)) / 2
        super().__init__(size, height, margin, margin, scale)

    def at(self, x: float, y: float) -> tuple[float, float]:
        return super().at(y, x)


def frame(state: MazeState, params: MazeParams) -> np.ndarray:
    """Draws one state with a shortest path, and the number of visits where it holds it: uint8 [H, W, 3]."""
    heat = None if state.visits is None else np.asarray(state.visits)
    return render_frame(state, size=384, path=True, heat=heat, caption=progress(state, params))


def render_frame(
    state: MazeState,
    size: int = 320,
    trail: Any = (),
    path: bool = False,
    heat: np.ndarray | None = None,
    caption: Caption | None = None,
) -> np.ndarray:
    """Draws one state.

    Args:
        state: a state without batch axes, of arrays that NumPy can read.
        size: width in pixels; a caption is added below.
        trail: earlier positions of the agent, [2] each, oldest first, from the start of the episode.
        path: True shows a shortest path: from the start of the trail, or from the agent where there is none.
        heat: number of visits of each cell, [N, N].
        caption: text and its color.

    Returns:
        uint8 [H, size, 3].
    """
    walls = wall_grid(state)
    positions = [as_cell(place) for place in (*trail, state.agent)]
    canvas = _Canvas(len(walls), size, caption is not None)
    canvas.box((0, 0), (len(walls) - 1, len(walls) - 1), FLOOR)
    if heat is not None:
        _draw_heat(canvas, heat)
    _draw_walls(canvas, walls)
    if path:
        _draw_path(canvas, shortest_path(walls, positions[0], as_cell(state.goal)))
    _draw_goal(canvas, as_cell(state.goal))
    _draw_trail(canvas, positions)
    _draw_agent(canvas, positions[-1])
    if caption is not None:
        row = size * (1.0 + 0.4 * CAPTION)
        canvas.text(size / 2, row, caption[0], caption[1], max(10.0, 0.055 * size), "mm")
    return canvas.pixels()


def progress(state: MazeState, params: MazeParams) -> Caption:
    """Steps taken and steps that were needed, in a color that says how the episode stands."""
    time, shortest = int(state.time), int(state.shortest)
    words = f"{time} / {shortest} steps" if shortest >= 0 else f"{time} steps, no way"
    if (np.asarray(state.agent) == np.asarray(state.goal)).all():
        return words, MINT if time <= shortest else GOLD
    return words, PINK if time >= int(params.max_steps_in_episode) else FAINT_TEXT if time == 0 else TEXT


def wall_grid(state: MazeState) -> np.ndarray:
    """Walls as bool [N, N]."""
    board = np.asarray(state.walls)
    column = np.arange(board.shape[0])
    return ((board[:, column // WORD] >> (column % WORD).astype(np.uint32)) & 1).astype(bool)


def as_cell(place: Any) -> Cell:
    """A position as row and column."""
    return int(place[0]), int(place[1])


def shortest_path(walls: np.ndarray, start: Cell, goal: Cell) -> list[Cell]:
    """Cells of a shortest path from start to goal, both included; none where there is no path."""
    before: dict[Cell, Cell] = {goal: goal}
    front = [goal]
    while front and start not in before:
        reached = []
        for cell in front:
            for step in STEPS:
                beside = cell[0] + step[0], cell[1] + step[1]
                if not walls[beside] and beside not in before:
                    before[beside] = cell
                    reached.append(beside)
        front = reached
    if start not in before:
        return []
    path = [start]
    while path[-1] != goal:
        path.append(before[path[-1]])
    return path


def _draw_walls(canvas: _Canvas, walls: np.ndarray) -> None:
    """Blocks that run together where they touch, with a shade below."""
    for offset, color in ((0.09, WALL_SHADE), (0.0, WALL)):
        for row, column in np.argwhere(walls):
            top, left = row - 0.5 + offset, column - 0.5
            canvas.box((top, left), (top + 1.0, left + 1.0), color, radius=0.22)
            for other in ((row + 1, column), (row, column + 1)):
                if max(other) < len(walls) and walls[other]:
                    _join(canvas, (row + offset, column), (other[0] + offset, other[1]), color)
    # Half of the border lies outside of what is shown.
    last, edge = len(walls) - 1, len(walls)
    for corner, opposite in (
        ((-1, -1), (0, edge)),
        ((last, -1), (edge, edge)),
        ((-1, -1), (edge, 0)),
        ((-1, last), (edge, edge)),
    ):
        canvas.box(corner, opposite, BACKDROP)


def _join(canvas: _Canvas, first: tuple[float, float], second: tuple[float, float], color: Color) -> None:
    """Fills the notch between the round corners of two blocks that touch."""
    across = (0.0, 0.5) if first[0] != second[0] else (0.5, 0.0)
    canvas.box(
        (first[0] - across[0], first[1] - across[1]),
        (second[0] + across[0], second[1] + across[1]),
        color,
    )


def _draw_heat(canvas: _Canvas, heat: np.ndarray) -> None:
    most = max(1.0, float(np.max(heat)))
    for row, column in np.argwhere(heat > 0):
        color = mix(PINK, FLOOR, 0.12 + 0.6 * (heat[row, column] / most) ** 0.7)
        canvas.box((row - 0.5, column - 0.5), (row + 0.5, column + 0.5), color)


def _draw_path(canvas: _Canvas, path: Sequence[Cell]) -> None:
    """A row of dots, two a step."""
    for first, second in pairwise(path):
        middle = (first[0] + second[0]) / 2, (first[1] + second[1]) / 2
        canvas.disc(middle, 0.085, (*MINT, 150))
        canvas.disc(second, 0.085, (*MINT, 150))


def _draw_goal(canvas: _Canvas, goal: Cell) -> None:
    for reach in (0.5, 0.44, 0.38):
        canvas.disc(goal, reach, (*GOLD, 28))
    canvas.disc(goal, 0.3, None, GOLD, 0.09)
    canvas.disc(goal, 0.13, GOLD)


def _draw_trail(canvas: _Canvas, positions: Sequence[Cell]) -> None:
    count = len(positions) - 1
    for i, (first, second) in enumerate(pairwise(positions)):
        share = (i + 1) / count
        color = mix(AGENT, FLOOR, 0.25 + 0.4 * share**1.5)
        width = 0.17 + 0.05 * share  # no narrower than the dots of the path
        canvas.line([first, second], color, width)
        canvas.disc(second, width / 2, color)
    if count:
        canvas.disc(positions[0], 0.16, FLOOR, AGENT_CORE, 0.07)


def _draw_agent(canvas: _Canvas, agent: Cell) -> None:
    canvas.disc(agent, 0.46, (*AGENT, 30))
    canvas.disc(agent, 0.34, AGENT)
    canvas.disc(agent, 0.19, AGENT_CORE)
    canvas.disc(agent, 0.1, FLOOR)
