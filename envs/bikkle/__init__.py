"""The Bikkle arena: its dynamics, observations, gaze, protocols, scripted players and pictures."""

from envs.bikkle.environment import Bikkle, BikkleFlat, BikkleImage
from envs.bikkle.params import BikkleParams, check
from envs.bikkle.protocols import GAZES, PROTOCOLS, Protocol, protocol_params
from envs.bikkle.state import BikkleState

__all__ = [
    "GAZES",
    "PROTOCOLS",
    "Bikkle",
    "BikkleFlat",
    "BikkleImage",
    "BikkleParams",
    "BikkleState",
    "Protocol",
    "check",
    "protocol_params",
]
