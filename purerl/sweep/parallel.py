"""Members as lines across one axis an option: where the good ones run together."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from purerl.sweep.space import in_words
from purerl.view.figures import INK, PALE, save, style

_COLORS = colormaps["viridis"]
_SPREAD = 20.0
_TICKS = 5


def draw_parallel(
    path: Path, settings: Sequence[dict[str, Any]], scores: Sequence[float], metric: str
) -> None:
    """Draws one line a member, the better the brighter and thicker; the last axis is the score.

    Args:
        path: the PNG to write.
        settings: values of the swept options, best member first.
        scores: of the members.
        metric: what the scores are.
    """
    names = list(settings[0])
    columns = [_Axis([setting[name] for setting in settings]) for name in names]
    columns.append(_Axis(list(scores)))
    titles = [name.rpartition(".")[2].replace("_", " ") for name in names] + [metric.replace("_", " ")]
    places = np.array([column.places for column in columns])  # [axes, members]
    rank = np.linspace(1.0, 0.0, len(scores))
    figure = Figure(figsize=(max(5.0, 2.0 * len(columns)), 4.2), dpi=120, layout="constrained")
    axes = figure.subplots()
    for member in reversed(range(len(scores))):
        smooth_x, smooth_y = _smooth(places[:, member])
        color = _COLORS(_share(scores, member))
        axes.plot(smooth_x, smooth_y, color=color, linewidth=0.8 + 1.6 * rank[member] ** 2, alpha=0.75)
    for index, (column, title) in enumerate(zip(columns, titles, strict=True)):
        _draw_axis(axes, index, column, title)
    style(axes, "")
    axes.spines["bottom"].set_visible(False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlim(-0.15, len(columns) - 0.65)
    axes.set_ylim(-0.06, 1.16)
    finite = [score for score in scores if np.isfinite(score)]
    if finite:
        mappable = ScalarMappable(Normalize(min(finite), max(finite)), _COLORS)
        bar = figure.colorbar(mappable, ax=axes, fraction=0.03, pad=0.02)
        bar.outline.set_visible(False)  # type: ignore[operator]
        bar.ax.tick_params(colors=PALE, labelsize=8, length=0)
    save(figure, path)


class _Axis:
    """Values of one option as places in [0, 1], with what is written beside it.

    Attributes:
        places: [M]; values that are not finite lie at the bottom.
        ticks: places and texts.
    """

    def __init__(self, values: list[Any]) -> None:
        if not all(isinstance(value, int | float) for value in values) or len(set(values)) <= _TICKS:
            kinds = sorted(set(values), key=lambda value: (isinstance(value, str), value))
            places = {kind: index / max(len(kinds) - 1, 1) for index, kind in enumerate(kinds)}
            self.places = [places[value] for value in values]
            self.ticks = [(place, in_words(kind)) for kind, place in places.items()]
            return
        numbers = np.array(values, float)
        finite = numbers[np.isfinite(numbers)]
        low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
        is_log = low > 0 and high / low > _SPREAD
        to, back = (np.log, np.exp) if is_log else (np.asarray, np.asarray)
        width = (to(high) - to(low)) or 1.0
        share = (to(np.where(np.isfinite(numbers), numbers, low)) - to(low)) / width
        self.places = share.tolist()
        shares = np.linspace(0.0, 1.0, _TICKS).tolist()
        self.ticks = [(place, f"{float(back(to(low) + place * width)):.3g}") for place in shares]


def _draw_axis(axes: Axes, index: int, column: _Axis, title: str) -> None:
    axes.plot([index, index], [0, 1], color=INK, linewidth=1.0, zorder=3)
    axes.text(index, 1.08, title, ha="center", fontsize=9.5, color=INK, fontweight="bold")
    for place, text in column.ticks:
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8}
        axes.text(index + 0.03, place, text, va="center", fontsize=8, color=INK, bbox=box, zorder=4)


def _share(scores: Sequence[float], member: int) -> float:
    finite = np.array([score for score in scores if np.isfinite(score)])
    if not np.isfinite(scores[member]) or np.ptp(finite) == 0:
        return 0.0
    return float((scores[member] - finite.min()) / np.ptp(finite))


def _smooth(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A line through the places that leaves each axis at a right angle."""
    t = np.linspace(0.0, 1.0, 25)
    ease = t * t * (3.0 - 2.0 * t)
    x = [index + t for index in range(len(places) - 1)]
    y = [start + ease * (end - start) for start, end in itertools.pairwise(places)]
    return np.concatenate(x), np.concatenate(y)
