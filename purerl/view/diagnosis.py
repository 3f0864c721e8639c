"""`diagnostics.png`: what a run tells of itself, as small multiples that can be read at a glance."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from purerl.view.figures import GRID, INK, PALE, QUIET, STRONG, save
from purerl.view.plots import draw_band, style_of_metric, values_of
from purerl.view.progress import short
from purerl.view.rules import RULES

_COLOURS = (QUIET, "#3a9d8f", "#edae49", "#8a5fa8", STRONG, "#66748a", "#2b2d42", "#9bb04d")
_COLUMNS = 4
_FAINTEST = 1e-3
_LONGEST_NAME = 34


class Panel(NamedTuple):
    """One panel.

    Attributes:
        metric: what it shows; one that ends with a slash stands for what is told of each layer.
        note: what is usual, in a few words.
        usual: a band to shade, from and to.
        log: whether the axis is logarithmic.
    """

    metric: str
    note: str = ""
    usual: tuple[float, float] | None = None
    log: bool = False


PANELS = {
    "learning": (
        Panel("episode_return"),
        Panel("approx_kl", "0.005 to 0.02 is usual", (0.005, 0.02)),
        Panel("clip_fraction", "0.05 to 0.3 is usual", (0.05, 0.3)),
        Panel("learning_rate"),
    ),
    "policy": (
        Panel("entropy", "falls slowly; never flat for long"),
        Panel("greedy_entropy", "0: the same action everywhere"),
        Panel("action_std", "of the Gaussian, before any bound"),
        Panel("action_mean", "drifts where actions saturate"),
        Panel("saturated_share", "of sampled actions beyond their bounds"),
        Panel("epsilon"),
        Panel("temperature", log=True),
    ),
    "critic": (
        Panel("explained_variance", "1 is perfect, 0 a constant"),
        Panel("return_variance", "toward 0: a dead agent, or a solved task", log=True),
        Panel("value_loss", log=True),
        Panel("loss", log=True),
        Panel("td_error"),
    ),
    "gradient": (
        Panel("gradient_norm", "L2, before it is clipped", log=True),
        Panel("gradient_max", "largest entry of the last one", log=True),
        Panel("gradient_norm/", "L2 of each layer, the last gradient of a chunk"),
    ),
    "network": (
        Panel("residual_ratio/", "branch over stream; small at the start"),
        Panel("attention_entropy/", "1: all tokens alike, 0: one alone"),
    ),
}


def plot_diagnostics(
    path: Path, lines: Sequence[dict[str, Any]], alarms: Sequence[dict[str, Any]] = ()
) -> None:
    """Draws the diagnostics of a run over environment steps, a row for each part of it.

    Panels without metrics are left out. Several seeds give a mean and bands, as in `curves.png`.

    Args:
        path: the PNG to write.
        lines: the lines of `metrics.jsonl`.
        alarms: `alarms` of `summary.json`: each is marked in the panels that it looked at, and listed.
    """
    if not lines:
        return
    known = lines[-1]["metrics"]
    rows = _rows(known)
    heights = [0.2 * len(_layers(known, row[0].metric)) if _is_map(row) else 1.5 for _, row in rows]
    text = _listed(alarms)
    gap, head, foot = 0.75, 0.5, 0.5 + 0.17 * len(text)
    height = sum(heights) + gap * (len(rows) - 1) + head + foot
    figure = Figure(figsize=(13, height), dpi=110)
    grid = GridSpec(
        len(rows),
        _COLUMNS,
        figure=figure,
        height_ratios=heights,
        left=0.075,
        right=0.985,
        top=1 - head / height,
        bottom=foot / height,
        hspace=gap / (sum(heights) / len(rows)),
        wspace=0.25,
    )
    steps = np.array([line["env_steps"] for line in lines])
    for number, (title, row) in enumerate(rows):
        for column, panel in enumerate(row):
            if _is_map(row):
                place = grid[number, :]
            elif panel.metric.endswith("/"):
                place = grid[number, 2 * column : 2 * column + 2]
            else:
                place = grid[number, column]
            axes = figure.add_subplot(place)
            _draw(axes, panel, lines, steps)
            _mark(axes, panel.metric, alarms)
            if not column and not _is_map(row):
                axes.annotate(
                    title, (0, 0.5), xytext=(-44, 0), xycoords="axes fraction", textcoords="offset points",
                    rotation=90, va="center", ha="right", color=PALE, fontsize=9,
                )  # fmt: skip
    figure.text(
        0.02, 0.1 / height, "\n".join(text), fontsize=8.5, color=STRONG if alarms else PALE, va="bottom"
    )
    save(figure, path)


def _rows(known: dict[str, Any]) -> list[tuple[str, list[Panel]]]:
    """Titles and panels of the rows that have something to show, at most four panels in each."""
    rows = []
    for title, panels in PANELS.items():
        there = [panel for panel in panels if panel.metric in known or _layers(known, panel.metric)]
        maps = [panel for panel in there if panel.metric == "gradient_norm/"]
        small = [panel for panel in there if panel not in maps]
        rows += [(title, small[at : at + _COLUMNS]) for at in range(0, len(small), _COLUMNS)]
        rows += [("layers", maps)] if maps else []
    return rows


def _is_map(row: Sequence[Panel]) -> bool:
    return row[0].metric == "gradient_norm/"


def _layers(known: dict[str, Any], metric: str) -> list[str]:
    return sorted(name for name in known if metric.endswith("/") and name.startswith(metric))


def _draw(axes: Axes, panel: Panel, lines: Sequence[dict[str, Any]], steps: np.ndarray) -> None:
    style_of_metric(axes, panel.metric.rstrip("/"), pad=15)
    axes.set_xlim(0, steps[-1] * 1.01)
    axes.annotate(
        panel.note, (0, 1), xytext=(0, 4), xycoords="axes fraction", textcoords="offset points",
        fontsize=7.5, color=PALE,
    )  # fmt: skip
    layers = _layers(lines[-1]["metrics"], panel.metric)
    if _is_map([panel]):
        _draw_map(axes, steps, lines, layers)
        return
    if panel.usual is not None:
        axes.axhspan(*panel.usual, color=GRID, alpha=0.7, linewidth=0, zorder=0)
    if layers:
        for number, layer in enumerate(layers):
            color = _COLOURS[number % len(_COLOURS)]
            draw_band(axes, steps, values_of(lines, layer), color, label=_short_name(layer))
        columns = 2 if len(layers) > 3 else 1
        room = 1.1 + 0.13 * -(-len(layers) // columns)  # for the names, above the lines
        axes.set_ylim(0, room * axes.get_ylim()[1])
        axes.legend(
            loc="upper left", fontsize=6.5, framealpha=0.7, edgecolor="none", labelcolor=INK, ncols=columns
        )
        return
    values = values_of(lines, panel.metric)
    draw_band(axes, steps, values, STRONG if panel.metric == "episode_return" else QUIET)
    if panel.log and (values[np.isfinite(values)] > 0).all():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=6))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())


def _draw_map(axes: Axes, steps: np.ndarray, lines: Sequence[dict[str, Any]], layers: list[str]) -> None:
    """Layers from top to bottom, steps from left to right, the darker the longer the gradient."""
    box = axes.get_position()  # names need room at the left, which the other rows leave to their numbers
    axes.set_position((box.x0 + 0.1, box.y0, box.width - 0.17, box.height))
    values = np.stack([_over_seeds(values_of(lines, layer)) for layer in layers])  # [layers, C]
    highest = np.nanmax(values, initial=_FAINTEST)
    edges = np.concatenate([[0], steps])
    shades = axes.pcolormesh(
        edges,
        np.arange(len(layers) + 1),
        np.maximum(values, 1e-12),
        norm=LogNorm(max(highest * _FAINTEST, 1e-9), highest),
        cmap="Blues",
    )
    axes.set_yticks(np.arange(len(layers)) + 0.5, [_short_name(layer) for layer in layers])
    axes.set_ylim(len(layers), 0)
    axes.grid(visible=False)
    beside = axes.figure.add_axes((box.x1 - 0.055, box.y0, 0.01, box.height))
    bar = axes.figure.colorbar(shades, cax=beside)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7, colors=PALE, length=0)


def _over_seeds(values: np.ndarray) -> np.ndarray:
    """Means over the seeds that have a value, [C, S] -> [C]; NaN where none has."""
    there = np.isfinite(values)
    return np.where(there.any(1), np.where(there, values, 0).sum(1) / np.maximum(there.sum(1), 1), np.nan)


def _short_name(metric: str) -> str:
    """The layer's name, cut at its front where it is long."""
    layer = (
        metric.partition("/")[2]
        .replace("_encoder/", " ")
        .replace("SummaryAttentionBlock_", "summary ")
        .replace("SelfAttentionBlock_", "self ")
    )
    return layer if len(layer) <= _LONGEST_NAME else f"...{layer[3 - _LONGEST_NAME :]}"


