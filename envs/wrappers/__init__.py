"""Wrappers that make history matter, on any environment, under the author contract."""

from envs.wrappers.base import Wrapper, wrap_levels
from envs.wrappers.hidden_dynamics import HiddenDynamics
from envs.wrappers.occlusion import Occlusion
from envs.wrappers.retry import Retry

WRAPPERS = {"occlusion": Occlusion, "dynamics": HiddenDynamics, "retry": Retry}

__all__ = ["WRAPPERS", "HiddenDynamics", "Occlusion", "Retry", "Wrapper", "wrap_levels"]
