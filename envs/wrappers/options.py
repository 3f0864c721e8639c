"""A wrapper by its name, and what it takes away: options of the command line."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from envs.wrappers.hidden_dynamics import Gain, HiddenDynamics
from envs.wrappers.occlusion import Occlusion
from envs.wrappers.retry import Retry, Ways
from purerl.ranges import Count, CountOrZero, Number, Share

WrapperName = Literal["none", "occlusion", "dynamics", "retry"]


@dataclass(frozen=True)
class HistoryOptions:
    """What the wrappers take away."""

    share: Share = 0.5
    """Share of steps in which the observation, or each token, is not seen (occlusion)."""
    length: Count = 5
    """Steps for which it stays unseen (occlusion)."""
    max_rotation: Number = 1.5708
    """Largest angle, in radians, by which actions are turned (dynamics)."""
    max_gain: Gain = 1.5
    """Largest factor by which actions are scaled or divided (dynamics)."""
    max_delay: CountOrZero = 2
    """Most steps by which actions are late (dynamics)."""
    num_ways: Ways = 4
    """Ways to try, of which one works (retry)."""


READ_BY = {
    "occlusion": ("share", "length"),
    "dynamics": ("max_rotation", "max_gain", "max_delay"),
    "retry": ("num_ways",),
}
"""Which of the options each wrapper reads."""


def wrap(
    env: Any, params: Any, wrapper: str, options: HistoryOptions, privileged: bool = False
) -> tuple[Any, Any]:
    """An environment with something hidden, from the critic too unless it is privileged, and its parameters.

    Raises:
        ValueError: one line, where the options cannot be meant.
    """
    if wrapper == "none" and privileged:
        raise ValueError(
            f"nothing of {env.name} is hidden that a privileged critic could see; use --wrapper "
            "occlusion, dynamics or retry, or leave --privileged-critic out"
        )
    if wrapper == "none":
        return env, params
    wrapped: Any
    if wrapper == "occlusion":
        wrapped = Occlusion(env, privileged=privileged)
        given = {"share": options.share, "length": options.length}
    elif wrapper == "dynamics":
        wrapped = HiddenDynamics(env, max_delay=options.max_delay, privileged=privileged)
        given = {"max_rotation": options.max_rotation, "max_gain": options.max_gain}
    else:
        wrapped, given = Retry(env, num_ways=options.num_ways, privileged=privileged), {}
    wrapped_params = dataclasses.replace(wrapped.default_params, inner=params, **given)
    wrapped.check(wrapped_params)
    return wrapped, wrapped_params
