"""Maze's parameters: data that may be traced, swept and mapped; none of it changes a shape."""

import math
from typing import Any

from flax import struct

RECORD_SIZE, RECORD_LIMIT = 9, 50
"""The size whose time limit is one of record; other sizes have a multiple of their number of cells."""
STEPS_PER_CELL = 3
"""A shortest path in a perfect maze takes fewer than two steps a cell."""


@struct.dataclass
class MazeParams:
    """What mazes are drawn and what a step is worth; times in steps, lengths in cells of the grid.

    Attributes:
        difficulty: share of the interior walls of a perfect maze that stay, in [0, 1]; 0 is an open room.
        distance: share, in [0, 1], of the largest distance to the goal in a maze; starts are no further.
        random_goal: True draws the goal from the free cells; False takes the bottom-right one.
        step_reward: for each step.
        goal_reward: added on reaching the goal.
        sparse: weight of 1 - 0.9 t / limit, added on reaching the goal at step t; 0 is off.
        shaping: coefficient of the potential-based shaping reward; 0 is off.
        shaping_gamma: discount within the shaping reward; that of the learner keeps the optimum.
        novelty: bonus for seeing all of a maze in an episode, an equal share for each cell's first visit; at
            most what the goal pays. 0 is off.
        max_steps_in_episode: steps after which an episode is truncated.
    """

    difficulty: float = 1.0
    distance: float = 1.0
    random_goal: bool = False
    step_reward: float = -0.1
    goal_reward: float = 0.5
    sparse: float = 0.0
    shaping: float = 0.0
    shaping_gamma: float = 0.99
    novelty: float = 0.0
    max_steps_in_episode: int = RECORD_LIMIT


def default_limit(size: int) -> int:
    """Time limit for mazes of `size` x `size`: 50 for 9, else three steps for each cell of the cell graph."""
    num_cells = ((size - 1) // 2) ** 2
    return RECORD_LIMIT if size == RECORD_SIZE else max(4, STEPS_PER_CELL * num_cells)


def check(env: Any, params: MazeParams) -> None:
    """Refuses parameters that cannot be meant, on the host, before anything is compiled.

    Raises:
        ValueError: one line that names the numbers and a remedy.
    """
    for name in ("difficulty", "distance", "shaping_gamma"):
        _require_within(name, float(getattr(params, name)), 0.0, 1.0)
    for name in ("sparse", "shaping", "novelty"):
        _require_within(name, float(getattr(params, name)), 0.0, math.inf)
    for name in ("step_reward", "goal_reward"):
        _require_within(name, float(getattr(params, name)), -math.inf, math.inf)
    limit = float(params.max_steps_in_episode)
    if not limit >= 1 or limit != math.floor(limit):
        raise ValueError(
            f"max_steps_in_episode = {limit:g} must be a whole number >= 1, such as {default_limit(env.size)}"
        )
    if float(params.shaping) and not env.track_distances:
        raise ValueError(
            f"shaping = {float(params.shaping):g} needs the distance of each cell to the goal; "
            "try Maze(track_distances=True) or shaping = 0"
        )
    if float(params.novelty) and not env.track_visits:
        raise ValueError(
            f"novelty = {float(params.novelty):g} needs the number of visits of each cell; "
            "try Maze(track_visits=True) or novelty = 0"
        )
    least = float(params.goal_reward) + 0.1 * float(params.sparse)
    if float(params.novelty) > max(least, 0.0):
        raise ValueError(
            f"novelty = {float(params.novelty):g} pays more for seeing a maze than for solving it: the goal "
            f"pays goal_reward + 0.1 * sparse = {least:g} at least; try novelty = {max(least, 0.0):g}"
        )


def _require_within(name: str, value: float, low: float, high: float) -> None:
    if math.isnan(value) or math.isinf(value) or value < low or value > high:
        low_text = "a finite number" if math.isinf(low) else f">= {low:g}"
        limit = "" if math.isinf(high) else f" and <= {high:g}"
        raise ValueError(f"{name} = {value:g} must be {low_text}{limit}")