def _mark(axes: Axes, metric: str, alarms: Sequence[dict[str, Any]]) -> None:
    """A numbered line where an alarm that looks at this metric was told; all alarms in the return's panel."""
    for number, told in enumerate(alarms, start=1):
        looked_at = _looked_at(told["alarm"])
        if metric != "episode_return" and metric.rstrip("/") not in looked_at:
            continue
        axes.axvline(told["env_steps"], color=STRONG, linewidth=0.9, linestyle=(0, (3, 2)), zorder=2)
        axes.annotate(
            str(number), (told["env_steps"], 1.0), xycoords=("data", "axes fraction"),
            ha="center", va="center", fontsize=7, color="white", fontweight="bold", annotation_clip=False,
            bbox={"boxstyle": "circle,pad=0.25", "facecolor": STRONG, "edgecolor": "none"},
        )  # fmt: skip


def _looked_at(sentence: str) -> tuple[str, ...]:
    """The metrics that the alarm of this sentence looked at."""
    return next((rule.metrics for rule in RULES if sentence.startswith(rule.name)), ())


def _until(alarm: dict[str, Any]) -> str:
    """When an alarm ended, in words; nothing where it stands."""
    return f", over since {short(alarm['ended'])}" if alarm.get("ended") else ""


def _listed(alarms: Sequence[dict[str, Any]]) -> list[str]:
    """The alarms, a line each."""
    if not alarms:
        return [
            "No alarm was told.",
            "Gray bands: what is usual. Horizontal axis: environment steps of each seed.",
        ]
    told = [
        f"{number}  after {short(each['env_steps'])} steps{_until(each)}: {each['alarm']}"
        for number, each in enumerate(alarms, 1)
    ]
    return [*told, "Gray bands: what is usual. Horizontal axis: environment steps of each seed."]
