"""How a policy is judged where nothing else is asked for: in the environment that it was trained in."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from purerl.rollout.evaluate import Episodes, Greedy, evaluate, summarize
from purerl.types import Algorithm, PyTree, TrainState

EVALUATION = 0x6576616C
"""Folded into the key of a run, it gives the key of its evaluation."""
DEFAULT_LIMIT = 1000
"""Steps after which evaluation cuts an episode where the environment names no limit of its own."""


class World(NamedTuple):
    """Evaluation of a policy in the environment that it was trained in.

    Attributes:
        title: name of the environment, in the table.
        env: the environment.
        params: its parameters.
        num_episodes: for each seed.
    """

    title: str
    env: Any
    params: Any
    num_episodes: int

    def evaluate(self, algorithm: Algorithm, learners: PyTree, seed: int) -> dict[str, Any]:
        """Statistics of the greedy policy under "default": return, and length of the episodes.

        Args:
            algorithm: whose policy it is.
            learners: leaves [S, ...].
            seed: of the evaluation episodes, which training never draws.
        """
        episodes = self._play(algorithm, learners, seed, self.num_episodes)
        cell = summarize(np.asarray(episodes.episode_return[:, 0]))
        return {"default": cell | {"length": float(episodes.length.mean())}}

    def score(self, algorithm: Algorithm, learners: PyTree, seed: int, num_episodes: int) -> np.ndarray:
        """Mean return of the greedy policy of each learner, float64 [S]."""
        returns = self._play(algorithm, learners, seed, num_episodes).episode_return[:, 0]
        return np.asarray(returns).mean(axis=1, dtype=np.float64)

    def _play(self, algorithm: Algorithm, learners: PyTree, seed: int, num_episodes: int) -> Episodes:
        policy: Any = Greedy(algorithm.policy)
        return evaluate(
            self.env,
            jax.tree.map(lambda leaf: np.asarray(leaf)[None], self.params),
            policy,
            learners,
            jax.random.fold_in(jax.random.key(seed), EVALUATION),
            num_episodes,
            int(getattr(self.params, "max_steps_in_episode", DEFAULT_LIMIT)),
            initial_carry=algorithm.initial_carry,
        )

    def report(
        self,
        algorithm: Algorithm,
        run_dir: Path,
        state: TrainState,
        summary: dict[str, Any],
        console: Console,
    ) -> None:
        """Prints the table of results."""
        console.print(results_table(self.title, summary["eval"]["default"], summary.get("seeds")))


def results_table(title: str, cell: dict[str, Any], seeds: list[int] | None = None) -> Table:
    """Mean return of the greedy policy: of all seeds, and of each where there are several."""
    title = f"Return of the greedy policy on {title}, {cell['episodes']:,} episodes a seed"
    table = Table(title=title, title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("seed", no_wrap=True)
    table.add_column("return", justify="right", no_wrap=True)
    per_seed = cell["per_seed"]
    if len(per_seed) > 1:
        for seed, mean in zip(seeds or range(len(per_seed)), per_seed, strict=True):
            table.add_row(str(seed), f"{mean:.2f}")
    table.add_row("all", Text.assemble((f"{cell['mean']:.2f}", "bold"), f" ± {cell['sem']:.2f}"))
    return table
