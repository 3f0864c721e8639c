"""What an option says of its own values, beside its type: `gamma: Share = 0.99`.

`check` refuses what is out of range, and the command line does so by the name of the option. What two options
must keep together, such as a size that another must divide, is checked where they are used.
"""

import dataclasses
import math
import typing
from collections.abc import Hashable
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any


@dataclass(frozen=True)
class Range:
    """Numbers from `least` to `most`, both included.

    Attributes:
        least: the smallest.
        most: the largest.
        above: a number that all of them are above, in place of the smallest.
        may_be_infinite: whether inf is one of them.
    """

    least: float = -math.inf
    most: float = math.inf
    above: float | None = None
    may_be_infinite: bool = False

    def holds(self, value: float) -> bool:
        """Whether a number is one of them; NaN never is."""
        lower = value >= self.least if self.above is None else value > self.above
        return lower and value <= self.most and (abs(value) != math.inf or self.may_be_infinite)

    def words(self) -> str:
        """Them in words: "at least 1", "above 0", "between 0 and 1"; nothing where all numbers are."""
        if self.above is not None:
            return f"above {self.above:g}" + (f" and at most {self.most:g}" if self.most < math.inf else "")
        if math.isfinite(self.least) and math.isfinite(self.most):
            return f"between {_plain(self.least)} and {_plain(self.most)}"
        if math.isfinite(self.least):
            return f"at least {_plain(self.least)}"
        return f"at most {_plain(self.most)}" if math.isfinite(self.most) else ""


def _plain(number: float) -> str:
    return str(int(number)) if float(number).is_integer() else f"{number:g}"


MOST_INT32 = 2**31 - 1
INT32 = Range(-(2**31), MOST_INT32)
"""What a whole number must fit into where nothing else is said: programs count in 32 bits."""
Count = Annotated[int, Range(1, MOST_INT32)]
"""A whole number, at least 1."""
CountOrZero = Annotated[int, Range(0, MOST_INT32)]
"""A whole number, 0 or more."""
Share = Annotated[float, Range(0.0, 1.0)]
"""A number in [0, 1]."""
Positive = Annotated[float, Range(above=0.0)]
"""A number above 0."""
PositiveShare = Annotated[float, Range(above=0.0, most=1.0)]
"""A number in (0, 1]."""
NotNegative = Annotated[float, Range(0.0)]
"""A number, 0 or more."""
Unlimited = Annotated[float, Range(above=0.0, may_be_infinite=True)]
"""A limit above 0; inf for none."""
Seed = Annotated[int, Range(0, 2**32 - 1)]
"""All that tells keys apart: `jax.random.key` takes the lowest 32 bits of a seed."""
MOST_RUNS = 100_000
"""Runs side by side, seeds or members: each of them is a row of every array, and a line on this machine."""
Runs = Annotated[int, Range(0, MOST_RUNS)]
"""A number of seeds or members."""
MOST_STEPS = 10**12
"""Environment steps of a run: at a million a second they take eleven days."""


@cache
def ranges_of(config_class: Hashable) -> dict[str, Range]:
    """The ranges that the fields of a dataclass name beside their types."""
    hints = typing.get_type_hints(config_class, include_extras=True)
    marked = {name: getattr(hint, "__metadata__", ()) for name, hint in hints.items()}
    return {
        name: next(marker for marker in markers if isinstance(marker, Range))
        for name, markers in marked.items()
        if any(isinstance(marker, Range) for marker in markers)
    }


def check(config: Any) -> None:
    """Refuses the first number of a configuration that is out of the range of its field.

    Fields whose value is an array, as in a sweep, were checked before they were put together.

    Raises:
        ValueError: one line that names field, value and range.
    """
    ranges = ranges_of(typing.cast(Hashable, type(config)))
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in ranges and isinstance(value, int | float):
            allowed = ranges[field.name]
            if not allowed.holds(value):
                verb = "lie" if allowed.words().startswith("between") else "be"
                raise ValueError(f"{field.name} = {value} must {verb} {allowed.words()}")
