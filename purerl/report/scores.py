"""The numbers of a report: final scores, time to threshold, and who is better than whom."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from purerl.functional.statistics import interquartile_interval, probability_of_improvement
from purerl.report.comparing import Group, Task

_SHARE_OF_THE_WAY = 0.9
_MOST_PAIRS = 15
Interval = tuple[float, float, float]


class Score(NamedTuple):
    """Final scores of a group.

    Attributes:
        label: of the group.
        per_seed: of each seed that was trained to the end; one that failed has the lowest score of the task.
        num_failed: seeds that failed, and only these.
        num_unscored: seeds that ended well and have no value at all, which are left out.
        num_unfinished: seeds whose run has not come to its end, which are left out.
        mean: interquartile mean with its interval; NaN without any seed.
    """

    label: str
    per_seed: np.ndarray
    num_failed: int
    num_unscored: int
    num_unfinished: int
    mean: Interval


class Reached(NamedTuple):
    """When the seeds of a group first reached the threshold.

    Attributes:
        label: of the group.
        steps: environment steps, [K]; inf where a seed has not.
        seconds: of training, of all seeds of the run together; NaN where times are lost.
        median_steps: with its interval; inf where half of the seeds have not.
        median_seconds: the same in seconds.
    """

    label: str
    steps: np.ndarray
    seconds: np.ndarray
    median_steps: Interval
    median_seconds: Interval


class Comparison(NamedTuple):
    """How likely a run of one group is better than one of another, with the interval."""

    ours: str
    theirs: str
    probability: Interval


def final_scores(task: Task) -> list[Score]:
    """What every seed is scored by, by group: its evaluation, or what it stood at last in training."""
    found = [group.scores(task.scored_by) for group in task.groups]
    present = np.concatenate(found)
    present = present[np.isfinite(present)]
    lowest = present.min() if present.size else np.nan
    scores = []
    for group, values in zip(task.groups, found, strict=True):
        failed = group.failed & group.finished
        unscored = group.finished & ~failed & ~np.isfinite(values)
        per_seed = np.where(failed, lowest, values)[group.finished & ~unscored]
        mean = interquartile_interval(per_seed[None]) if per_seed.size else np.full((3, 1), np.nan)
        scores.append(
            Score(
                label=group.label,
                per_seed=per_seed,
                num_failed=int(failed.sum()),
                num_unscored=int(unscored.sum()),
                num_unfinished=int((~group.finished).sum()),
                mean=_interval(*(part[0] for part in mean)),
            )
        )
    return scores


def default_threshold(task: Task) -> float:
    """Nine tenths of the way from the lowest to the highest interquartile mean in the task."""
    means = np.concatenate([interquartile_interval(group.values)[0] for group in task.groups])
    means = means[np.isfinite(means)]
    if not means.size:
        return float("nan")
    return float(means.min() + _SHARE_OF_THE_WAY * (means.max() - means.min()))


def time_to(task: Task, threshold: float) -> list[Reached]:
    """When the curve of each seed first reached a threshold, by group."""
    return [_reached(group, threshold) for group in task.groups]


def improvements(scores: list[Score]) -> list[Comparison]:
    """Every pair of groups with several seeds, the better one first; of many, the best against each."""
    scored = [score for score in scores if score.per_seed.size > 1 and np.isfinite(score.mean[0])]
    scored.sort(key=lambda score: -score.mean[0])
    pairs = [(ours, theirs) for index, ours in enumerate(scored) for theirs in scored[index + 1 :]]
    if len(pairs) > _MOST_PAIRS:
        pairs = [(scored[0], theirs) for theirs in scored[1 : _MOST_PAIRS + 1]]
    return [
        Comparison(ours.label, theirs.label, probability_of_improvement([ours.per_seed], [theirs.per_seed]))
        for ours, theirs in pairs
    ]


def evaluations(group: Group) -> dict[str, np.ndarray]:
    """Results of the evaluation at the end of its runs, [K] by name, where the summaries have them."""
    found: dict[str, list[float]] = {}
    for run in group.runs:
        for name, per_seed in _cells(run.summary.get("eval"), ""):
            found.setdefault(name, []).extend(per_seed)
    return {name: np.array(values, float) for name, values in found.items()}


def _cells(content: Any, where: str) -> Iterator[tuple[str, list[float]]]:
    if not isinstance(content, dict):
        return
    if isinstance(content.get("per_seed"), list):
        yield where, [np.nan if value is None else value for value in content["per_seed"]]
        return
    for name, inner in content.items():
        yield from _cells(inner, f"{where}, {name}" if where else name)


def _reached(group: Group, threshold: float) -> Reached:
    above = group.values >= threshold
    first = np.where(above.any(axis=0), above.argmax(axis=0), -1)
    steps = np.where(first >= 0, group.steps[first], np.inf)
    seconds = np.where(first >= 0, group.seconds[first, np.arange(len(first))], np.inf)
    return Reached(group.label, steps, seconds, _median(steps), _median(seconds))


def _median(values: np.ndarray, num_samples: int = 2000) -> Interval:
    if np.isnan(values).any():
        return _interval(np.nan, np.nan, np.nan)
    index = np.random.default_rng(0).integers(0, len(values), (num_samples, len(values)))
    middle = (len(values) - 1) // 2, len(values) // 2
    # Not np.median, nor percentiles between two samples: half of the way to infinity is no time.
    medians = np.sort(np.sort(values[index], axis=1)[:, middle].mean(axis=1))
    tail = round(0.025 * num_samples)
    return _interval(np.sort(values)[list(middle)].mean(), medians[tail], medians[-tail - 1])


def _interval(mean: float, low: float, high: float) -> Interval:
    return float(mean), float(low), float(high)
