"""Runs put together: those that differ in nothing but their seeds, and those of one task."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from purerl.host import serialization
from purerl.report.plain_files import printable
from purerl.report.reading import Run, Skipped
from purerl.run.experiment import HOST_OPTIONS
from purerl.view import scoring

_OF_THE_SEEDS = (*HOST_OPTIONS, "seed", "num_seeds")
_OF_THE_TASK = ("env", "protocol")
_METRICS = ("solve_rate", "episode_return")
_LABEL_OPTIONS = 3
ScoredBy = Literal["evaluation", "training"]


class Group(NamedTuple):
    """Runs with one configuration; their seeds, K together, are draws of one distribution.

    Attributes:
        label: what tells it from the others of the task.
        runs: at least one.
        steps: environment steps of each seed after each chunk, [C].
        values: the metric of the task, [C, K].
        seconds: of training, up to each chunk and for each seed: those of the run that it belongs to, [C, K].
        weights: what each of the values weighs, [C, K].
        finished: bool [K], whether the run of a seed came to its end.
        failed: bool [K], whether a seed has failed.
        evaluated: score of each seed in the evaluation after training, [K]; NaN without one.
    """

    label: str
    runs: tuple[Run, ...]
    steps: np.ndarray
    values: np.ndarray
    seconds: np.ndarray
    weights: np.ndarray
    finished: np.ndarray
    failed: np.ndarray
    evaluated: np.ndarray

    def scores(self, scored_by: ScoredBy) -> np.ndarray:
        """What each seed is scored by, [K]; NaN where it has failed, is unfinished or has no value."""
        found = self.evaluated
        if scored_by == "training":
            found = scoring.last_values(self.values, self.weights)
        return np.where(self.finished & ~self.failed, found, np.nan)


class Task(NamedTuple):
    """Groups that can be compared: they were trained in the same world.

    Attributes:
        name: of the world.
        metric: what they are compared by.
        groups: best first.
        options: values of the options in which they differ, by name, one text a group; None where a group
            lacks the option.
        scored_by: "evaluation", where every seed that has not failed was evaluated, or "training".
    """

    name: str
    metric: str
    groups: tuple[Group, ...]
    options: dict[str, list[str | None]]
    scored_by: ScoredBy = "training"


def compare(
    found: Sequence[Run], metric: str | None, scored_by: ScoredBy = "evaluation"
) -> tuple[list[Task], list[Skipped]]:
    """Puts runs together.

    Args:
        found: at least one run.
        metric: what to compare by; by default the share of solved episodes where there is one, or the return.
        scored_by: what final scores are of, where all runs have it; a metric that is named is of training.

    Returns:
        The tasks, and what could not be compared.
    """
    worlds: dict[str, list[Run]] = {}
    for run in found:
        worlds.setdefault(_world(run), []).append(run)
    tasks: list[Task] = []
    skipped: list[Skipped] = []
    for members in worlds.values():
        chosen = metric or _metric(members)
        lacking = [run for run in members if chosen not in run.metrics]
        skipped += [Skipped(run.path, f"has no metric {chosen!r}") for run in lacking]
        kept = [run for run in members if chosen in run.metrics]
        if kept:
            name = _unique(_world_name(kept[0]), [task.name for task in tasks])
            tasks.append(_task(name, chosen, kept, skipped, "training" if metric else scored_by))
    return tasks, skipped


def flat(encoded: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """The options of an encoded configuration, by their full names."""
    is_plain = isinstance(encoded, dict) and not any(key.startswith("$") for key in encoded)
    if is_plain:
        for key, value in encoded.items():
            yield from flat(value, f"{where}.{key}" if where else key)
    else:
        yield where, _text(encoded)


def _text(encoded: Any) -> str:
    if isinstance(encoded, dict):
        inner = next(iter(encoded.values()))
        return ", ".join(_text(item) for item in inner) if isinstance(inner, list) else str(inner)
    return f"{encoded:.4g}" if isinstance(encoded, float) else str(encoded)


def _world(run: Run) -> str:
    env = {name: run.config.get(name) for name in _OF_THE_TASK}
    return json.dumps([_world_name(run), env], sort_keys=True)


def _world_name(run: Run) -> str:
    env = run.config.get("env")
    return env if isinstance(env, str) else run.experiment.partition("-")[2] or run.experiment


def _unique(name: str, taken: Sequence[str]) -> str:
    names = [name, *(f"{name} ({number})" for number in range(2, len(taken) + 2))]
    return next(name for name in names if name not in taken)


def _metric(members: Sequence[Run]) -> str:
    common = [name for name in members[0].metrics if all(name in run.metrics for run in members)]
    return next((name for name in _METRICS if name in common), common[0] if common else _METRICS[-1])


def _identity(run: Run) -> str:
    """The same for runs that differ in nothing but their seeds; of its own where that is not known."""
    if not run.config:
        return str(run.path)
    rest = {name: value for name, value in run.config.items() if name not in _OF_THE_SEEDS}
    return serialization.digest([run.experiment, rest])


def _task(
    name: str, metric: str, members: Sequence[Run], skipped: list[Skipped], scored_by: ScoredBy
) -> Task:
    together: dict[str, list[Run]] = {}
    for run in members:
        together.setdefault(_identity(run), []).append(run)
    firsts = [runs[0] for runs in together.values()]
    options = _differences(firsts)
    labels = _labels(firsts, options)
    groups = [
        group_of(label, runs, metric, skipped) for label, runs in zip(labels, together.values(), strict=True)
    ]
    scored_by = what_scores(groups, scored_by)
    order = sorted(range(len(groups)), key=lambda index: -_rank(groups[index], scored_by))
    return Task(
        name=name,
        metric=metric,
        groups=tuple(groups[index] for index in order),
        options={option: [texts[index] for index in order] for option, texts in options.items()},
        scored_by=scored_by,
    )


def what_scores(groups: Sequence[Group], wanted: ScoredBy) -> ScoredBy:
    """What groups can be compared by: evaluations only where every seed that ended well has one."""
    ended = [group.evaluated[group.finished & ~group.failed] for group in groups]
    return wanted if all(np.isfinite(scores).all() for scores in ended) else "training"


def _rank(group: Group, scored_by: ScoredBy) -> float:
    scores = group.scores(scored_by)
    scores = scores[np.isfinite(scores)]
    return float(np.median(scores)) if scores.size else -np.inf


def _differences(firsts: Sequence[Run]) -> dict[str, list[str | None]]:
    texts = [{"experiment": run.experiment} | dict(flat(run.config)) for run in firsts]
    names = dict.fromkeys(name for options in texts for name in options)
    found = {}
    for name in names:
        values = [options.get(name) for options in texts]
        if name.partition(".")[0] not in _OF_THE_SEEDS and len(set(values) - {None}) > 1:
            found[name] = values
    return found


def _labels(firsts: Sequence[Run], options: dict[str, list[str | None]]) -> list[str]:
    """The experiment where it tells all apart, or the options that do, or the names of the directories."""
    experiments = [run.experiment for run in firsts]
    if len(set(experiments)) == len(firsts):
        return experiments
    short = {name: values for name, values in options.items() if name != "total_steps"} or options
    if 0 < len(short) <= _LABEL_OPTIONS and all(run.config for run in firsts):
        rows = zip(*short.values(), strict=True)
        labels = [
            ", ".join(f"{name.rpartition('.')[2]} {value}" for name, value in zip(short, row, strict=True))
            for row in rows
        ]
        if len(set(labels)) == len(labels):
            return labels
    names = [printable(run.path.name) for run in firsts]
    return names if len(set(names)) == len(names) else [printable(str(run.path)) for run in firsts]


def group_of(label: str, members: Sequence[Run], metric: str, skipped: list[Skipped]) -> Group:
    """Runs with one configuration as a group; seeds that are there twice are named in `skipped`."""
    steps = np.unique(np.concatenate([run.steps for run in members]))
    values: list[np.ndarray] = []
    seconds: list[np.ndarray] = []
    weights: list[np.ndarray] = []
    finished, failed, evaluated, taken = [], [], [], set[int]()
    for run in members:
        weight = scoring.weights_of(run.lines, metric, run.metrics[metric].shape[1])
        place = np.searchsorted(steps, run.steps)
        for position, seed in enumerate(run.seeds[: run.metrics[metric].shape[1]]):
            if seed in taken:
                skipped.append(Skipped(run.path, f"seed {seed} is in {label!r} already: the same draws"))
                continue
            taken.add(seed)
            course = run.metrics[metric][:, position]
            for columns, column in ((values, course), (seconds, run.seconds), (weights, weight[:, position])):
                columns.append(np.full(len(steps), np.nan))
                columns[-1][place] = column
            finished.append(run.finished)
            failed.append(run.failed[position])
            evaluated.append(run.evaluated[position])
    return Group(
        label=label,
        runs=tuple(members),
        steps=steps,
        values=np.stack(values, axis=1),
        seconds=np.stack(seconds, axis=1),
        weights=np.nan_to_num(np.stack(weights, axis=1)),
        finished=np.array(finished),
        failed=np.array(failed),
        evaluated=np.array(evaluated),
    )


def relative(path: Path) -> str:
    """A path as short as it can be said from here, in letters that can be printed."""
    return printable(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))
