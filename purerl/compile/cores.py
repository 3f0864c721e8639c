"""Processor cores: how many this process may use, and how many other processes keep busy meanwhile.

Read from the files of Linux; elsewhere a quota is not known, and no neighbor is seen.
"""

import math
import os
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

_ROOT = Path("/")
_GAIN = 0.75
_SHORTEST = 0.25


def count(root: Path = _ROOT) -> int:
    """Cores that this process may use at once: those that it may run on, or fewer where a quota says so.

    A quota of 2.5 cores is two: of three devices that wait for each other one would be stopped half the time.
    """
    visible = len(_visible())
    allowed = quota(root)
    return visible if allowed is None else max(1, min(visible, math.floor(allowed + 1e-6)))


def quota(root: Path = _ROOT) -> float | None:
    """The CPU time that control groups allow this process, in cores; None where they allow any.

    The least of its own group's and of those above it, version 2 (`cpu.max`) and version 1
    (`cpu.cfs_quota_us`). Containers without a view of the groups above have them at the root.

    Args:
        root: of the file system.
    """
    found = [_cores_of(folder) for folder in _groups(root)]
    return min((cores for cores in found if cores is not None), default=None)


def _groups(root: Path) -> Iterator[Path]:
    mounted = root / "sys" / "fs" / "cgroup"
    for line in _text(root / "proc" / "self" / "cgroup").splitlines():
        controllers, _, path = line.partition(":")[2].partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        names = (controllers, "cpu") if controllers else ()
        top = next((mounted / name for name in names if (mounted / name).is_dir()), mounted)
        folder = Path(path.lstrip("/"))
        if ".." not in folder.parts:
            yield from (top / each for each in (folder, *folder.parents))
        yield top


def _cores_of(folder: Path) -> float | None:
    words = _text(folder / "cpu.max").split()
    if not words:
        words = [_text(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    try:
        allowed, period = (float(word) for word in words)
    except ValueError:  # "max", or no such file
        return None
    return allowed / period if allowed > 0 and period > 0 else None


class Sample(NamedTuple):
    """What had been computed at one moment.

    Attributes:
        at: seconds on a clock that never goes back.
        busy: seconds that all cores which this process may run on have been at work.
        own: seconds that this process has been.
    """

    at: float
    busy: float
    own: float


def sample(root: Path = _ROOT) -> Sample:
    """How much has been computed until now."""
    ticks = busy_ticks(_text(root / "proc" / "stat"), _visible(), with_nice=os.nice(0) > 0)
    return Sample(time.monotonic(), ticks / os.sysconf("SC_CLK_TCK"), time.process_time())


def busy_ticks(stat: str, cores: Collection[int], *, with_nice: bool) -> int:
    """Ticks of work on some cores, as `/proc/stat` tells them (proc(5)): user, system, interrupts and stolen.

    Args:
        stat: the text of the file.
        cores: their numbers.
        with_nice: count processes of lower priority, too. They step back for one of usual priority.
    """
    total = 0
    for line in stat.splitlines():
        name, *fields = line.split()
        if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in cores:
            user, nice, system, _idle, _waiting, interrupts, soft, stolen = map(int, (fields + ["0"] * 8)[:8])
            total += user + system + interrupts + soft + stolen + nice * with_nice
    return total


def busy_between(before: Sample, after: Sample) -> float:
    """Cores that other processes kept busy between two moments, on average."""
    seconds = max(after.at - before.at, 1e-9)
    return max(0.0, (after.busy - before.busy) - (after.own - before.own)) / seconds


def busy() -> float:
    """Cores that others have kept busy since this module was imported, at least for a quarter of a second."""
    time.sleep(max(0.0, _BEGAN.at + _SHORTEST - time.monotonic()))
    return busy_between(_BEGAN, sample())


def worthwhile(num_parts: int, there_are: int, cores: int, busy: int) -> int:
    """On how many devices that are cores to run what is cut into parts, beside processes that are at work.

    D devices gain D^0.75 over one where each has a core (1.7 for two). Where there are more threads at work
    than cores, the operating system shares cores out fairly: beside B others on C cores each device has
    C / (D + B) of one. The D of the highest product is taken, the least such: never worse than one device, by
    this reckoning. Measured on two cores beside one busy process: two devices make 1.2 to 1.5 times as much
    as one does there (`python -m benchmarks.neighbors`); reckoned are 1.12.

    Args:
        num_parts: all devices have as many of them, so their number divides it.
        there_are: devices.
        cores: that this process may use.
        busy: how many of those are kept busy by others.
    """
    counts = [count for count in range(1, min(num_parts, there_are) + 1) if num_parts % count == 0]
    return max(counts, key=lambda count: (count**_GAIN * min(1.0, cores / (count + busy)), -count))


def taken(busy: float, visible: int, cores: int) -> int:
    """Of the cores that this process may use, how many whole ones others take away.

    Args:
        busy: cores that others keep busy, of those that are visible.
        visible: cores that this process may run on.
        cores: how many of them it may use at once.
    """
    return max(0, cores - (visible - round(busy)))


def visible_count() -> int:
    """Cores that this process may run on, whatever its quota."""
    return len(_visible())


def _visible() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError):
        return ""


_BEGAN = sample()
