"""Learning curves as one picture: the return large, everything else as small multiples."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.layout_engine import ConstrainedLayoutEngine

from purerl.view.figures import INK, PALE, QUIET, STRONG, save, steps_below, style

_LARGE = "episode_return"
_LEVELS = "level_"
_FIRST = (
    "episode_length",
    "policy_loss",
    "value_loss",
    "entropy",
    "approx_kl",
    "clip_fraction",
    "explained_variance",
    "gradient_norm",
    "saturated_share",
    "learning_rate",
)
TITLES = {"approx_kl": "approximate KL"}
_UPPER = ("_q50", "_q90")
_COLUMNS = 4


def plot_curves(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Draw the metrics of a run over environment steps.

    One seed gives a line; several give their mean and a band between the quartiles, with the extremes as a
    paler band around it.

    Args:
        path: the PNG to write.
        lines: the lines of `metrics.jsonl`.
    """
    if not lines:
        return
    steps = np.array([line["env_steps"] for line in lines])
    shown = [name for name in _ordered(lines[-1]["metrics"]) if not name.startswith(_LEVELS)]
    names = [name for name in shown if "/" not in name]  # what is told of each layer: see `plot_diagnostics`
    small = [name for name in names if name != _LARGE]
    large_rows = 2 if _LARGE in names else 0
    num_rows = large_rows + -(-len(small) // _COLUMNS)
    margins = ConstrainedLayoutEngine(w_pad=0.14, h_pad=0.1, rect=(0.005, 0, 0.975, 0.995))
    figure = Figure(figsize=(13, 2.1 * num_rows + 0.8), dpi=110, layout=margins)
    grid = GridSpec(num_rows, _COLUMNS, figure=figure)
    if large_rows:
        _draw(figure.add_subplot(grid[:2, :]), steps, values_of(lines, _LARGE), _LARGE)
    for index, name in enumerate(small):
        row, column = divmod(index, _COLUMNS)
        _draw(figure.add_subplot(grid[large_rows + row, column]), steps, values_of(lines, name), name)
    figure.supxlabel("environment steps of each seed", fontsize=9, color=INK)
    save(figure, path)


def plot_levels(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Draw what a curriculum drew over environment steps: medians with a band from 10 % to 90 %, and numbers.

    Nothing is written where the run had no curriculum. With several seeds, each is the mean over them.

    Args:
        path: the PNG to write.
        lines: the lines of `metrics.jsonl`.
    """
    names = [name for name in (lines[-1]["metrics"] if lines else {}) if name.startswith(_LEVELS)]
    if not names:
        return
    steps = np.array([line["env_steps"] for line in lines])
    panels = list(dict.fromkeys(name.removesuffix("_q10") for name in names if name[-4:] not in _UPPER))
    num_rows = -(-len(panels) // 3)
    margins = ConstrainedLayoutEngine(w_pad=0.14, h_pad=0.1, rect=(0.005, 0, 0.985, 0.995))
    figure = Figure(figsize=(11, 2.6 * num_rows + 0.5), dpi=110, layout=margins)
    for index, panel in enumerate(panels):
        axes = figure.add_subplot(num_rows, 3, index + 1)
        style_of_metric(axes, panel.removeprefix(_LEVELS))
        axes.set_xlim(0, steps[-1] * 1.01)
        if f"{panel}_q10" in names:
            low, median, high = (values_of(lines, panel + end).mean(1) for end in ("_q10", *_UPPER))
            axes.fill_between(steps, low, high, color=QUIET, alpha=0.2, linewidth=0)
        else:
            median = values_of(lines, panel).mean(1)
        axes.plot(steps, median, color=QUIET, linewidth=1.6, solid_capstyle="round")
    figure.supxlabel("environment steps; line: median of the levels drawn, band: 10 % to 90 %", fontsize=9)
    save(figure, path)


def _ordered(metrics: dict[str, Any]) -> list[str]:
    known = [name for name in (_LARGE, *_FIRST) if name in metrics]
    return known + sorted(set(metrics) - set(known))


def values_of(lines: Sequence[dict[str, Any]], name: str) -> np.ndarray:
    """[C, S], NaN where there is no value."""
    return np.array([line["metrics"][name] for line in lines], dtype=float)


def _draw(axes: Axes, steps: np.ndarray, values: np.ndarray, name: str) -> None:
    style_of_metric(axes, name)
    axes.set_xlim(0, steps[-1] * 1.01)
    color, width = (STRONG, 2.0) if name == _LARGE else (QUIET, 1.4)
    mean = draw_band(axes, steps, values, color, width)
    if name == _LARGE and mean is not None:
        has_value = np.isfinite(mean)
        _annotate(axes, steps[has_value], mean[has_value], values.shape[1])


def draw_band(
    axes: Axes, steps: np.ndarray, values: np.ndarray, color: str, width: float = 1.4, label: str = ""
) -> np.ndarray | None:
    """Draws the mean over seeds of values, [C, S], with bands of their middle half and of all of them.

    Returns:
        The mean, [C], NaN where there is no value; None where there is none at all, which is said.
    """
    has_value = np.isfinite(values).any(axis=1)
    if not has_value.any():
        axes.text(0.5, 0.5, "no value", transform=axes.transAxes, ha="center", va="center", color=PALE)
        return None
    at, there = steps[has_value], values[has_value]
    if values.shape[1] > 1:
        low, lower, upper, high = np.nanpercentile(there, [0, 25, 75, 100], axis=1)
        axes.fill_between(at, low, high, color=color, alpha=0.12, linewidth=0)
        axes.fill_between(at, lower, upper, color=color, alpha=0.25, linewidth=0)
    mean = np.full(len(steps), np.nan)
    mean[has_value] = np.nanmean(there, axis=1)
    axes.plot(at, mean[has_value], color=color, linewidth=width, solid_capstyle="round", label=label or None)
    return mean


def _annotate(axes: Axes, steps: np.ndarray, mean: np.ndarray, num_seeds: int) -> None:
    axes.plot(steps[-1], mean[-1], "o", color=STRONG, markersize=5, clip_on=False, zorder=3)
    axes.annotate(
        f"{mean[-1]:.4g}",
        (steps[-1], mean[-1]),
        xytext=(8, 0),
        textcoords="offset points",
        va="center",
        color=STRONG,
        fontweight="bold",
        annotation_clip=False,
    )
    if num_seeds > 1:
        legend = f"line: mean of {num_seeds} seeds, dark band: middle half, pale band: all"
        axes.set_title(legend, loc="right", fontsize=8.5, color=PALE)


def style_of_metric(axes: Axes, name: str, pad: float = 6.0) -> None:
    """A panel of a metric over environment steps, with its name as the title."""
    large = name == _LARGE
    style(axes, TITLES.get(name, name.replace("_", " ")), large=large, pad=pad)
    steps_below(axes, 6 if large else 3)
