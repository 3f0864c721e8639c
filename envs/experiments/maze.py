"""Experiments in mazes: the world from the command line, and its evaluation."""

import dataclasses
import itertools
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs.maze import Layout, Maze, MazeParams, check, held_out_layouts, named_layouts
from envs.maze.named import NAMED
from envs.maze.params import default_limit
from purerl import ranges
from purerl.ranges import MOST_INT32, Count, CountOrZero, NotNegative, Number, Range, Share
from purerl.rollout.evaluate import Episodes, Greedy, evaluate
from purerl.types import Algorithm, PyTree

EVALUATION = 0x6D617A65
"""Folded into a key, it gives the key of the held-out mazes."""
SUITE_SIZES = (9, 15)
DIFFICULTIES = (0.25, 0.5, 0.75, 1.0)
WORST_SHARE = 0.01
STARTS_A_MAZE = 10
"""Starts from which each maze is tried, for the solve rate of the worst mazes."""
NAMED_SUITE = "named"

Policy = Any
GridSize = Annotated[int, Range(5, MOST_INT32, whole=True)]


@dataclass(frozen=True)
class WorldOptions:
    """The mazes."""

    size: GridSize = 9
    """Side of the grid, border included; odd."""
    style: Literal["dfs", "wilson", "rooms"] = "dfs"
    """How mazes are carved: depth-first search, uniform spanning trees, or rooms and corridors."""
    observation: Literal["grid", "patch"] = "grid"
    """The whole grid, or a window about the agent with direction and distance to the goal."""
    trace: bool = False
    """Show the cells visited in this episode."""
    patch_size: Count = 5
    """Side of the window, odd."""
    num_positions: CountOrZero = 0
    """How many earlier positions a patch shows."""
    difficulty: Share = 1.0
    """Share of the inner walls of a perfect maze that stay; the hardest that training draws."""
    distance: Share = 1.0
    """Farthest start, as a share of the largest distance to the goal."""
    random_goal: bool = False
    """Draw the goal, too; otherwise it is in the bottom-right corner."""
    step_reward: Number = -0.1
    """Reward for each step."""
    goal_reward: Number = 0.5
    """Reward for reaching the goal."""
    sparse: NotNegative = 0.0
    """Weight of a reward for the goal that falls from 1 to 0.1 as time runs out."""
    shaping: NotNegative = 0.0
    """Coefficient of the potential-based shaping reward in training; evaluation never has it."""
    novelty: NotNegative = 0.0
    """Bonus for seeing all of a maze in an episode, an equal share for each cell's first visit; in training
    only, and at most what the goal pays."""
    max_steps_in_episode: Count | None = None
    """Steps after which an episode is cut; None: 50 for 9 x 9, three for each cell for other sizes."""


def make_world(options: WorldOptions, gamma: float) -> tuple[Maze, MazeParams]:
    """The mazes to train in.

    Raises:
        ValueError: one line, where they cannot be meant.
    """
    ranges.check(options)
    env = Maze(
        size=options.size,
        style=options.style,
        observation=options.observation,
        trace=options.trace,
        patch_size=options.patch_size,
        num_positions=options.num_positions,
        track_distances=options.shaping > 0,
        track_visits=options.novelty > 0,
    )
    limit = options.max_steps_in_episode
    params = MazeParams(
        difficulty=options.difficulty,
        distance=options.distance,
        random_goal=options.random_goal,
        step_reward=options.step_reward,
        goal_reward=options.goal_reward,
        sparse=options.sparse,
        shaping=options.shaping,
        shaping_gamma=gamma,
        novelty=options.novelty,
        max_steps_in_episode=default_limit(options.size) if limit is None else limit,
    )
    check(env, params)
    return env, params


def evaluation_env(env: Maze, size: int) -> tuple[Maze, MazeParams]:
    """The same observations in mazes of another size, with the rewards and the time limit of record."""
    plain = dataclasses.replace(env, size=size, track_distances=False, track_visits=False)
    return plain, plain.default_params


