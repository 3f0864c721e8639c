"""What experiments on any environment share: finding it by name, evaluation, the table of results."""

import dataclasses
import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from envs import ENVIRONMENTS, named
from envs.encoded import encoded
from purerl.contracts import check_environment
from purerl.host.errors import one_line
from purerl.rollout.evaluate import Episodes, Greedy, evaluate, summarize
from purerl.run.experiment import Experiment
from purerl.types import Algorithm, PyTree, TrainState

EVALUATION = 0x6576616C
"""Folded into the key of a run, it gives the key of its evaluation."""
DEFAULT_LIMIT = 1000
"""Steps after which evaluation cuts an episode where the environment names no limit of its own."""

Policy = Any


def make_environment(name: str) -> tuple[Any, Any]:
    """An environment and its default parameters, its contract checked and its observations readable.

    Args:
        name: one of PureRL's ("Bikkle-v0", "Maze-v0"), of Brax ("brax/ant"; "brax/ant/mjx" on MuJoCo)
            or of gymnax ("CartPole-v1", "Breakout-MinAtar"); these two are imported only then.

    Raises:
        ValueError: one line, where there is none of that name, it cannot be made on this machine, it breaks
            the contract, or offers observations or actions that are not handled.
    """
    env, params = _find(name)
    check_environment(env, params)
    return encoded(env, params), params


def _find(name: str) -> tuple[Any, Any]:
    if name in ENVIRONMENTS:
        env = named(ENVIRONMENTS[name].environment)()
        return env, env.default_params
    if name.startswith("brax/"):
        return _make_brax(name)
    import gymnax  # noqa: PLC0415  takes seconds

    if name not in gymnax.registered_envs:
        known = [*ENVIRONMENTS, *gymnax.registered_envs]
        close = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known
        raise ValueError(f"there is no environment {name!r}; try {' or '.join(close)}")
    try:
        return gymnax.make(name)
    except (OSError, ImportError) as error:  # some load files from elsewhere, or need more packages
        raise ValueError(f"{name} cannot be made on this machine: {one_line(error)}") from error


def _make_brax(name: str) -> tuple[Any, Any]:
    try:
        from envs.brax_adapter import make  # noqa: PLC0415  optional, and takes seconds
    except ImportError as error:
        raise ValueError(f"{name} needs Brax, which is not installed; pip install brax") from error
    env = make(name)
    return env, env.default_params


def with_numbers(env: Any, params: Any, numbers: dict[str, float]) -> Any:
    """Parameters with some of their numbers replaced, each in the type that it has.

    Raises:
        ValueError: one line, where there is no number of that name, or the environment refuses one.
    """
    known = {
        field.name: getattr(params, field.name)
        for field in dataclasses.fields(params)
        if isinstance(getattr(params, field.name), bool | int | float)
    }
    for name in numbers:
        if name not in known:
            raise ValueError(f"{name!r} is no number of {env.name}; there are {', '.join(known)}")
    params = params.replace(**{name: type(known[name])(number) for name, number in numbers.items()})
    if hasattr(env, "check"):
        env.check(params)
    return params


def short_name(name: str) -> str:
    """A name that can be part of the name of a directory."""
    return name.lower().replace("/", "-")


class World(NamedTuple):
    """Evaluation of a policy in the environment that it was trained in.

    Attributes:
        name: of the environment.
        env: the environment.
        params: its parameters.
        policy: of the algorithm.
        num_episodes: for each seed.
        initial_carry: of the algorithm.
    """

    name: str
    env: Any
    params: Any
    policy: Policy
    num_episodes: int
    initial_carry: Callable[[int], PyTree] | None = None

    def evaluate(self, learners: PyTree, seed: int) -> dict[str, Any]:
        """Statistics of the greedy policy under "default": return, and length of the episodes.

        Args:
            learners: leaves [S, ...].
            seed: of the evaluation episodes, which training never draws.
        """
        episodes = self._play(learners, seed, self.num_episodes)
        cell = summarize(episodes.episode_return[:, 0])
        return {"default": cell | {"length": float(episodes.length.mean())}}

    def score(self, learners: PyTree, seed: int, num_episodes: int) -> np.ndarray:
        """Mean return of the greedy policy of each learner, float64 [S]."""
        returns = self._play(learners, seed, num_episodes).episode_return[:, 0]
        return returns.mean(axis=1, dtype=np.float64)

    def _play(self, learners: PyTree, seed: int, num_episodes: int) -> Episodes:
        return evaluate(
            self.env,
            jax.tree.map(lambda leaf: np.asarray(leaf)[None], self.params),
            Greedy(self.policy),
            learners,
            jax.random.fold_in(jax.random.key(seed), EVALUATION),
            num_episodes,
            int(getattr(self.params, "max_steps_in_episode", DEFAULT_LIMIT)),
            initial_carry=self.initial_carry,
        )

    def report(self, run_dir: Path, state: TrainState, summary: dict[str, Any], console: Console) -> None:
        """Prints the table of results."""
        console.print(results_table(self.name, summary["eval"]["default"], summary.get("seeds")))


def experiment_in(
    world: str,
    env: Any,
    params: Any,
    num_episodes: int,
    *,
    name: str,
    algorithm: Algorithm,
    algorithm_config: Any,
    num_devices: int,
    build_program: Callable[..., Any],
) -> Experiment:
    """The experiment of an algorithm in one environment, which it is evaluated in, too.

    Args:
        world: name of the environment.
        env: the environment.
        params: its parameters.
        num_episodes: of the evaluation, for each seed.
        name: and these: see `Experiment`.
        algorithm: the same.
        algorithm_config: the same.
        num_devices: the same.
        build_program: the same.
    """
    seen = World(world, env, params, algorithm.policy, num_episodes, algorithm.initial_carry)
    return Experiment(
        name=name,
        algorithm=algorithm,
        algorithm_config=algorithm_config,
        num_devices=num_devices,
        build_program=build_program,
        evaluate=seen.evaluate,
        report=seen.report,
        score=seen.score,
    )


def results_table(name: str, cell: dict[str, Any], seeds: list[int] | None = None) -> Table:
    """Mean return of the greedy policy: of all seeds, and of each where there are several."""
    title = f"Return of the greedy policy on {name}, {cell['episodes']:,} episodes a seed"
    table = Table(title=title, title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("seed", no_wrap=True)
    table.add_column("return", justify="right", no_wrap=True)
    per_seed = cell["per_seed"]
    if len(per_seed) > 1:
        for seed, mean in zip(seeds or range(len(per_seed)), per_seed, strict=True):
            table.add_row(str(seed), f"{mean:.2f}")
    table.add_row("all", Text.assemble((f"{cell['mean']:.2f}", "bold"), f" ± {cell['sem']:.2f}"))
    return table
