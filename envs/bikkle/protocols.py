"""What agents are trained and compared on: the arena's sizes, the gaze at evaluation, and earlier results."""

import json
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import Any

from envs.bikkle.params import GAZE_SOURCES, BikkleParams

GAZES = ("target", "uniform", "none")


@dataclass(frozen=True)
class Protocol:
    """An arena to be trained or evaluated on.

    Attributes:
        max_pellets: pellet slots that `Bikkle` needs for it.
        params: the arena's parameters.
    """

    max_pellets: int
    params: BikkleParams = field(compare=False)


def _continuing(num_pellets: int) -> Protocol:
    return Protocol(num_pellets, BikkleParams(num_pellets=num_pellets, continuing=True))


PROTOCOLS: dict[str, Protocol] = {
    "record": _continuing(2),
    "continuing_4": _continuing(4),
    "continuing_16": _continuing(16),
    "first_touch_4": Protocol(4, BikkleParams(num_pellets=4, continuing=False)),
    "mixture": Protocol(16, BikkleParams(num_pellets=(2, 4, 4, 16, 16), continuing=True)),
}

ORIGINAL_RETURNS = {"target": 25.94, "uniform": 19.38, "none": 11.29}
"""Mean raw return of 20 episodes of the original's greedy policy on `record`; `none` over 100 steps only."""

ORIGINAL_PERSON_RETURN = 18.68
"""The same with the gaze of a real person."""

ORIGINAL_STEPS = {"target": 200, "uniform": 200, "none": 100, "person": 200}
"""Length of the episodes behind `ORIGINAL_RETURNS` and `ORIGINAL_PERSON_RETURN`."""


def protocol_params(name: str, gaze: str) -> BikkleParams:
    """Parameters for an evaluation, in which the gaze comes from one source and is always there.

    Args:
        name: a key of `PROTOCOLS`.
        gaze: one of `GAZES`; `none` leaves gaze and round absent.

    Raises:
        ValueError: if either is unknown.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"protocol {name!r} is not one of {tuple(PROTOCOLS)}")
    if gaze not in GAZES:
        raise ValueError(f"gaze {gaze!r} is not one of {GAZES}")
    probabilities = tuple(float(source == gaze) for source in GAZE_SOURCES)
    return replace(
        PROTOCOLS[name].params, gaze_source=probabilities, gaze_presence=1.0, gaze_presence_per_episode=True
    )


def controller_returns() -> dict[str, dict[str, dict[str, Any]]]:
    """Returns of the scripted players, as measured: protocol -> player -> mean and standard error."""
    return json.loads(files("envs.bikkle").joinpath("controller_returns.json").read_text())["returns"]