def play_layouts(env: Maze, policy: Policy, learners: PyTree, layouts: Layout, key: jax.Array) -> Episodes:
    """One greedy episode of every learner in every maze: leaves [S, M]."""
    env, params = evaluation_env(env, layouts.walls.shape[1])
    states = jax.vmap(env.start, (0, None))(layouts, params)
    starts = (jax.vmap(env.observe_state, (0, None))(states, params), states)
    row = jax.tree.map(lambda leaf: np.asarray(leaf)[None], params)
    greedy: Any = Greedy(policy)
    limit = int(params.max_steps_in_episode)
    episodes = evaluate(env, row, greedy, learners, key, len(layouts.shortest), limit, starts)
    return jax.tree.map(lambda leaf: leaf[:, 0], episodes)


def summarize_mazes(episodes: Episodes, shortest: np.ndarray | jax.Array) -> dict[str, Any]:
    """What a report says of episodes, leaves [S, M], in mazes with these shortest paths, int [M].

    Returns:
        `solve_rate`, over all; `optimality`: shortest path over steps taken, mean over the solved mazes, 0
        where there are none; `mazes`, for each seed; `per_seed`, the solve rate of each.
    """
    solved = episodes.solved
    ratio = np.asarray(shortest) / np.maximum(episodes.length, 1)
    return {
        "solve_rate": float(solved.mean()),
        "optimality": float(ratio[solved].mean()) if solved.any() else 0.0,
        "mazes": int(solved.shape[1]),
        "per_seed": solved.mean(1, dtype=np.float64).tolist(),
    }


class Worlds(NamedTuple):
    """Evaluation of a policy that trained on the mazes of `env`.

    Attributes:
        env: the mazes of training.
        transfers: whether the policy reads grids of every size.
        num_mazes: in each suite.
    """

    env: Maze
    transfers: bool
    num_mazes: int

    def evaluate(self, algorithm: Algorithm, learners: PyTree, seed: int) -> dict[str, Any]:
        """Suite -> statistics of the greedy policy, on mazes that no training draws.

        Args:
            algorithm: whose policy it is.
            learners: leaves [S, ...].
            seed: of the run; it changes nothing here, so that all runs meet the same mazes.
        """
        policy, key = algorithm.policy, jax.random.fold_in(jax.random.key(0), EVALUATION)
        sizes = [size for size in (*SUITE_SIZES, self.env.size) if self.transfers or size == self.env.size]
        results = {}
        for size in dict.fromkeys(sizes):
            layouts = suite(self.env, size, 1.0, self.num_mazes)
            episodes = play_layouts(self.env, policy, learners, layouts, key)
            results[f"size_{size}"] = summarize_mazes(episodes, layouts.shortest)
            if size == self.env.size:
                results[f"size_{size}"] |= self._details(policy, learners, episodes, layouts, key)
        if self.transfers or self.env.size == named_layouts().walls.shape[1]:
            results |= self._named(policy, learners, key)
        return results

    def score(self, algorithm: Algorithm, learners: PyTree, seed: int, num_episodes: int) -> np.ndarray:
        """Solve rate of the greedy policy of each learner on mazes of the size of training, float64 [S].

        Args:
            algorithm: whose policy it is.
            learners: leaves [S, ...].
            seed: draws the mazes, apart from the suite that runs are reported by: what is selected by some
                mazes looks better in these than it is. Of 9 x 9 with one goal, some 450 are held out in all.
            num_episodes: mazes.
        """
        key = jax.random.fold_in(jax.random.key(0), EVALUATION)
        layouts = suite(self.env, self.env.size, 1.0, num_episodes, jax.random.key(seed))
        solved = play_layouts(self.env, algorithm.policy, learners, layouts, key).solved
        return np.asarray(solved).mean(axis=1, dtype=np.float64)

    @property
    def scored(self) -> tuple[str, ...]:
        """Where in the evaluation the solve rate stands that `score` estimates."""
        return (f"size_{self.env.size}",)

    def _details(
        self, policy: Policy, learners: PyTree, episodes: Episodes, layouts: Layout, key: jax.Array
    ) -> dict[str, Any]:
        by_difficulty = {}
        for difficulty in DIFFICULTIES:
            easier = suite(self.env, self.env.size, difficulty, self.num_mazes)
            played = play_layouts(self.env, policy, learners, easier, key)
            by_difficulty[f"{difficulty:g}"] = summarize_mazes(played, easier.shortest)
        return {
            "by_difficulty": by_difficulty,
            "by_path_length": by_path_length(episodes, np.asarray(layouts.shortest)),
            "worst_mazes": self._worst(policy, learners, layouts, key),
        }

    def _worst(self, policy: Policy, learners: PyTree, layouts: Layout, key: jax.Array) -> dict[str, Any]:
        """Solve rate of the worst mazes of each seed, from several starts each (conditional value at risk).

        The mazes are ranked by one half of their starts and judged by the other, so that bad luck in the
        ranking does not count.
        """
        number = np.arange(len(layouts.shortest)).repeat(2 * STARTS_A_MAZE)
        many = with_random_starts(jax.tree.map(lambda leaf: np.asarray(leaf)[number], layouts))
        solved = play_layouts(self.env, policy, learners, many, key).solved
        half = np.asarray(solved).reshape(len(solved), -1, 2, STARTS_A_MAZE).mean(3)  # [S, mazes, halves]
        count = max(1, round(WORST_SHARE * half.shape[1]))
        worst = np.argsort(half[..., 0], axis=1, kind="stable")[:, :count]
        rates = np.take_along_axis(half[..., 1], worst, axis=1).mean(1)
        return {"share": WORST_SHARE, "solve_rate": float(rates.mean()), "per_seed": rates.tolist()}

    def _named(self, policy: Policy, learners: PyTree, key: jax.Array) -> dict[str, Any]:
        layouts = named_layouts()
        episodes = play_layouts(self.env, policy, learners, layouts, key)
        results = {NAMED_SUITE: summarize_mazes(episodes, layouts.shortest)}
        for index, name in enumerate(NAMED):
            one = jax.tree.map(lambda leaf, at=index: leaf[:, at : at + 1], episodes)
            results[name] = summarize_mazes(one, layouts.shortest[index : index + 1])
        return results


