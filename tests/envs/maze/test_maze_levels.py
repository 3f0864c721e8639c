"""Levels: starts and goals where they may be, none held out in training, mutations that keep their word."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_mazes import (
    depth_first_trees,
    distinct,
    draw,
    search,
    surprise,
    to_boards,
    to_grids,
    tree_surprise,
)

from envs.maze.evaluation import held_out_layouts
from envs.maze.held_out import fingerprint, is_held_out, level_fingerprint
from envs.maze.levels import Layout, make_layouts, next_true, training_layouts
from envs.maze.mutations import mutate

SEEDS = st.integers(0, 2**31 - 1)
SHARES = st.floats(0.0, 1.0, width=32)


COUNT = 512
"""Levels drawn at once, in all tests, so that one program serves them; only some have distances checked."""


@cache
def trainer(style, size):
    return jax.jit(partial(training_layouts, size=size, style=style))


def train(seed, style="dfs", size=9, difficulty=1.0, distance=1.0, random_goal=False, count=COUNT):
    """Levels for training as NumPy arrays."""
    shares = [jnp.full(count, share, jnp.float32) for share in (difficulty, distance)]
    key = jax.random.key(seed)
    found = trainer(style, size)(key, difficulty=shares[0], distance=shares[1], random_goal=random_goal)
    return jax.tree.map(np.asarray, found)


def grids_of(layouts):
    return to_grids(jnp.asarray(layouts.walls).transpose(1, 2, 0))


held_out_of_walls = jax.jit(is_held_out)
marks_of_levels = jax.jit(jax.vmap(level_fingerprint))


def held_out(layouts):
    return np.asarray(held_out_of_walls(jnp.asarray(layouts.walls).transpose(1, 2, 0)))


def marks_of(layouts):
    return np.asarray(marks_of_levels(layouts.walls, layouts.goal, layouts.start))


def check_distances(walls, layouts, count=16):
    for index, grid in enumerate(walls[:count]):
        distance = search(grid, layouts.goal[index])
        np.testing.assert_array_equal(layouts.distance_map[index], distance)
        assert layouts.shortest[index] == distance[tuple(layouts.start[index])]


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(["dfs", "rooms"]), SEEDS, SHARES, SHARES, st.booleans())
def test_a_level_has_its_goal_and_start_where_they_may_be(style, seed, difficulty, share, random_goal):
    layouts = train(seed, style, 9, difficulty, share, random_goal)
    grids = grids_of(layouts)
    check_distances(grids, layouts)
    assert not held_out(layouts).any()
    largest = layouts.distance_map.max((1, 2))
    assert (layouts.shortest >= 1).all()
    # float32: a share of a distance below 64 is off by less than 1e-5.
    assert (layouts.shortest <= np.maximum(1, share * largest + 1e-3)).all()
    if not random_goal:
        assert (layouts.goal == 7).all()


def fixed_maze(count):
    """One maze, many times: bool [N, N] and its boards."""
    grid = draw("dfs", 9, 3, 1, 0.6)[0]
    return grid, jnp.broadcast_to(to_boards(grid[None]), (9, 1, count))


def count_squares(squares):
    counts = np.zeros((9, 9), int)
    np.add.at(counts, tuple(np.asarray(squares).T), 1)
    return counts


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_starts_are_uniform_over_the_squares_within_the_distance(share):
    count = 20_000
    grid, walls = fixed_maze(count)
    layouts = level_maker()(random_seeds(count), walls, jnp.full(count, share), False)
    distance = search(grid, (7, 7))
    allowed = (distance > 0) & (distance <= max(1, int(share * distance.max() + 1e-6)))
    counts = count_squares(layouts.start)
    assert counts[~allowed].sum() == 0
    assert abs(surprise(counts[allowed], np.full(allowed.sum(), count / allowed.sum()))) < 4.0


def test_random_goals_are_uniform_over_the_free_squares():
    count = 20_000
    grid, walls = fixed_maze(count)
    layouts = level_maker()(random_seeds(count), walls, jnp.ones(count), True)
    counts = count_squares(layouts.goal)
    free = ~grid & (search(grid, (7, 7)) >= 0)
    assert counts[~free].sum() == 0
    assert abs(surprise(counts[free], np.full(free.sum(), count / free.sum()))) < 4.0


@cache
def level_maker():
    return jax.jit(make_layouts)


def random_seeds(count):
    return jax.random.bits(jax.random.key(9), (2, count), jnp.uint32)


def test_an_eighth_of_all_mazes_is_held_out():
    # With half of the walls gone hardly any maze comes up twice; perfect ones of 9 x 9 do.
    share = np.asarray(held_out_of_walls(to_boards(draw("dfs", 9, 6, 40_000, 0.5)))).mean()
    # Standard error sqrt(1/8 * 7/8 / 40000) = 0.0017; four of them.
    assert share == pytest.approx(1 / 8, abs=0.0067)


def test_training_draws_the_mazes_that_are_not_held_out_as_often_as_the_generator_does():
    probabilities = depth_first_trees(3)
    grids = grids_of(train(0, size=7, count=40_000))
    for_training = ~np.asarray(is_held_out(to_boards(grids_of_trees(probabilities))))
    assert 0 < for_training.sum() < len(probabilities)
    kept = {
        tree: share for (tree, share), keep in zip(probabilities.items(), for_training, strict=True) if keep
    }
    total = sum(kept.values())
    # A replacement is a copy of another maze of the batch: an eighth of the counts is not independent, which
    # spreads the statistic. The same test with one tree missing fails by far.
    expected = {tree: share / total for tree, share in kept.items()}
    found = tree_surprise(grids, expected)
    assert abs(found) < 8.0
    rarest = min(expected, key=expected.get)
    missing = (grids == grids_of_trees([rarest])).all((1, 2))
    assert tree_surprise(grids[~missing], expected) > found + 8.0


def grids_of_trees(trees):
    grids = np.ones((len(trees), 7, 7), bool)
    grids[:, 1::2, 1::2] = False
    for grid, edges in zip(grids, trees, strict=True):
        for edge in edges:
            grid[edge] = False
    return grids


def test_training_leaves_out_one_of_the_four_mazes_of_5_x_5_and_evaluation_has_that_one_alone():
    mazes, _ = distinct(grids_of(train(1, size=5)))
    assert len(mazes) == 3
    evaluated = held_out_layouts(jax.random.key(0), 5, "dfs", jnp.ones(4), jnp.ones(4))
    (other,), _ = distinct(grids_of(evaluated))
    assert not (mazes == other).all((1, 2)).any()


def test_one_level_alone_is_never_held_out():
    def single(key):
        return training_layouts(key, 5, "dfs", jnp.ones(1), jnp.ones(1)).walls[0]

    walls = jax.jit(jax.vmap(single))(jax.random.split(jax.random.key(0), 200))
    assert not held_out_of_walls(walls.transpose(1, 2, 0)).any()
    assert len(np.unique(walls, axis=0)) == 3


def test_levels_for_evaluation_are_held_out_and_differ_from_each_other():
    difficulty = jnp.tile(jnp.array([0.5, 1.0]), 128)
    layouts = held_out_layouts(jax.random.key(0), 9, "dfs", difficulty, jnp.full(256, 0.5), random_goal=True)
    assert held_out(layouts).all()
    assert len(np.unique(marks_of(layouts))) == 256
    grids = grids_of(layouts)
    check_distances(grids, jax.tree.map(np.asarray, layouts))
    # Each level has the difficulty asked for: 9 inner corners, all of them walls in perfect mazes only.
    corners = grids[:, 2:-1:2, 2:-1:2].reshape(256, -1)
    assert corners[1::2].all() and corners[::2].mean() == pytest.approx(0.5, abs=0.06)
    again = held_out_layouts(jax.random.key(0), 9, "dfs", difficulty, jnp.full(256, 0.5), random_goal=True)
    np.testing.assert_array_equal(layouts.start, again.start)


def test_where_no_maze_is_held_out_evaluation_is_refused_in_one_line():
    with pytest.raises(ValueError, match="dfs mazes of 5 x 5 at difficulty 0 is held out") as caught:
        held_out_layouts(jax.random.key(0), 5, "dfs", jnp.zeros(4), jnp.ones(4))
    assert "\n" not in str(caught.value)


def test_an_open_room_can_be_trained_on_at_every_size():
    for size in (5, 9, 15, 35):
        room = np.pad(np.zeros((1, size - 2, size - 2), bool), ((0, 0), (1, 1), (1, 1)), constant_values=True)
        assert not held_out_of_walls(to_boards(room)).any()


def test_fingerprints_tell_walls_goals_and_starts_apart():
    layouts = train(2)
    marks = np.asarray(jax.jit(jax.vmap(fingerprint))(layouts.walls))
    assert len(np.unique(marks)) == len(np.unique(layouts.walls, axis=0))
    np.testing.assert_array_equal(marks, jax.jit(fingerprint)(layouts.walls.transpose(1, 2, 0)))
    whole = [tuple(np.concatenate([w.ravel(), s])) for w, s in zip(layouts.walls, layouts.start, strict=True)]
    assert len(np.unique(marks_of(layouts))) == len(set(whole))
    swapped = layouts.replace(start=layouts.goal, goal=layouts.start)
    assert not np.isin(marks_of(swapped), marks_of(layouts)).any()


@given(st.lists(st.booleans(), min_size=12, max_size=12).filter(any))
@settings(max_examples=50, deadline=None)
def test_the_next_flag_that_is_set_goes_round(flags):
    expected = [next(j % 12 for j in range(i, 24) if flags[j % 12]) for i in range(12)]
    assert following(jnp.array(flags)).tolist() == expected


following = jax.jit(next_true)
mutator = jax.jit(mutate)


def change(seed, parents, num_edits, keep_solvable=True, random_goal=False):
    found = mutator(jax.random.key(seed), parents, num_edits, keep_solvable, random_goal)
    return jax.tree.map(np.asarray, found)


@settings(max_examples=10, deadline=None)
@given(SEEDS, SHARES, st.booleans(), st.booleans())
def test_mutations_keep_their_promises(seed, difficulty, keep_solvable, random_goal):
    parents = train(seed, difficulty=difficulty, random_goal=random_goal)
    children = change(seed, parents, 5, keep_solvable, random_goal)
    before, after = grids_of(parents), grids_of(children)
    assert ((before != after).sum((1, 2)) <= 5).all()
    assert after[:, 0].all() and after[:, -1].all() and after[:, :, 0].all() and after[:, :, -1].all()
    index = np.arange(COUNT)
    for place in (children.start, children.goal):
        assert not after[index, place[:, 0], place[:, 1]].any()
    assert (children.start != children.goal).any(1).all()
    assert random_goal or (children.goal == parents.goal).all()
    assert not keep_solvable or (children.shortest > 0).all()
    assert not held_out(children).any()
    check_distances(after, children)


def test_mutations_may_make_levels_unsolvable_where_that_is_allowed():
    parents = train(3)
    assert (change(0, parents, 5, keep_solvable=False).shortest < 0).mean() > 0.1
    assert (change(0, parents, 5, keep_solvable=True).shortest > 0).all()


def test_the_kinds_of_edits_are_equally_likely_and_squares_uniform():
    grid, _ = fixed_maze(1)
    one = Layout(
        walls=to_boards(grid[None])[..., 0],
        goal=jnp.array([7, 7]),
        start=jnp.array([1, 1]),
        distance_map=search(grid, (7, 7)).astype(np.int16),
        shortest=jnp.int32(search(grid, (7, 7))[1, 1]),
    )
    parents = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (COUNT, *jnp.shape(leaf))), one)
    batches = [change(seed, parents, 1, keep_solvable=False, random_goal=True) for seed in range(40)]
    children = jax.tree.map(lambda *leaves: np.concatenate(leaves), *batches)
    count = 40 * COUNT
    flipped = grids_of(children) != grid
    moved = [(getattr(children, end) != getattr(one, end)).any(1) for end in ("start", "goal")]
    kinds = np.stack([flipped.any((1, 2)), *moved])
    assert (kinds.sum(0) <= 1).all()
    # A third each, but for flips to walls that are held out. Four standard errors of sqrt(2 / 9 / 20480).
    np.testing.assert_allclose(kinds[1:].mean(1), 1 / 3, atol=0.0132)
    flips = flipped.sum(0)[1:-1, 1:-1]
    assert flips[0, 0] == flips[-1, -1] == 0
    # 47 squares: each is flipped 20480 / 3 / 47 = 145 times, or never, where the result is held out.
    assert (flips > 0).sum() > 30
    assert abs(surprise(flips[flips > 0], np.full((flips > 0).sum(), count / 3 / 47))) < 4.0
    free = ~grid
    free[1, 1] = free[7, 7] = False
    for places in (children.start[moved[0]], children.goal[moved[1]]):
        counts = count_squares(places)
        assert counts[~free].sum() == 0
        assert abs(surprise(counts[free], np.full(free.sum(), len(places) / free.sum()))) < 4.0
