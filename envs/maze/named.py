"""Mazes of the literature, on which agents that trained on random mazes are compared.

Each is 13 x 13 squares within a border, so N = 15 here. The text holds the inner squares: `#` is wall, `S`
the start, `G` the goal. In the sources the agent also has a direction to look in, which is left out.

Sources: Dennis et al., "Emergent complexity and zero-shot transfer via unsupervised environment design"
(NeurIPS 2020) and Jiang et al., "Replay-guided adversarial environment design" (NeurIPS 2021), whose code is
DCD, github.com/facebookresearch/dcd, `envs/multigrid/maze.py`; Jiang et al., "minimax" (2023),
github.com/facebookresearch/minimax; Coward et al., "JaxUED" (2024), github.com/DramaCow/jaxued,
`environments/maze/level.py`. The names are those of jaxued where it has the maze.
"""

from typing import NamedTuple

import numpy as np

SIZE = 15
"""N of the mazes here, with the border."""


class NamedMaze(NamedTuple):
    """A maze as text.

    Attributes:
        source: where it is defined, by the short names above.
        text: the squares within the border, a line a row.
    """

    source: str
    text: str


NAMED = {
    "SixteenRooms": NamedMaze(
        "DCD, `SixteenRoomsEnv`; jaxued",
        """
        ...#..#..#...
        .S.......#...
        ...#..#......
        #.###.##.###.
        ...#.........
        ......#..#...
        ##.#.##.###.#
        ...#.....#...
        ...#..#......
        .####.##.#.##
        ...#..#..#...
        ......#....G.
        ...#.....#...
        """,
    ),
    "SixteenRooms2": NamedMaze(
        "DCD, `SixteenRoomsFewerDoorsEnv`; jaxued",
        """
        ...#.....#...
        .S....#..#...
        ...#..#..#...
        ####.##.###.#
        ...#..#......
        ......#..#...
        #.#####.#####
        ...#..#..#...
        ...#.........
        ##.##.##.####
        ...#..#..#...
        ......#....G.
        ...#..#..#...
        """,
    ),
    "Labyrinth": NamedMaze(
        "DCD, `LabyrinthEnv`; jaxued",
        """
        .............
        .###########.
        .#.........#.
        .#.#######.#.
        .#.#.....#.#.
        .#.#.###.#.#.
        .#.#.#G#.#.#.
        .#.#.#.#.#.#.
        .#...#...#.#.
        .#########.#.
        .....#.....#.
        ####.#.#####.
        S....#.......
        """,
    ),
    "LabyrinthFlipped": NamedMaze(
        "minimax, `LabyrinthFlipped`; jaxued",
        """
        .............
        .###########.
        .#.........#.
        .#.#######.#.
        .#.#.....#.#.
        .#.#.###.#.#.
        .#.#.#G#.#.#.
        .#.#.#.#.#.#.
        .#.#...#...#.
        .#.#########.
        .#.....#.....
        .#####.#.####
        .......#....S
        """,
    ),
    "Labyrinth2": NamedMaze(
        "DCD, `Labyrinth2Env`; jaxued",
        """
        S#...........
        .#.#########.
        .#.#.......#.
        .#.#.#####.#.
        .#.#.#...#.#.
        ...#.#.#.#.#.
        ####.#G#.#.#.
        ...#.###.#.#.
        .#.#.....#.#.
        .#.#######.#.
        .#.........#.
        .###########.
        .............
        """,
    ),
    "StandardMaze": NamedMaze(
        "DCD, `MazeEnv`; jaxued",
        """
        .....#S...#..
        .###.####.##.
        .#...........
        .########.###
        ........#....
        ######.#####.
        ....#..#.....
        .##...##.####
        ..#.#..#...#.
        #.#.##.###.#.
        #.#..#...#...
        #.##.###.###.
        ...#..G#.#...
        """,
    ),
    "StandardMaze2": NamedMaze(
        "DCD, `HorizontalMazeEnv`; jaxued",
        """
        ...#.#....#..
        .#.#.####...#
        .#........#..
        .########.###
        ...#..#.#.#.G
        ##.#.##.#.#..
        S#.#....#.##.
        .#.##.###..#.
        .#..#..###.#.
        .##.##.#.#.#.
        .#...#.#.#.#.
        .#.#.#.#.#.#.
        ...#...#.....
        """,
    ),
    "StandardMaze3": NamedMaze(
        "DCD, `Maze3Env`; jaxued",
        """
        ...S#.#......
        .####.#.####.
        .#....#.#....
        ...####.#.#.#
        ##.#....#.#..
        ...#.##.#.##.
        .#.#.#..#..#G
        .#.#.#.###.##
        .#...#.#.#...
        .###.#.#.###.
        .#...#.#...#.
        .#.###.#.#.#.
        .#...#...#...
        """,
    ),
    "NineRooms": NamedMaze(
        "DCD, `NineRoomsEnv`",
        """
        ........#....
        .S..#........
        ....#...#....
        ....#...#....
        #.###.######.
        ....#........
        ........#....
        ....#...#....
        ###.###.##.##
        ....#...#....
        ........#....
        ....#......G.
        ....#...#....
        """,
    ),
    "NineRoomsFewerDoors": NamedMaze(
        "DCD, `NineRoomsFewerDoorsEnv`",
        """
        ....#...#....
        .S..#........
        ....#...#....
        ....#...#....
        #.###.######.
        ....#...#....
        ........#....
        ....#...#....
        ###.##.###.##
        ....#...#....
        ........#....
        ....#...#..G.
        ....#...#....
        """,
    ),
}


class Plan(NamedTuple):
    """A maze as arrays.

    Attributes:
        walls: bool [N, N], with the border.
        start: row and column.
        goal: row and column.
    """

    walls: np.ndarray
    start: tuple[int, int]
    goal: tuple[int, int]


def parse(text: str) -> Plan:
    """Reads a maze from the text of its inner squares.

    Raises:
        ValueError: the text is not square, holds other characters, or not one start and one goal.
    """
    squares = np.array([list(line.strip()) for line in text.strip().splitlines()], dtype="U1")
    if squares.ndim != 2 or squares.shape[0] != squares.shape[1] or squares.shape[0] % 2 == 0:
        raise ValueError(f"a maze of shape {squares.shape} is not square with an odd side")
    unknown = set(squares.flat) - set("#.SG")
    if unknown:
        raise ValueError(f"{sorted(unknown)} are no squares of a maze; use '#', '.', 'S' and 'G'")
    ends = [np.argwhere(squares == letter) + 1 for letter in "SG"]
    if [len(found) for found in ends] != [1, 1]:
        raise ValueError(f"a maze has one start S and one goal G, not {[len(found) for found in ends]}")
    walls = np.pad(squares == "#", 1, constant_values=True)
    start, goal = ((int(row), int(column)) for ((row, column),) in ends)
    return Plan(walls=walls, start=start, goal=goal)
