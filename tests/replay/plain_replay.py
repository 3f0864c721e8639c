"""Replay as one would write it first: a list of whole transitions for each environment, nothing shared."""

from typing import NamedTuple

import numpy as np


class Step(NamedTuple):
    observation: np.ndarray
    action: np.ndarray
    reward: float
    terminated: bool
    truncated: bool
    next_observation: np.ndarray


class Window(NamedTuple):
    observation: np.ndarray
    action: np.ndarray
    reward: float
    discount: float
    next_observation: np.ndarray


def window(steps: list[Step], start: int, num_steps: int, gamma: float) -> Window:
    """The n steps from `start` on, cut at the end of the episode and at the newest step."""
    total, discount = 0.0, 1.0
    for step in steps[start : start + num_steps]:
        total += discount * step.reward
        discount *= gamma
        if step.terminated or step.truncated:
            break
    last = 0.0 if step.terminated else discount
    return Window(steps[start].observation, steps[start].action, total, last, step.next_observation)
