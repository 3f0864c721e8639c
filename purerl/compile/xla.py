"""What XLA is told: options that were tried with this jaxlib on this kind of device, and no others.

XLA ends the process at a flag that it does not know, and refuses to compile with an option that it does not
know. So each option stands here with the releases of jaxlib in which it was tried. A newer jaxlib, which
nobody tried, gets plain XLA. What the user has set in `XLA_FLAGS` is left alone.
"""

import os
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

TRIED = ((0, 10), (0, 11))
"""Releases of jaxlib, (major, minor), with which the whole suite passes."""

# Read by XLA when its first backend starts.
#   concurrency_optimized_scheduler: its default hangs scanned, vmapped programs on small machines.
#   ynn_fusion_type: YNNPACK is faster than XLA at matrix products, and up to 40 times slower at reductions.
#   backend_extra_options: the tiled emitter takes 16 numbers at a time through the stack; without it a sum of
#     two arrays is six times as fast. Lower levels of LLVM unroll loops as the highest does: where they do
#     not, sums are rounded one way for a seed alone and another for seeds in a loop.
_AT_START: Mapping[str, str] = {
    "xla_cpu_enable_concurrency_optimized_scheduler": "false",
    "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_DOT",
    "xla_backend_extra_options": "xla_cpu_disable_tiled_emitter,-unroll-threshold-default=300",
}
# LLVM's highest level copies loops for each case of a condition within, and unrolls longer ones. Where tokens
# or grids are seen, programs are half as fast without; others only compile faster (docs/performance.md).
_LOWER_LEVEL: Mapping[str, Any] = {"xla_backend_optimization_level": 1}
# XLA cuts large loops into tasks for its threads. Where each has a device of its own, a task waits until
# another device is done; training of a transformer is a sixth faster without.
_EVERY_CORE_BUSY: Mapping[str, Any] = {"xla_disable_hlo_passes": "cpu-parallel-task-assigner"}
# Compiling without optimization takes a third of the time, and is the better deal for what runs once.
_RUNS_ONCE: Mapping[str, Any] = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
# Options that some of the releases in TRIED do not have any more.
_ONLY_IN: Mapping[str, tuple[tuple[int, int], ...]] = {"xla_cpu_use_fusion_emitters": ((0, 10),)}


def release(name: str | None = None) -> tuple[int, int]:
    """The release (major, minor) of a version of jaxlib, as "0.10.2"; by default of the installed one."""
    major, minor = (name or version("jaxlib")).split(".")[:2]
    return int(major), int(minor)


def known(options: Mapping[str, Any], jaxlib: tuple[int, int]) -> dict[str, Any]:
    """Those of the options that were tried with a release of jaxlib; none for a release that nobody tried."""
    if jaxlib not in TRIED:
        return {}
    return {name: value for name, value in options.items() if jaxlib in _ONLY_IN.get(name, TRIED)}


def _left_open(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the options that the user has not set in `XLA_FLAGS`."""
    given = os.environ.get("XLA_FLAGS", "")
    return {name: value for name, value in options.items() if name not in given}


def flags_at_start() -> dict[str, str]:
    """Flags for `XLA_FLAGS`, by name without dashes."""
    return known(_AT_START, release())


def training_options(lower_level: bool, every_core_busy: bool) -> dict[str, Any]:
    """What XLA is told when it compiles a training program for a CPU.

    Args:
        lower_level: whether the algorithm may be compiled at LLVM's lower level.
        every_core_busy: whether every core that the process may use has a device of its own.
    """
    wanted = dict(_LOWER_LEVEL if lower_level else {}) | dict(_EVERY_CORE_BUSY if every_core_busy else {})
    return known(_left_open(wanted), release())


def run_once_options() -> dict[str, Any]:
    """The same for a program that runs once, or once a chunk, and briefly."""
    return known(_left_open(_RUNS_ONCE), release())


def untried() -> str | None:
    """One line where the installed jaxlib was never tried; None where it was."""
    if release() in TRIED:
        return None
    tried = " and ".join(f"{major}.{minor}" for major, minor in TRIED)
    return (
        f"jaxlib {version('jaxlib')} was never tried with PureRL (tried: {tried}): programs are compiled by "
        "plain XLA, which is right but slower; `pip install -c constraints.txt -e .` installs what was tried"
    )
