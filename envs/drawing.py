"""What pictures of environments share: a canvas of Pillow, colors, animations. It needs no display."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

OVERSAMPLING = 3
BACKDROP, FLOOR, GRID, BORDER = (16, 19, 33), (26, 30, 50), (34, 39, 63), (58, 65, 99)
PINK, PINK_LIGHT = (255, 107, 160), (255, 183, 210)
BLUE, BLUE_LIGHT = (72, 132, 255), (161, 196, 255)
GOLD, MINT = (255, 203, 92), (103, 240, 196)
AGENT, AGENT_CORE = (235, 240, 252), (120, 132, 170)
TEXT, FAINT_TEXT = (226, 231, 245), (132, 141, 176)

Color = tuple[int, ...]
Point = Sequence[float]


class Canvas:
    """An RGBA picture whose figures are given in units of its own: x to the right, y downwards.

    Args:
        width, height: in pixels.
        left, top: where the point (0, 0) is, in pixels.
        scale: pixels in a unit.
    """

    def __init__(self, width: int, height: int, left: float, top: float, scale: float) -> None:
        self.size = width, height
        self.left, self.top, self.scale = (OVERSAMPLING * number for number in (left, top, scale))
        self.image = Image.new("RGB", (width * OVERSAMPLING, height * OVERSAMPLING), BACKDROP)
        self.draw = ImageDraw.Draw(self.image, "RGBA")

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Column and row of a point in the oversampled picture."""
        return self.left + x * self.scale, self.top + y * self.scale

    def width_of(self, length: float) -> int:
        """Width of a line in the oversampled picture, at least one pixel."""
        return max(1, round(length * self.scale))

    def disc(self, center: Point, radius: float, fill: Any, outline: Any = None, width: float = 0.0) -> None:
        """A disc, with an outline within its radius."""
        column, row = self.at(*center)
        reach = radius * self.scale
        box = (column - reach, row - reach, column + reach, row + reach)
        self.draw.ellipse(box, fill=fill, outline=outline, width=self.width_of(width))

    def line(self, points: Iterable[Point], color: Color, width: float) -> None:
        """Straight lines from point to point."""
        self.draw.line([self.at(*point) for point in points], fill=color, width=self.width_of(width))

    def box(
        self,
        corner: Point,
        opposite: Point,
        fill: Any,
        radius: float = 0.0,
        outline: Any = None,
        width: float = 0.0,
    ) -> None:
        """A rectangle with round corners."""
        (a, b), (c, d) = self.at(*corner), self.at(*opposite)
        # Pillow rounds in different ways with and without round corners.
        edges = tuple(map(round, (min(a, c), min(b, d), max(a, c), max(b, d))))
        stroke = self.width_of(width)
        self.draw.rounded_rectangle(edges, radius * self.scale, fill=fill, outline=outline, width=stroke)

    def text(self, column: float, row: float, text: str, color: Color, size: float, anchor: str) -> None:
        """Text of a size in pixels, at a place in pixels; anchor as in Pillow, such as "lm"."""
        font = ImageFont.load_default(size * OVERSAMPLING)
        place = (column * OVERSAMPLING, row * OVERSAMPLING)
        self.draw.text(place, text, color, font, anchor=anchor)

    def pixels(self) -> np.ndarray:
        """The picture: uint8 [height, width, 3]."""
        return np.asarray(self.image.resize(self.size, Image.Resampling.LANCZOS))


def mix(color: Color, ground: Color, share: float) -> Color:
    """A share of one color on the ground of another, opaque."""
    return tuple(round(a * share + b * (1.0 - share)) for a, b in zip(color, ground, strict=True))


def save_gif(path: str | Path, frames: Sequence[np.ndarray], fps: float = 25) -> None:
    """Writes an endless animation."""
    # It takes its time to import, and who only looks at frames does without.
    import imageio.v3 as imageio  # noqa: PLC0415

    imageio.imwrite(path, np.stack(frames), extension=".gif", duration=1000.0 / fps, loop=0)


def save_png(path: str | Path, picture: np.ndarray) -> None:
    """Writes a picture, uint8 [H, W, 3]."""
    Image.fromarray(picture).save(path)
