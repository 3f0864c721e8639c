"""The mazes of the literature."""

import jax
import numpy as np
import pytest
from plain_mazes import search, to_grids

from envs.maze.evaluation import named_layouts
from envs.maze.held_out import is_held_out
from envs.maze.named import NAMED, SIZE, parse

LAYOUTS = named_layouts()
LENGTHS = {
    "SixteenRooms": 20,
    "SixteenRooms2": 22,
    "Labyrinth": 96,
    "LabyrinthFlipped": 96,
    "Labyrinth2": 96,
    "StandardMaze": 40,
    "StandardMaze2": 56,
    "StandardMaze3": 39,
    "NineRooms": 20,
    "NineRoomsFewerDoors": 34,
}
"""Of the shortest paths, as first found: a text that is changed by mistake mostly changes them."""


@pytest.mark.parametrize("name", NAMED)
def test_a_named_maze_is_solved_by_a_breadth_first_search_in_as_many_steps(name):
    layout = jax.tree.map(lambda leaf: np.asarray(leaf[list(NAMED).index(name)]), LAYOUTS)
    plan = parse(NAMED[name].text)
    assert plan.walls.shape == (SIZE, SIZE)
    assert tuple(layout.start) == plan.start and tuple(layout.goal) == plan.goal
    distance = search(plan.walls, plan.goal)
    np.testing.assert_array_equal(layout.distance_map, distance)
    assert layout.shortest == distance[plan.start] == LENGTHS[name]


def test_named_mazes_have_a_border_and_the_walls_of_their_texts():
    grids = to_grids(LAYOUTS.walls.transpose(1, 2, 0))
    for walls, maze in zip(grids, NAMED.values(), strict=True):
        assert walls[0].all() and walls[-1].all() and walls[:, 0].all() and walls[:, -1].all()
        lines = maze.text.split()
        # A border of 15 x 15 squares has 56.
        assert walls.sum() == 56 + sum(line.count("#") for line in lines)
        assert [len(line) for line in lines] == [SIZE - 2] * (SIZE - 2)


def test_a_labyrinth_and_its_mirror_image_are_as_long_as_each_other():
    by_name = dict(zip(NAMED, LAYOUTS.shortest.tolist(), strict=True))
    walls = {name: parse(NAMED[name].text).walls for name in ("Labyrinth", "LabyrinthFlipped")}
    np.testing.assert_array_equal(walls["Labyrinth"], walls["LabyrinthFlipped"][:, ::-1])
    assert by_name["Labyrinth"] == by_name["LabyrinthFlipped"]


def test_training_never_draws_a_named_maze():
    assert is_held_out(LAYOUTS.walls.transpose(1, 2, 0)).all()


def test_some_names_are_drawn_in_their_order_and_others_refused():
    names = ("StandardMaze3", "SixteenRooms")
    chosen = named_layouts(names)
    for index, name in enumerate(names):
        np.testing.assert_array_equal(chosen.walls[index], LAYOUTS.walls[list(NAMED).index(name)])
    with pytest.raises(ValueError, match="no maze is called 'Labyrinth3'; there are SixteenRooms"):
        named_layouts(("Labyrinth3",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("S..\n.#.\n..G\n...", "not square"),
        ("S.\n.G", "odd side"),
        ("S..\n.x.\n..G", "no squares of a maze"),
        ("S..\n.#.\n...", r"one start S and one goal G, not \[1, 0\]"),
        ("S..\n.S.\n..G", r"not \[2, 1\]"),
    ],
)
def test_texts_that_are_no_maze_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse(text)
