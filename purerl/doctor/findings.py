"""What is looked at, and how each thing is judged: versions, devices, memory, driver, flags, cache."""

import os
import platform
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import jaxlib

from purerl.compile import cores as processor
from purerl.compile import platforms, xla
from purerl.compile.runtime import available_memory, num_cores
from purerl.host.errors import one_line

LEAST_PYTHON = (3, 11)
_LITTLE_MEMORY = 2 * 2**30
_PINNED = "pip install -c constraints.txt -e ."
_PINNED_CUDA = 'pip install -c constraints-cuda.txt -e ".[cuda]"'
_DRIVER = Path("/proc/driver/nvidia/version")
_ON = ("1", "true", "yes", "on", "t", "y")


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        what: its name.
        found: what it is here.
        state: "good"; "slow", where runs work and could be better; "wrong", where some fail.
        advice: what to do about it, one sentence.
    """

    what: str
    found: str
    state: Literal["good", "slow", "wrong"] = "good"
    advice: str = ""


def python(version: tuple[int, ...] = sys.version_info[:3]) -> Finding:
    """The version of Python."""
    found = ".".join(map(str, version))
    if version[:2] < LEAST_PYTHON:
        return Finding("Python", found, "wrong", "Install Python 3.11 or later.")
    return Finding("Python", found)


def jax_versions(jax_is: str = jax.__version__, jaxlib_is: str = jaxlib.__version__) -> Finding:
    """JAX and its compiled half, against each other and against the releases that were tried."""
    found = f"jax {jax_is}, jaxlib {jaxlib_is}"
    if jax_is != jaxlib_is:
        return Finding("JAX", found, "wrong", f"The two belong together; {_PINNED}")
    if xla.release(jaxlib_is) not in xla.TRIED:
        advice = f"Never tried, so XLA is told nothing of ours; to have what was: {_PINNED}"
        return Finding("JAX", found, "slow", advice)
    return Finding("JAX", found)


def devices(environment: Mapping[str, str] = os.environ, cores: int | None = None) -> Finding:
    """What JAX computes on, against the cores and the graphics processors of this machine."""
    try:
        there_are = jax.devices()
    except RuntimeError as error:
        return Finding("devices", "none", "wrong", f"JAX does not start: {one_line(error)}")
    found = f"{len(there_are)} x {there_are[0].device_kind}"
    if not platforms.on_cpu():
        return Finding("devices", found)
    if _DRIVER.exists() and not environment.get("JAX_PLATFORMS"):
        return Finding("devices", found, "wrong", f"JAX does not see the GPU of this machine; {_PINNED_CUDA}")
    cores = cores or num_cores()
    if len(there_are) != cores:
        advice = f"There are {cores} cores; leave the device count out of XLA_FLAGS to use each."
        return Finding("devices", found, "slow", advice)
    return Finding("devices", found)


def driver() -> Finding:
    """The driver of NVIDIA's graphics processors."""
    if not _DRIVER.exists():
        return Finding("driver", "none: no NVIDIA GPU")
    return Finding("driver", one_line(_DRIVER.read_text().splitlines()[0]))


def cores(number: int | None = None, load: float | None = None, quota: float | None = None) -> Finding:
    """The cores that this process sees, how busy they are, and how much of them a container grants."""
    number = number or processor.visible_count()
    load = os.getloadavg()[0] if load is None and hasattr(os, "getloadavg") else load or 0.0
    quota = processor.quota() if quota is None else quota
    found = f"{number}, load {load:.1f}"
    if quota is not None and quota < number:
        advice = f"The container may use {quota:g} of them: start it with as many cores, or use taskset."
        return Finding("cores", f"{found}, quota {quota:g}", "slow", advice)
    if load > 0.5 * number:
        return Finding("cores", found, "slow", "Other processes take their share, so rates are below par.")
    return Finding("cores", found)


def memory(num_bytes: int | None) -> Finding:
    """What is free where arrays live."""
    if num_bytes is None:
        return Finding("free memory", "unknown")
    found = f"{num_bytes / 2**30:.1f} GiB"
    if num_bytes < _LITTLE_MEMORY:
        return Finding("free memory", found, "slow", "Close what else runs, or train fewer seeds at once.")
    return Finding("free memory", found)


def flags(environment: Mapping[str, str] = os.environ) -> list[Finding]:
    """What XLA and JAX are told by the environment, ours and the user's."""
    findings = [Finding("XLA_FLAGS", environment.get("XLA_FLAGS", "").replace(" --", "\n--") or "none")]
    judged = {
        "JAX_DISABLE_JIT": ("wrong", "Nothing is compiled; unset it."),
        "JAX_ENABLE_X64": ("wrong", "Training is in float32; unset it."),
        "JAX_DEBUG_NANS": ("slow", "Each step is checked, and compiled twice; unset it unless you search."),
    }
    for name in sorted(name for name in environment if name.startswith("JAX_")):
        state, advice = judged.get(name, ("good", ""))
        is_on = environment[name].lower() in _ON
        findings.append(Finding(name, environment[name], *((state, advice) if is_on else ())))  # type: ignore[arg-type]
    return findings


def cache(folder: str | None) -> Finding:
    """Where compiled programs are kept, whether they can be, and how much there is."""
    if not folder:
        advice = "Each run compiles anew; name a folder in PURERL_CACHE_DIR."
        return Finding("cache", "none", "slow", advice)
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        size = sum(file.stat().st_size for file in Path(folder).iterdir() if file.is_file())
    except OSError as error:
        advice = f"It cannot be written ({one_line(error)}); name another folder in PURERL_CACHE_DIR."
        return Finding("cache", folder, "wrong", advice)
    return Finding("cache", f"{folder}, {size / 2**20:.0f} MiB")


def all_findings() -> list[Finding]:
    """Everything but the rates, which need devices that start."""
    found = [python(), jax_versions(), Finding("system", platform.platform()), devices()]
    starts = found[-1].found != "none"
    memory_found = [memory(available_memory())] if starts else []
    folder = getattr(jax.config, "jax_compilation_cache_dir", None)
    return [*found, driver(), cores(), *memory_found, *flags(), cache(folder)]
