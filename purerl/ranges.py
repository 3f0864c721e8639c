"""What an option says of its own values, beside its type: `gamma: Share = 0.99`.

`check` refuses what is out of range, and the command line does so by the name of the option. What two options
must keep together, such as a size that another must divide, is checked where they are used.
"""

import contextlib
import dataclasses
import math
import typing
from collections.abc import Hashable, Iterator, Mapping
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
        below: a number that all of them are below, in place of the largest.
        may_be_infinite: whether inf is one of them.
        whole: whether they are whole numbers.
    """

    least: float = -math.inf
    most: float = math.inf
    above: float | None = None
    below: float | None = None
    may_be_infinite: bool = False
    whole: bool = False

    def holds(self, value: float) -> bool:
        """Whether a number is one of them; NaN never is."""
        if abs(value) == math.inf:
            return value > 0 and self.may_be_infinite
        lower = value >= self.least if self.above is None else value > self.above
        upper = value <= self.most if self.below is None else value < self.below
        return lower and upper and (not self.whole or value == math.floor(value))

    def words(self) -> str:
        """Them in words: "at least 1", "above 0", "between 0 and 1"; nothing where all numbers are.

        A bound that only a machine has is left out, and said where somebody goes beyond it.
        """
        least = "" if self.least <= -_LARGE else f"at least {_plain(self.least)}"
        most = "" if self.most >= _LARGE else f"at most {_plain(self.most)}"
        if least and most and self.above is None and self.below is None:
            return f"between {_plain(self.least)} and {_plain(self.most)}"
        lower = least if self.above is None else f"above {_plain(self.above)}"
        upper = most if self.below is None else f"below {_plain(self.below)}"
        return " and ".join(filter(None, (lower, upper))) + " or inf" * self.may_be_infinite

    def wanted(self, value: float) -> str:
        """What a number that is not one of them should be, in words."""
        if isinstance(value, float) and not math.isfinite(value):
            return self.words() or "a finite number"
        if self.whole and value != math.floor(value):
            return " ".join(filter(None, ("a whole number", self.words())))
        if value > self.most >= _LARGE:
            return f"at most {_plain(self.most)}"
        return self.words() or f"at least {_plain(self.least)}"


def _plain(number: float) -> str:
    return str(int(number)) if float(number).is_integer() else f"{number:g}"


_LARGE = 100_000
MOST_INT32 = 2**31 - 1
INT32 = Range(-(2**31), MOST_INT32, whole=True)
"""What a whole number must fit into where nothing else is said: programs count in 32 bits."""
Count = Annotated[int, Range(1, MOST_INT32, whole=True)]
"""A whole number, at least 1."""
CountOrZero = Annotated[int, Range(0, MOST_INT32, whole=True)]
"""A whole number, 0 or more."""
Whole = Annotated[int, INT32]
"""Any whole number."""
Number = Annotated[float, Range()]
"""Any number that is finite."""
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
Seed = Annotated[int, Range(0, 2**32 - 1, whole=True)]
"""All that tells keys apart: `jax.random.key` takes the lowest 32 bits of a seed."""
MOST_RUNS = 100_000
"""Runs side by side, seeds or members: each of them is a row of every array, and a line on this machine."""
Runs = Annotated[int, Range(1, MOST_RUNS, whole=True)]
"""A number of seeds or members."""
RunsOrZero = Annotated[int, Range(0, MOST_RUNS, whole=True)]
"""A number of seeds or members, 0 where the program chooses."""
MOST_STEPS = 10**12
"""Environment steps of a run: at a million a second they take eleven days."""
ScoreEpisodes = Annotated[int, Range(0, 1_000_000, whole=True)]
"""Episodes that each member of a sweep or population is scored by: each of them is a row of every array."""


@cache
def ranges_of(config_class: Hashable) -> dict[str, Range]:
    """The ranges that the fields of a dataclass name beside their types, or beside a type within them."""
    hints = typing.get_type_hints(config_class, include_extras=True)
    found = {name: next(_ranges_in(hint), None) for name, hint in hints.items()}
    return {name: each for name, each in found.items() if each is not None}


def _ranges_in(hint: Any) -> Iterator[Range]:
    yield from (marker for marker in getattr(hint, "__metadata__", ()) if isinstance(marker, Range))
    for inner in typing.get_args(hint):
        yield from _ranges_in(inner)


def check(config: Any, kind: str = "") -> None:
    """Refuses the first number of a configuration that is out of the range of its field.

    Arrays are looked into; those that a program is traced for were checked before.

    Args:
        config: a dataclass; of dataclasses within it, each is checked where it is used.
        kind: stands before the name of a field where it would not be clear alone, as "memory ".

    Raises:
        ValueError: one line that names field, value and range.
    """
    ranges = ranges_of(typing.cast(Hashable, type(config)))
    for field in dataclasses.fields(config):
        if field.name not in ranges:
            continue
        allowed = ranges[field.name]
        for value in numbers_in(getattr(config, field.name)):
            if not allowed.holds(value):
                wanted = allowed.wanted(value)
                verb = "lie" if wanted.startswith("between") else "be"
                raise ValueError(f"{kind}{field.name} = {value} must {verb} {wanted}")


def numbers_in(value: Any) -> Iterator[float]:
    """The numbers of a value, a tuple, a list, a mapping or an array; none of what is traced."""
    if isinstance(value, int | float):
        yield from () if isinstance(value, bool) else (value,)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from numbers_in(item)
    elif isinstance(value, Mapping):
        yield from numbers_in(list(value.values()))
    elif hasattr(value, "tolist"):
        with contextlib.suppress(TypeError):  # a traced array has no numbers yet
            yield from numbers_in(value.tolist())
