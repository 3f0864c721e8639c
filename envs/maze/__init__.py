"""Mazes: their generation, dynamics, observations, levels for curricula and for evaluation, and pictures."""

from envs.maze.curriculum_levels import maze_levels
from envs.maze.environment import Maze, MazePatch
from envs.maze.evaluation import held_out_layouts, named_layouts
from envs.maze.levels import Layout, training_layouts
from envs.maze.params import MazeParams, check
from envs.maze.state import MazeState

__all__ = [
    "Layout",
    "Maze",
    "MazeParams",
    "MazePatch",
    "MazeState",
    "check",
    "held_out_layouts",
    "maze_levels",
    "named_layouts",
    "training_layouts",
]
