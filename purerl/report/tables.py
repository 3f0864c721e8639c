"""The tables of a report, and its numbers for other programs."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from purerl.functional.statistics import interquartile_interval
from purerl.report.comparing import Task, relative
from purerl.report.html import element, table, warning
from purerl.report.reading import Run, Skipped
from purerl.report.scores import (
    Interval,
    Reached,
    Score,
    evaluations,
    final_scores,
    improvements,
    time_to,
)
from purerl.view.progress import short

_NONE = "-"


def scores(found: Sequence[Score]) -> str:
    """Final scores by group."""
    rows = []
    for score in found:
        notes = [f"{score.num_failed} failed"] * bool(score.num_failed)
        notes += [f"{score.num_unscored} without a value"] * bool(score.num_unscored)
        notes += [f"{score.num_unfinished} unfinished"] * bool(score.num_unfinished)
        spread = (
            [_number(score.per_seed.min()), _number(score.per_seed.max())]
            if score.per_seed.size
            else [_NONE] * 2
        )
        rows.append(
            [score.label, warning(", ".join(notes)), str(score.per_seed.size), *_cells(score.mean), *spread]
        )
    header = ["", "", "seeds", "interquartile mean", "95 % interval", "lowest", "highest"]
    return table(header, rows, num_texts=2)


def reached(found: Sequence[Reached]) -> str:
    """Time to threshold by group."""
    rows = []
    for each in found:
        share = f"{np.isfinite(each.steps).sum()} of {each.steps.size}"
        rows.append(
            [each.label, share, *_cells(each.median_steps, short), *_cells(each.median_seconds, _seconds)]
        )
    return table(["", "seeds", "median steps", "95 % interval", "median seconds", "95 % interval"], rows)


def evaluation(task: Task) -> str:
    """Evaluation at the end of training, one table; empty where no summary has one."""
    found = [evaluations(group) for group in task.groups]
    names = dict.fromkeys(name for cells in found for name in cells)
    if not names:
        return ""
    rows = [[name, *(_mean_and_interval(cells.get(name)) for cells in found)] for name in names]
    caption = "Interquartile mean over seeds and its 95 % interval, of the evaluation after training."
    header = ["", *(group.label for group in task.groups)]
    return element("h3", "Evaluation") + element("p", caption) + table(header, rows)


def options(task: Task) -> str:
    """Options in which the groups differ, one row an option."""
    rows = [
        [name, *(_NONE if text is None else text for text in texts)]
        for name, texts in task.options.items()
        if None not in texts or name == "experiment" or len(task.groups) == 2
    ]
    return table(["", *(group.label for group in task.groups)], rows)


def machines(found: Sequence[Run]) -> str:
    """Where and with what each run was made."""
    rows = []
    for run in found:
        summary = run.summary
        machine = summary.get("machine") or {}
        versions = [f"{name} {summary[name]}" for name in ("jax", "jaxlib", "python") if name in summary]
        failed = [seed for seed, failed in zip(run.seeds, run.failed, strict=False) if failed]
        notes = [] if run.finished else [f"unfinished, {short(run.steps[-1])} steps"]
        notes += [f"failed: seed {', '.join(map(str, failed))}"] * bool(failed)
        notes += [
            alarm["alarm"].partition(":")[0]
            for alarm in summary.get("alarms") or []
            if not alarm.get("ended")
        ]
        rows.append(
            [
                relative(run.path),
                ", ".join(filter(None, [summary.get("device"), machine.get("cpu")])) or _NONE,
                ", ".join(versions) or _NONE,
                warning("; ".join(dict.fromkeys(notes))),
                str(len(run.seeds)),
                short(run.steps[-1]),
                _known(summary.get("compile_seconds"), _seconds),
                _known(summary.get("train_seconds"), _seconds),
                _known(summary.get("steps_per_second"), short),
            ]
        )
    header = ["run", "machine", "versions", "", "seeds", "steps", "compile", "train", "steps/s"]
    return table(header, rows, num_texts=4)


def skipped(found: Sequence[Skipped]) -> str:
    """What was left out, and why."""
    return table(["what", "why"], [[relative(path), reason] for path, reason in found], num_texts=2)


def numbers(task: Task, threshold: float) -> dict[str, Any]:
    """Everything in the tables of a task, for other programs."""
    final = final_scores(task)
    return {
        "metric": task.metric,
        "scored_by": task.scored_by,
        "threshold": threshold,
        "final_scores": {score.label: score._asdict() for score in final},
        "time_to_threshold": {each.label: each._asdict() for each in time_to(task, threshold)},
        "improvements": [each._asdict() for each in improvements(final)],
        "options": task.options,
        "runs": {group.label: [run.path for run in group.runs] for group in task.groups},
    }


def _mean_and_interval(values: np.ndarray | None) -> str:
    if values is None or not np.isfinite(values).any():
        return _NONE
    mean, low, high = (float(part[0]) for part in interquartile_interval(values[None]))
    spread = f" [{_number(low)}, {_number(high)}]" if values.size > 1 else ""
    return f"{_number(mean)}{spread}"


def _cells(interval: Interval, form: Callable[[float], str] | None = None) -> list[str]:
    mean, low, high = (_in_words(value, form or _number) for value in interval)
    return [mean, f"{low} to {high}" if low != high else _NONE]


def _in_words(value: float, form: Callable[[float], str]) -> str:
    return "not reached" if np.isposinf(value) else _NONE if np.isnan(value) else form(value)


def _known(value: Any, form: Callable[[float], str]) -> str:
    return form(value) if isinstance(value, int | float) else _NONE


def _number(value: float) -> str:
    return f"{value:.4g}"


def _seconds(value: float) -> str:
    return f"{value:.3g} s"
