"""What has to be decided before JAX starts: XLA flags for CPU, and the compilation cache."""

import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

# Read by XLA when its first backend starts. Each is left alone where the user has set it.
#   concurrency_optimized_scheduler: its default hangs scanned, vmapped programs on small machines.
#   ynn_fusion_type: YNNPACK is faster than XLA at matrix products, and up to 40 times slower at reductions.
#   host_platform_device_count: one device a core; programs are sharded over them (purerl.train).
#   backend_extra_options: the tiled emitter takes 16 numbers at a time through the stack; without it a sum of
#     two arrays is six times as fast. Lower levels of LLVM (purerl.train) unroll loops as the highest does:
#     where they do not, sums are rounded one way for a seed alone and another for seeds in a loop.
_SCHEDULER = "--xla_cpu_enable_concurrency_optimized_scheduler"
_YNN_FUSION = "--xla_cpu_experimental_ynn_fusion_type"
_DEVICE_COUNT = "--xla_force_host_platform_device_count"
_EXTRA = "--xla_backend_extra_options"


def num_cores() -> int:
    """The number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def configure() -> None:
    """Adds PureRL's XLA flags to `XLA_FLAGS`; without effect once a JAX backend has started."""
    flags = {
        _SCHEDULER: "false",
        _YNN_FUSION: "LIBRARY_FUSION_TYPE_DOT",
        _DEVICE_COUNT: str(num_cores()),
        _EXTRA: "xla_cpu_disable_tiled_emitter,-unroll-threshold-default=300",
    }
    if version("jaxlib") < "0.10":  # an unknown flag would abort the process
        flags.pop(_YNN_FUSION)
    given = os.environ.get("XLA_FLAGS", "")
    added = [f"{name}={value}" for name, value in flags.items() if name not in given]
    os.environ["XLA_FLAGS"] = " ".join([*given.split(), *added])


def home() -> Path | None:
    """The user's home folder; None where there is none, as in many containers."""
    try:
        return Path.home()
    except RuntimeError:  # no HOME, and a user without a name
        return None


def cache_folder() -> Path | None:
    """For compiled programs: `PURERL_CACHE_DIR`, else `purerl` in `XDG_CACHE_HOME` or in `~/.cache`."""
    if given := os.environ.get("PURERL_CACHE_DIR"):
        return Path(given) / "xla"
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "purerl" / "xla"
    at_home = home()
    return at_home / ".cache" / "purerl" / "xla" if at_home else None


def enable_compilation_cache() -> Path | None:
    """Keeps compiled programs on disk, so that the second run of a command starts at once.

    Returns:
        The folder; None where there is none that can be used, which is told in one line.
    """
    import jax  # noqa: PLC0415  the flags above come first

    folder = cache_folder()
    if folder is None:
        _say_no_cache("there is no home folder")
        return None
    is_writable = True
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(4096))
    except (OSError, ValueError) as error:
        is_writable = False
        if not folder.is_dir():
            _say_no_cache(f"{folder} cannot be made ({getattr(error, 'strerror', None) or error})")
            return None
        _say_no_cache(f"{folder} cannot be written ({getattr(error, 'strerror', None) or error})")
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # What is there already is read from a folder that cannot be written, too.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2 if is_writable else 1e9)
    return folder


def _say_no_cache(reason: str) -> None:
    remedy = "set PURERL_CACHE_DIR to a folder for them"
    print(f"compiled programs are not kept for the next start: {reason}; {remedy}", file=sys.stderr)


def available_memory() -> int | None:
    """Bytes that are free where arrays live: on the first device, or in this machine; None if unknown."""
    import jax  # noqa: PLC0415  the flags above come first

    stats = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return None
