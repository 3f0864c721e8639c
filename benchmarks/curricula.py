"""Curricula against each other on mazes: `python -m benchmarks.curricula`; a quarter of an hour on two cores.

Each trains the same learner for the same number of steps, five seeds at once. At intervals the greedy
policies of all seeds play the same held-out mazes of full difficulty.
"""

import dataclasses
import json
import sys
from functools import partial
from pathlib import Path

import jax
import numpy as np
from matplotlib.figure import Figure

from benchmarks.rows import ROOT, Measure, Row, check_names, machine, take_each
from envs.experiments.maze import evaluation_env, make_world, suite
from purerl.curriculum import CurriculumOptions
from purerl.functional.statistics import bootstrap_interval, interquartile_mean
from purerl.ranges import Count, Runs
from purerl.rollout.evaluate import play
from purerl.run import arguments, cli
from purerl.view.figures import save
from purerl.view.progress import short

sys.path.insert(0, str(ROOT / "experiments"))
import ppo_maze

NAMES = ("random", "schedule", "adaptive", "plr", "accel")
COLOURS = ("#66748a", "#30638e", "#3a9d8f", "#d1495b", "#edae49")
NUM_MAZES = 1000


@dataclasses.dataclass(frozen=True)
class Options:
    """Train with each curriculum and compare."""

    only: tuple[str, ...] = NAMES
    """Which curricula, in this order."""
    num_seeds: Runs = 5
    """Seeds of each."""
    total_steps: Count = 1_000_000
    """Environment steps of each seed."""
    num_points: Count = 20
    """Evaluations of each run."""
    out: Path = ROOT / "benchmarks" / "results" / "curricula.json"
    """Where the solve rates are written; curricula that were measured before stay."""
    page: Path = ROOT / "docs" / "benchmarks.md"
    """Page with the table."""
    picture: Path = ROOT / "docs" / "images" / "curricula.png"
    """The plot."""


def solve_rates(name: str, options: Options) -> tuple[np.ndarray, np.ndarray]:
    """Steps [P] and solve rates [P, S] of the greedy policies along a training."""
    config = ppo_maze.Config(curriculum=CurriculumOptions(name=name), total_steps=options.total_steps)
    experiment = ppo_maze.build(config)
    program = experiment.build_program(
        seed=0,
        num_seeds=options.num_seeds,
        total_steps=options.total_steps,
        num_devices=experiment.num_devices,
        target_chunks=options.num_points,
    )
    env, params = evaluation_env(make_world(config.env, config.ppo.gamma)[0], config.env.size)
    layouts = suite(env, env.size, 1.0, NUM_MAZES)
    states = jax.vmap(env.start, (0, None))(layouts, params)
    starts = (jax.vmap(env.observe_state, (0, None))(states, params), states)

    @jax.jit
    def solved(learners):
        def one_seed(learner):
            act = lambda observation, key: experiment.algorithm.policy(learner, observation, key, True)  # noqa: E731
            limit = int(params.max_steps_in_episode)
            return play(env, params, act, starts, jax.random.key(0), limit).solved.mean()

        return jax.lax.map(one_seed, learners)

    state, rates = program.init(), []
    for _ in range(program.num_chunks):
        state, _ = program.chunk(state)
        rates.append(np.asarray(solved(jax.tree.map(np.asarray, state.learner))))
    steps = program.steps_per_chunk * np.arange(1, program.num_chunks + 1)
    return steps, np.stack(rates)


def draw(path: Path, results: dict[str, dict]) -> None:
    """The interquartile mean of each curriculum over steps, with its interval."""
    figure = Figure(figsize=(8, 4.4), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    for name, color in zip(NAMES, COLOURS, strict=True):
        if name in results:
            steps, rates = (np.array(results[name][key]) for key in ("steps", "solve_rates"))
            low, high = bootstrap_interval(rates)
            axes.fill_between(steps, 100 * low, 100 * high, color=color, alpha=0.18, linewidth=0)
            axes.plot(steps, 100 * interquartile_mean(rates), color=color, linewidth=1.8, label=name)
    axes.set_ylim(0, 100.5)
    axes.set_xlim(0)
    axes.xaxis.set_major_formatter(lambda value, _: short(value))
    axes.set_xlabel("environment steps of each seed")
    axes.set_ylabel("held-out 9 x 9 mazes solved, %")
    axes.grid(axis="y", color="#e8ebf0")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    save(figure, path)


def rows_of(name: str, steps: np.ndarray, rates: np.ndarray) -> list[Row]:
    """What the table says of a curriculum: the end, its interval, and the steps to 90 %."""
    command = f"python -m benchmarks.curricula --only {name}"
    mean = interquartile_mean(rates)
    low, high = bootstrap_interval(rates)
    reached = np.flatnonzero(mean >= 0.9)
    rows = [
        Row(f"{name}, solve rate at the end", 100 * float(mean[-1]), "%", command=command),
        Row(f"{name}, lower end of the interval", 100 * float(low[-1]), "%", command=command),
        Row(f"{name}, upper end of the interval", 100 * float(high[-1]), "%", command=command),
    ]
    if len(reached):
        rows.append(Row(f"{name}, steps to 90 %", float(steps[reached[0]]), "steps", command=command))
    return rows


def measure(name: str, options: Options) -> list[Row]:
    """Solve rates of a curriculum on held-out mazes at the end of training, and the steps to 90 %."""
    curves = options.out.with_name(f"{options.out.stem}_curves.json")
    steps, rates = solve_rates(name, options)
    results = json.loads(curves.read_text()) if curves.exists() else {}
    results[name] = {"steps": steps.tolist(), "solve_rates": rates.tolist(), "machine": machine()}
    curves.parent.mkdir(parents=True, exist_ok=True)
    curves.write_text(json.dumps(results) + "\n")
    draw(options.picture, results)
    return rows_of(name, steps, rates)


def measures(options: Options) -> dict[str, Measure]:
    """The measures by name, as the options want them."""
    return {name: partial(measure, name, options) for name in NAMES}


MEASURES = measures(Options())


def main() -> None:
    """Measures one curriculum after another and writes after each."""
    options = arguments.parse_alone(Options, __doc__ or "")
    check_names(options.only, NAMES)
    known = measures(options)
    take_each({name: known[name] for name in options.only}, options.out, options.page)


if __name__ == "__main__":
    cli.answer(main)
