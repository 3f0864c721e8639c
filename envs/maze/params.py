"""Maze's parameters: data that may be traced, swept and mapped; none of it changes a shape."""

from typing import Any

from flax import struct

from purerl import ranges
from purerl.ranges import Count, NotNegative, Number, Share

RECORD_SIZE, RECORD_LIMIT = 9, 50
"""The size whose time limit is one of record; other sizes have a multiple of their number of cells."""
STEPS_PER_CELL = 3
"""A shortest path in a perfect maze takes fewer than two steps a cell."""


@struct.dataclass
class MazeParams:
    """What mazes are drawn and what a step is worth; times in steps, lengths in cells of the grid.

    Attributes:
        difficulty: share of the interior walls of a perfect maze that stay; 0 is an open room.
        distance: share of the largest distance to the goal in a maze; starts are no further.
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

    difficulty: Share = 1.0
    distance: Share = 1.0
    random_goal: bool = False
    step_reward: Number = -0.1
    goal_reward: Number = 0.5
    sparse: NotNegative = 0.0
    shaping: NotNegative = 0.0
    shaping_gamma: Share = 0.99
    novelty: NotNegative = 0.0
    max_steps_in_episode: Count = RECORD_LIMIT


def default_limit(size: int) -> int:
    """Time limit for mazes of `size` x `size`: 50 for 9, else three steps for each cell of the cell graph."""
    num_cells = ((size - 1) // 2) ** 2
    return RECORD_LIMIT if size == RECORD_SIZE else max(4, STEPS_PER_CELL * num_cells)


def check(env: Any, params: MazeParams) -> None:
    """Refuses parameters that cannot be meant, on the host, before anything is compiled.

    Raises:
        ValueError: one line that names the numbers and a remedy.
    """
    ranges.check(params)
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
