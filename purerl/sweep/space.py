"""What a sweep tries: ranges and lists of values, and how settings are drawn from them."""

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from purerl.host.errors import UserError
from purerl.host.limits import shown
from purerl.ranges import MOST_RUNS

SamplerName = Literal["auto", "grid", "random", "sobol"]


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    values: tuple[Any, ...]

    @property
    def num_points(self) -> int:
        """Points of a grid."""
        return len(self.values)

    def at(self, share: float) -> Any:
        """The value at a place in [0, 1]."""
        return self.values[min(int(share * len(self.values)), len(self.values) - 1)]

    def points(self) -> list[Any]:
        """The values of a grid."""
        return list(self.values)


@dataclass(frozen=True)
class Uniform:
    """A number between two others, all equally likely; with a number of points for grids."""

    low: float
    high: float
    num_points: int = 0

    def at(self, share: float) -> float:
        """The value at a place in [0, 1]."""
        return self.low + share * (self.high - self.low)

    def points(self) -> list[float]:
        """The values of a grid, ends included."""
        return [self.at(share) for share in np.linspace(0.0, 1.0, self.num_points).tolist()]


@dataclass(frozen=True)
class LogUniform(Uniform):
    """A positive number whose logarithm is uniform: equal ratios are equally likely."""

    def at(self, share: float) -> float:
        """The value at a place in [0, 1]."""
        return math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))


Values: TypeAlias = Choice | Uniform
Space: TypeAlias = Mapping[str, Values]
Setting: TypeAlias = dict[str, Any]


def parse_values(name: str, text: str) -> Values:
    """Reads "log:1e-4:1e-2", "uniform:0:0.1", either with a number of points behind it, or "0.9,0.99".

    Raises:
        UserError: it is none of these.
    """
    kind, *numbers = text.split(":")
    if not numbers:
        words = tuple(text.split(","))
        for value in words:
            if not value.strip() or any(word.startswith("--") or word == "-h" for word in value.split()):
                raise UserError(f"--sweep.{name} takes VALUE,VALUE,..., and {shown(value)!r} is no value")
        return Choice(words)
    ranges = {"log": LogUniform, "uniform": Uniform}
    try:
        if kind not in ranges or len(numbers) not in (2, 3):
            raise ValueError
        values = ranges[kind](float(numbers[0]), float(numbers[1]), int(numbers[2]) if numbers[2:] else 0)
    except ValueError:
        raise UserError(
            f"--sweep.{name} takes log:LOW:HIGH, uniform:LOW:HIGH or VALUE,VALUE,..., not {shown(text)!r}"
        ) from None
    check_values(name, values)
    return values


def check_values(name: str, values: Values) -> None:
    """Raises UserError where a range or a list is empty."""
    if isinstance(values, Choice):
        if not values.values:
            raise UserError(f"--sweep.{name} has no values")
        return
    if not -math.inf < values.low < values.high < math.inf:
        raise UserError(f"--sweep.{name} goes from {values.low} to {values.high}; the second must be larger")
    if isinstance(values, LogUniform) and values.low <= 0:
        raise UserError(f"--sweep.{name} begins at {values.low}; a logarithmic range must be above 0")
    if values.num_points and values.num_points < 2:
        raise UserError(f"--sweep.{name} has {values.num_points} points; a grid takes 2 at least")
    if values.num_points > MOST_RUNS:
        raise UserError(
            f"--sweep.{name} has {shown(values.num_points)} points; {MOST_RUNS} are the most of a sweep"
        )


def draw(space: Space, sampler: SamplerName, num_members: int, seed: int) -> list[Setting]:
    """Settings of the hyperparameters: what is drawn depends on these arguments alone.

    Args:
        space: options by name, with what each may be.
        sampler: "grid": every combination; "random": independent draws; "sobol": points that fill the space
            evenly (scrambled Sobol sequence, Owen 1998); "auto": the grid where nothing asks for a number of
            members, else Sobol.
        num_members: how many to draw; a grid has as many as it has.
        seed: of the draws.

    Raises:
        UserError: the sampler does not fit the space.
    """
    if num_members > MOST_RUNS:
        raise UserError(f"--num-members is {shown(num_members)}; it must be at most {MOST_RUNS}")
    is_grid = all(values.num_points for values in space.values())
    if sampler == "auto":
        sampler = "grid" if is_grid and not num_members else "sobol"
    if sampler == "grid":
        return _grid(space, num_members)
    if num_members < 1:
        ranges = [name for name, values in space.items() if not values.num_points]
        hint = f"; a grid needs a number of points, as --sweep.{ranges[0]} log:LOW:HIGH:5" if ranges else ""
        raise UserError(f"--num-members says how many settings to draw{hint}")
    if sampler == "random":
        shares = np.random.default_rng(seed).random((num_members, len(space)))
    else:
        shares = _sobol(len(space), num_members, seed)
    return [
        {name: values.at(share) for (name, values), share in zip(space.items(), row, strict=True)}
        for row in shares.tolist()
    ]


def _grid(space: Space, num_members: int) -> list[Setting]:
    if num_members:
        raise UserError("a grid has as many members as it has points; leave --num-members out")
    for name, values in space.items():
        if not values.num_points:
            raise UserError(f"--sweep.{name} has no number of points for a grid, as in log:1e-4:1e-2:5")
    count = math.prod(values.num_points for values in space.values())
    if count > MOST_RUNS:
        raise UserError(f"the grid has {shown(count)} points; {MOST_RUNS} are the most of a sweep")
    rows = itertools.product(*(values.points() for values in space.values()))
    return [dict(zip(space, row, strict=True)) for row in rows]


def _sobol(num_dimensions: int, count: int, seed: int) -> np.ndarray:
    from scipy.stats import qmc  # noqa: PLC0415  takes half a second

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a count that is no power of 2 is a little less even
        if num_dimensions > qmc.Sobol.MAXDIM:
            raise UserError(
                f"{num_dimensions} options are swept; a Sobol sequence has {qmc.Sobol.MAXDIM} dimensions "
                "at most, use --sampler random"
            )
        return qmc.Sobol(num_dimensions, rng=np.random.default_rng(seed)).random(count)


def as_text(values: Values) -> str:
    """A range or a list, as it is written on the command line."""
    if isinstance(values, Choice):
        return ",".join(map(str, values.values))
    points = f":{values.num_points}" if values.num_points else ""
    return f"{'log' if isinstance(values, LogUniform) else 'uniform'}:{values.low}:{values.high}{points}"


def label(setting: Mapping[str, Any], names: Sequence[str] | None = None) -> str:
    """A setting in words."""
    chosen = names or list(setting)
    return ", ".join(f"{name.rpartition('.')[2]} {in_words(setting[name])}" for name in chosen)


def in_words(value: Any) -> str:
    """A value with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