def suite(env: Maze, size: int, difficulty: float, num_mazes: int, key: jax.Array | None = None) -> Layout:
    """Held-out mazes of one difficulty, starts from everywhere: without a key the same for every run."""
    key = jax.random.fold_in(jax.random.key(EVALUATION) if key is None else key, size)
    each = partial(jnp.full, num_mazes)
    return held_out_layouts(key, size, env.style, each(difficulty), each(1.0))


def with_random_starts(layouts: Layout) -> Layout:
    """The same mazes, leading axis L, with starts uniform over the cells that lead to the goal."""
    distance = np.asarray(layouts.distance_map)
    noise = np.random.default_rng(EVALUATION).random(distance.shape)
    flat = np.where(distance > 0, noise, -1.0).reshape(len(distance), -1).argmax(1)
    start = np.stack(np.unravel_index(flat, distance.shape[1:]), axis=1).astype(np.int32)
    shortest = distance.reshape(len(distance), -1)[np.arange(len(flat)), flat].astype(np.int32)
    chosen: dict[str, Any] = {"start": start, "shortest": shortest}
    return dataclasses.replace(layouts, **chosen)


def by_path_length(episodes: Episodes, shortest: np.ndarray) -> list[dict[str, Any]]:
    """Statistics by the quarter of the longest path that a maze's shortest path falls into."""
    edges = np.linspace(0, shortest.max(), 5)
    bins = []
    for low, high in itertools.pairwise(edges):
        inside = np.flatnonzero((shortest > low) & (shortest <= high))
        if len(inside):
            part = jax.tree.map(lambda leaf, at=inside: leaf[:, at], episodes)
            bounds = {"path_length": [int(shortest[inside].min()), int(shortest[inside].max())]}
            bins.append(bounds | summarize_mazes(part, shortest[inside]))
    return bins
