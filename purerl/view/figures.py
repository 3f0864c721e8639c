"""How pictures of results look: colors, axes, and the number of steps below them."""

import warnings
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogFormatter, MaxNLocator

from purerl.view.progress import short

INK, PALE, GRID = "#2b2d42", "#66748a", "#e8ebf0"
STRONG, QUIET = "#d1495b", "#30638e"
SERIES = (QUIET, STRONG, "#2f8f6b", "#e09f3e", "#7b4b94", "#3aa6b9", "#8d6a4f", "#5c677d")
"""Colors for things side by side; they can be told apart in print and with red-green blindness."""
_LONGEST_TEXT = 160


def style(axes: Axes, title: str, *, large: bool = False, pad: float = 6.0) -> None:
    """A title on the left, a pale grid, and no frame."""
    axes.set_title(title, loc="left", fontsize=13 if large else 9.5, color=INK, fontweight="bold", pad=pad)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(PALE)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=PALE, labelsize=8, length=0)
    axes.yaxis.set_major_locator(MaxNLocator(5 if large else 4))


def steps_below(axes: Axes, num_ticks: int) -> None:
    """Counts on the horizontal axis, as 250k and 1.5M."""
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.xaxis.set_major_locator(MaxNLocator(num_ticks))


def save(figure: Figure, path: Path) -> None:
    """Write a picture as PNG; text in it is text, whatever it holds: `$x$` is no mathematics."""
    numbers = set[Text]()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            labels = axis.get_ticklabels(which="both")
            if isinstance(axis.get_major_formatter(), LogFormatter):
                numbers.update(labels)  # powers of ten are mathematics of its own
    for text in figure.findobj(Text):
        if isinstance(text, Text) and text not in numbers:
            text.set_parse_math(False)
            if len(text.get_text()) > _LONGEST_TEXT:
                text.set_text(f"{text.get_text()[:_LONGEST_TEXT]}…")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # a box is drawn for it
        FigureCanvasAgg(figure).print_png(path)
