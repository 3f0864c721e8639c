"""What a Maze run leaves to look at: a table, a film of episodes, and a sheet of the curriculum's levels."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from envs.drawing import save_gif, save_png
from envs.experiments.maze import NAMED_SUITE, SUITE_SIZES, Policy, Worlds, evaluation_env, suite
from envs.maze.film import contact_sheet, record, render_episodes
from purerl.host import printing
from purerl.types import Algorithm, PyTree, TrainState

NUM_FILMED = 8
NUM_EACH = 6
"""Levels of each kind on the sheet."""
FRAMES_A_SECOND = 8


def report(
    worlds: Worlds,
    algorithm: Algorithm,
    run_dir: Path,
    state: TrainState,
    summary: dict[str, Any],
    console: Console,
) -> None:
    """Writes `episode.gif` and `level_sheet.png` of the first seed, and prints the table of results."""
    first = jax.tree.map(lambda leaf: leaf[0], state)
    learner = jax.tree.map(np.asarray, first.learner)
    film(worlds, algorithm.policy, learner, run_dir / "episode.gif")
    save_png(run_dir / "level_sheet.png", level_sheet(first.curriculum))
    printing.say(console, "Greedy policy in mazes that no training draws")
    console.print(results_table(summary["eval"]))
    note = "Optimality: steps of a shortest path over steps taken, mean over the solved mazes."
    printing.say(console, note, style="italic")


def film(worlds: Worlds, policy: Policy, learner: PyTree, path: Path) -> None:
    """Greedy episodes in held-out mazes side by side, a shortest path ghosted in each."""
    env, params = evaluation_env(worlds.env, worlds.env.size)
    layouts = suite(env, env.size, 1.0, worlds.num_mazes)
    # Long ways are the ones worth seeing.
    longest = np.argsort(-np.asarray(layouts.shortest), kind="stable")[: 4 * NUM_FILMED : 4]
    layouts = jax.tree.map(lambda leaf: jnp.asarray(leaf)[longest], layouts)
    act = lambda observation, key: policy(learner, observation, key, True)  # noqa: E731
    play = jax.jit(partial(record, env, act=act, num_steps=int(params.max_steps_in_episode)))
    states = play(params=params, layouts=layouts, key=jax.random.key(0))
    save_gif(path, render_episodes(states, params), FRAMES_A_SECOND)


def level_sheet(curriculum: Any) -> np.ndarray:
    """The easiest and the hardest levels of a pool, and those of the highest scores where it has any."""
    states = jax.tree.map(np.asarray, curriculum.pool.env_state)
    path_length = np.where(states.shortest < 0, np.iinfo(np.int32).max, states.shortest)
    order = np.argsort(path_length, kind="stable")
    kinds = {"easiest": order[:NUM_EACH], "hardest": order[::-1][:NUM_EACH]}
    if hasattr(curriculum, "book"):
        score = np.asarray(curriculum.book.score)
        kinds["score"] = np.argsort(-score, kind="stable")[:NUM_EACH]
    titles = []
    for kind, slots in kinds.items():
        for slot in slots:
            what = f"score {score[slot]:.3g}" if kind == "score" else kind
            shortest = int(states.shortest[slot])
            titles.append(f"{what}: {shortest} step{'s' * (shortest != 1)}")
    chosen = np.concatenate(list(kinds.values()))
    return contact_sheet(jax.tree.map(lambda leaf: leaf[chosen], states), titles, columns=NUM_EACH)


def results_table(results: dict[str, dict[str, Any]]) -> Table:
    """Solve rate and optimality in each suite; named mazes one by one."""
    sizes = [f"size_{size}" for size in SUITE_SIZES]
    suites = [*sizes, *(name for name in results if name.startswith("size_") and name not in sizes)]
    rows = [name for name in (*suites, NAMED_SUITE) if name in results]
    rows += [name for name in results if name not in rows]
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("suite", no_wrap=True)
    for name in ("solved", "optimality", "mazes"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in rows:
        cell = results[name]
        is_suite = name in suites or name == NAMED_SUITE
        table.add_row(
            name if is_suite else f"  {name}",
            Text(f"{100 * cell['solve_rate']:.2f} %", style="bold"),
            f"{cell['optimality']:.4f}" if cell["solve_rate"] else "-",
            f"{cell['mazes']:,}",
        )
    return table
