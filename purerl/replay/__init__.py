"""Experience replay as data: pure functions over arrays that stay on the device."""

from purerl.replay.buffers import Replay, ReplayState, check_event_share, prioritized, uniform
from purerl.replay.memory import check_fits, estimate_bytes
from purerl.replay.storage import Experience, Sample

__all__ = [
    "Experience",
    "Replay",
    "ReplayState",
    "Sample",
    "check_event_share",
    "check_fits",
    "estimate_bytes",
    "prioritized",
    "uniform",
]
