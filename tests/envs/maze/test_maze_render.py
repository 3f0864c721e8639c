"""Pictures of mazes, and films of episodes."""

import jax
import numpy as np
import pytest
from plain_maze_world import begin, layouts_of, random_room
from plain_mazes import draw, search

from envs.drawing import FLOOR, GOLD, MINT, save_gif, save_png
from envs.maze import Maze
from envs.maze.film import HOLD, contact_sheet, record, render_episodes
from envs.maze.render import WALL, as_cell, frame, progress, render_frame, shortest_path, wall_grid

SIZE = 9


@pytest.fixture(scope="module")
def layouts():
    rng = np.random.default_rng(0)
    return layouts_of([random_room(rng, SIZE) for _ in range(3)])


@pytest.fixture(scope="module")
def states(layouts):
    env = Maze(SIZE)
    return jax.device_get(begin(env, env.default_params, layouts)[0])


def one(states, index):
    return jax.tree.map(lambda leaf: leaf[index], states)


def count_near(picture, color):
    return int((np.abs(picture.astype(int) - color).sum(axis=-1) < 40).sum())


def test_the_ghosted_path_is_a_shortest_path_through_free_cells():
    rooms = [(walls, (SIZE - 2, SIZE - 2), (1, 1)) for walls in draw("dfs", SIZE, 0, 5)]
    rooms += [random_room(np.random.default_rng(seed), SIZE) for seed in range(5)]
    for walls, goal, start in rooms:
        path = shortest_path(walls, as_cell(start), as_cell(goal))
        assert path[0] == as_cell(start) and path[-1] == as_cell(goal)
        assert len(path) - 1 == search(walls, goal)[as_cell(start)]
        assert not any(walls[cell] for cell in path)
        steps = np.abs(np.diff(path, axis=0)).sum(1)
        assert (steps == 1).all()


def test_there_is_no_path_where_walls_cut_the_start_off():
    walls = np.ones((5, 5), bool)
    walls[1, 1] = walls[3, 3] = False
    assert shortest_path(walls, (1, 1), (3, 3)) == []


def test_a_frame_shows_walls_floor_goal_and_path_in_their_places(states):
    state = one(states, 0)
    picture = render_frame(state, size=200)
    assert picture.dtype == np.uint8 and picture.shape == (200, 200, 3)
    assert render_frame(state, size=200, caption=("words", GOLD)).shape == (220, 200, 3)
    walls = wall_grid(state)
    # Centers of cells, in pixels: a margin of 3 %, and 94 % of the width for 8 cells and half borders.
    scale, margin = 0.94 * 200 / (SIZE - 1), 0.03 * 200
    ends = {as_cell(state.agent), as_cell(state.goal)}
    for row, column in np.ndindex(walls.shape):
        if 0 < row < SIZE - 1 and 0 < column < SIZE - 1 and (row, column) not in ends:
            pixel = picture[round(margin + row * scale), round(margin + column * scale)].astype(int)
            expected = WALL if walls[row, column] else FLOOR
            assert np.abs(pixel - expected).sum() < 30
    assert count_near(picture, GOLD) > 20
    mint = np.array(MINT) * 150 // 255 + np.array(FLOOR) * 105 // 255
    assert count_near(render_frame(state, size=200, path=True), mint) > count_near(picture, mint) + 10


def test_heat_and_trail_change_the_cells_they_are_about(states):
    state = one(states, 0)
    picture = render_frame(state, size=200)
    cell = shortest_path(wall_grid(state), as_cell(state.agent), as_cell(state.goal))[1]
    heat = np.zeros((SIZE, SIZE))
    heat[cell] = 3
    changed = np.argwhere((render_frame(state, size=200, heat=heat) != picture).any(-1))
    center = 0.03 * 200 + np.array(cell) * 0.94 * 200 / (SIZE - 1)
    assert len(changed) and np.abs(changed - center).max() < 0.94 * 200 / (SIZE - 1)
    assert (render_frame(state, size=200, trail=[cell]) != picture).any()


def test_the_caption_tells_steps_taken_and_needed_and_how_the_episode_stands(states):
    params = Maze(SIZE).default_params
    state = one(states, 0)
    shortest = int(state.shortest)
    at_goal = state.replace(agent=state.goal, time=np.int32(shortest))
    perfect, late = progress(at_goal, params), progress(at_goal.replace(time=np.int32(shortest + 2)), params)
    lost, under_way = (progress(state.replace(time=np.int32(time)), params) for time in (50, 1))
    assert perfect[0] == f"{shortest} / {shortest} steps" and late[0] == f"{shortest + 2} / {shortest} steps"
    assert len({perfect[1], late[1], lost[1], under_way[1]}) == 4
    assert progress(state.replace(shortest=np.int32(-1)), params)[0] == "0 steps, no way"


def test_a_film_of_several_mazes_ends_with_the_last_episode(layouts, tmp_path):
    env = Maze(SIZE)
    params = env.default_params.replace(max_steps_in_episode=6)

    def act(observations, key):
        assert observations.shape == (3, SIZE, SIZE, 3)
        return jax.random.randint(key, (3,), 0, 4)

    states = jax.jit(lambda key: record(env, params, layouts, act, key, 10))(jax.random.key(0))
    times = np.asarray(states.time)
    assert times.shape == (11, 3) and times.max() <= 6
    over = (np.asarray(states.agent) == np.asarray(states.goal)).all(-1) | (times == 6)
    # What has ended stays as it is, and everything else goes on.
    np.testing.assert_array_equal(np.diff(times, axis=0), ~over[:-1])
    frames = render_episodes(states, params, size=80, columns=2, heat=True)
    assert len(frames) == times.max() + 1 + HOLD
    assert {picture.shape for picture in frames} == {(176, 160, 3)}
    path = tmp_path / "mazes.gif"
    save_gif(path, frames, fps=10)
    assert path.read_bytes()[:3] == b"GIF"


def test_a_contact_sheet_has_a_titled_picture_for_each_level(states, tmp_path):
    sheet = contact_sheet(states, ["easiest", "hardest", "score 0.9"], size=80, columns=2)
    assert sheet.shape == (2 * 88, 2 * 80, 3)
    # The place of the missing fourth picture is empty.
    assert len(np.unique(sheet[88:, 80:].reshape(-1, 3), axis=0)) == 1
    save_png(tmp_path / "sheet.png", sheet)
    assert (tmp_path / "sheet.png").stat().st_size > 1000


def test_the_picture_for_gymnasium_shows_visits_where_they_are_counted(states):
    params = Maze(SIZE).default_params
    state = one(states, 1)
    visits = np.zeros((SIZE, SIZE), np.int32)
    visits[tuple(state.agent)] = 1
    assert (frame(state, params) != frame(state.replace(visits=visits), params)).any()
