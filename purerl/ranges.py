"""What an option says of its own values, beside its type: a range of whole numbers, or that inf is one."""

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True)
class Range:
    """Whole numbers from `least` to `most`, both included."""

    least: int
    most: int


@dataclass(frozen=True)
class Infinite:
    """A number that may be inf."""


INT32 = Range(-(2**31), 2**31 - 1)
"""What a whole number must fit into where nothing else is said: programs count in 32 bits."""
Unlimited = Annotated[float, Infinite()]
"""A limit; inf for none."""
Seed = Annotated[int, Range(0, 2**32 - 1)]
"""All that tells keys apart: `jax.random.key` takes the lowest 32 bits of a seed."""
MOST_RUNS = 100_000
"""Runs side by side, seeds or members: each of them is a row of every array, and a line on this machine."""
Runs = Annotated[int, Range(0, MOST_RUNS)]
"""A number of seeds or members."""
MOST_STEPS = 10**12
"""Environment steps of a run: at a million a second they take eleven days."""
