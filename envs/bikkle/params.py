"""Bikkle's parameters: data that may be traced, swept and mapped; none of it changes a shape."""

import math
from typing import Annotated, Any

import numpy as np
from flax import struct

from purerl import ranges
from purerl.ranges import Count, CountOrZero, NotNegative, Number, Positive, Range, Share
from purerl.types import PyTree

GAZE_SOURCES = ("none", "target", "uniform", "external")
MAX_GAZE_DELAY = 8
MAX_FAILURE = 1e-4
"""Probability, at most, that none of the candidates for a pellet's place is free."""
MAX_PELLETS = 32
"""Pellets are flagged in the bits of a word."""
PelletCounts = Annotated[Any, Range(2, MAX_PELLETS, whole=True)]
"""A count, or several."""
GazeDelay = Annotated[int, Range(0, MAX_GAZE_DELAY, whole=True)]
GazeLag = Annotated[float, Range(0.0, below=1.0)]
"""At 1 the gaze would never move."""


@struct.dataclass
class BikkleParams:
    """The arena's numbers; lengths are in arena sides, times in steps.

    Attributes:
        num_pellets: even count, half of it blue; or several, of which each episode draws one uniformly.
        pellet_size: radius; agent and pellet touch where their centers are within twice of it.
        max_step: length of the longest move along an axis (`xy`), or of every move (`angle`).
        blue_penalty: reward for touching a blue pellet.
        pink_reward: reward for touching a pink pellet, and the least that the target gives.
        target_reward: reward for touching the target at the beginning of a round.
        round_length: steps over which the target's value decays, and after which it is drawn anew.
        continuing: False terminates the episode at the first touch.
        max_steps_in_episode: steps after which an episode is truncated.
        shaping: coefficient of the potential-based shaping reward; 0 is off.
        shaping_gamma: discount within the shaping reward; that of the learner keeps the optimum.
        gaze_source: [4] probabilities of (none, target, uniform, external), drawn per episode.
        gaze_presence: probability that gaze and round are seen; an external gaze brings its own.
        gaze_presence_per_episode: True draws the presence once an episode, False at every step.
        gaze_std: standard deviation of the gaze's noise per axis, drawn at every step.
        gaze_delay: steps by which the gaze is late.
        gaze_lag: the gaze covers a share of 1 - `gaze_lag` of its way in a step.
        gaze_offset_std: standard deviation per axis of an offset drawn per episode.
        gaze_dropout_rate: probability per step that the gaze is lost.
        gaze_dropout_length: steps for which it stays lost.
    """

    num_pellets: PelletCounts = 4
    pellet_size: Positive = 0.04
    max_step: Positive = 0.02
    blue_penalty: Number = -10.0
    pink_reward: Number = 1.0
    target_reward: Number = 5.0
    round_length: Count = 100
    continuing: bool = False
    max_steps_in_episode: Count = 200
    shaping: Number = 0.0
    shaping_gamma: Share = 0.99
    gaze_source: Annotated[PyTree, Range(0.0, 1.0)] = (0.0, 1.0, 0.0, 0.0)
    gaze_presence: Share = 1.0
    gaze_presence_per_episode: bool = True
    gaze_std: NotNegative = 0.05
    gaze_delay: GazeDelay = 0
    gaze_lag: GazeLag = 0.0
    gaze_offset_std: NotNegative = 0.0
    gaze_dropout_rate: Share = 0.0
    gaze_dropout_length: CountOrZero = 10


def check(env: Any, params: BikkleParams) -> None:
    """Refuses parameters that cannot be meant, on the host, before anything is compiled.

    Raises:
        ValueError: one line that names the numbers and a remedy.
    """
    ranges.check(params)
    _check_counts(env.max_pellets, params)
    _check_source(params)
    _check_room(env.num_candidates, params)


def _check_counts(max_pellets: int, params: BikkleParams) -> None:
    counts = np.atleast_1d(np.asarray(params.num_pellets))
    if counts.ndim != 1 or counts.size == 0:
        raise ValueError(f"num_pellets has shape {counts.shape}; give one count or a list of counts")
    for count in counts.tolist():
        if count % 2:
            nearest = 2 * (count // 2)
            raise ValueError(
                f"num_pellets = {count} cannot be half blue and half pink; try {nearest} or {nearest + 2}"
            )
        if count > max_pellets:
            raise ValueError(
                f"num_pellets = {count} is above max_pellets = {max_pellets}; "
                f"try Bikkle(max_pellets={count}) or num_pellets <= {max_pellets}"
            )


def _check_source(params: BikkleParams) -> None:
    source = np.asarray(params.gaze_source, np.float64)
    if source.shape != (len(GAZE_SOURCES),):
        raise ValueError(f"gaze_source has shape {source.shape}; give 4 probabilities, one of {GAZE_SOURCES}")
    if abs(source.sum() - 1.0) > 1e-5:
        raise ValueError(
            f"gaze_source = {source.tolist()} must be 4 probabilities that sum to 1, "
            f"not {source.sum():g}; divide them by their sum"
        )


def _check_room(num_candidates: int, params: BikkleParams) -> None:
    """Each pellet closes a disc of radius 2 size: their areas, added, bound the share that is closed."""
    count = int(np.max(np.asarray(params.num_pellets)))
    size = float(params.pellet_size)
    closed = count * math.pi * (2.0 * size) ** 2
    most = MAX_FAILURE ** (1.0 / num_candidates)
    if closed > most:
        largest = math.floor(1e4 * math.sqrt(most / (4.0 * math.pi * count))) / 1e4
        fitting = 2 * int(most / (math.pi * (2.0 * size) ** 2) / 2)
        fewer = f" or num_pellets <= {fitting}" if fitting >= 2 else ""
        raise ValueError(
            f"num_pellets = {count} of pellet_size = {size:g} close up to {closed:.2f} of the arena, and "
            f"{num_candidates} candidates find a free place surely up to {most:.2f}; "
            f"try pellet_size <= {largest:g}{fewer}"
        )
