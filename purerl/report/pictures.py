"""The pictures of a report."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from purerl.functional.statistics import interquartile_interval
from purerl.report.comparing import Group, Task
from purerl.report.scores import Comparison, Reached, Score
from purerl.view.figures import GRID, INK, PALE, SERIES, save, steps_below, style

_ROW = 0.34


def draw_curves(path: Path, task: Task, threshold: float) -> None:
    """Interquartile mean over seeds with its interval, over steps and, where times are known, seconds."""
    timed = [group for group in task.groups if np.isfinite(group.seconds[-1]).any()]
    columns = 2 if timed else 1
    figure = Figure(figsize=(6.2 * columns, 4.4), dpi=120, layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)[0]
    curves = [interquartile_interval(group.values) for group in task.groups]
    for index in reversed(range(len(task.groups))):
        group, curve = task.groups[index], curves[index]
        _draw_curve(axes[0], group.steps, curve, index, group.label)
        if timed:
            _draw_curve(axes[1], _mean_seconds(group), curve, index, group.label)
    name = task.metric.replace("_", " ")
    style(axes[0], f"{name} over environment steps", large=True)
    steps_below(axes[0], 6)
    axes[0].set_xlabel("environment steps of each seed", color=PALE, fontsize=9)
    if timed:
        style(axes[1], "over seconds of training", large=True)
        axes[1].set_xlabel("seconds, all seeds of a run together", color=PALE, fontsize=9)
    for each in axes:
        each.set_xlim(left=0)
        if np.isfinite(threshold):
            each.axhline(threshold, color=PALE, linewidth=0.8, linestyle=(0, (4, 4)))
    _legend(axes[0], task.groups)
    save(figure, path)


def _draw_curve(
    axes: Axes, x: np.ndarray, curve: tuple[np.ndarray, np.ndarray, np.ndarray], index: int, label: str
) -> None:
    mean, low, high = curve
    shown = np.isfinite(mean) & np.isfinite(x)
    x, mean, low, high = x[shown], mean[shown], low[shown], high[shown]
    if index >= len(SERIES):
        axes.plot(x, mean, color=PALE, linewidth=0.7, alpha=0.35)
        return
    axes.fill_between(x, low, high, color=SERIES[index], alpha=0.18, linewidth=0)
    marker = "o" if len(x) == 1 else None
    axes.plot(x, mean, color=SERIES[index], linewidth=1.8, solid_capstyle="round", marker=marker, label=label)


def _mean_seconds(group: Group) -> np.ndarray:
    present = np.isfinite(group.seconds)
    total = np.where(present, group.seconds, 0.0).sum(axis=1)
    return np.where(present.any(axis=1), total / np.maximum(present.sum(axis=1), 1), np.nan)


def _legend(axes: Axes, groups: Sequence[Group]) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if len(groups) > 1 and handles:
        width = axes.get_figure().get_figwidth()  # type: ignore[union-attr]
        fit = int(14 * width / (max(map(len, labels)) + 6))  # about 14 letters an inch
        axes.get_figure().legend(  # type: ignore[union-attr]
            handles[::-1],
            labels[::-1],
            loc="outside lower center",
            ncols=max(1, min(4, fit)),
            frameon=False,
            fontsize=8,
            labelcolor=INK,
        )


def draw_scores(path: Path, scores: Sequence[Score], metric: str) -> None:
    """One row a group: a dot a seed, the interquartile mean and its interval."""
    figure, axes = _rows(len(scores))
    for row, score in enumerate(scores):
        color = _color(row)
        mean, low, high = score.mean
        axes.plot(
            score.per_seed, np.full(len(score.per_seed), row), "o", color=color, alpha=0.3, markersize=4
        )
        axes.plot([low, high], [row, row], color=color, linewidth=5, alpha=0.55, solid_capstyle="round")
        axes.plot(mean, row, "|", color=color, markersize=15, markeredgewidth=2.5)
    style(axes, f"final {metric.replace('_', ' ')}: seeds, interquartile mean, 95 % interval")
    _name_rows(axes, [score.label for score in scores])
    save(figure, path)


def draw_reached(path: Path, task: Task, reached: Sequence[Reached], threshold: float) -> None:
    """The share of seeds that have reached the threshold, over environment steps."""
    figure = Figure(figsize=(7.5, 3.8), dpi=120, layout="constrained")
    axes = figure.subplots()
    longest = max(group.steps[-1] for group in task.groups)
    for index in reversed(range(len(reached))):
        steps = np.sort(reached[index].steps[np.isfinite(reached[index].steps)])
        share = np.arange(len(steps) + 1) / len(reached[index].steps)
        x = np.concatenate([[0.0], steps, [longest]])
        y = np.concatenate([share, share[-1:]])
        axes.step(x, y, where="post", color=_color(index), linewidth=1.8, label=reached[index].label)
    style(axes, f"share of seeds that have reached {threshold:.4g}", large=True)
    steps_below(axes, 6)
    axes.set_xlim(0, longest)
    axes.set_ylim(-0.02, 1.04)
    axes.set_xlabel("environment steps of each seed", color=PALE, fontsize=9)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
    _legend(axes, task.groups[: len(SERIES)])
    save(figure, path)


def draw_improvements(path: Path, comparisons: Sequence[Comparison]) -> None:
    """One row a pair: the probability that a run of the first is better than one of the second."""
    figure, axes = _rows(len(comparisons))
    for row, comparison in enumerate(comparisons):
        mean, low, high = comparison.probability
        axes.plot([low, high], [row, row], color=SERIES[0], linewidth=5, alpha=0.55, solid_capstyle="round")
        axes.plot(mean, row, "|", color=SERIES[0], markersize=15, markeredgewidth=2.5)
    axes.axvline(0.5, color=PALE, linewidth=0.9, linestyle=(0, (4, 4)))
    axes.set_xlim(-0.02, 1.02)
    style(axes, "probability of improvement, 95 % interval")
    _name_rows(axes, [f"{pair.ours}  >  {pair.theirs}" for pair in comparisons])
    save(figure, path)


def _rows(count: int) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8.5, 0.9 + _ROW * count), dpi=120, layout="constrained")
    return figure, figure.subplots()


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [name if len(name) < 52 else f"{name[:50]}…" for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", labelcolor=INK)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=GRID, linewidth=0.8)


def _color(index: int) -> str:
    return SERIES[index] if index < len(SERIES) else PALE
