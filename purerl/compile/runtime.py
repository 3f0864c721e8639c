"""What has to be decided before JAX starts: XLA flags for CPU, and the compilation cache."""

import os
import sys
import tempfile
from pathlib import Path

from purerl.compile import cores, xla

# Each flag is left alone where the user has set it. One device a core: programs are sharded over them.
_DEVICE_COUNT = "xla_force_host_platform_device_count"


def num_cores() -> int:
    """The number of processor cores that this process may use, by affinity and by quota."""
    return cores.count()


def configure() -> None:
    """Adds PureRL's XLA flags to `XLA_FLAGS`; without effect once a JAX backend has started."""
    flags = {_DEVICE_COUNT: str(num_cores())} if xla.untried() is None else {}
    given = os.environ.get("XLA_FLAGS", "")
    added = [
        f"--{name}={value}" for name, value in (flags | xla.flags_at_start()).items() if name not in given
    ]
    os.environ["XLA_FLAGS"] = " ".join([*given.split(), *added])


def use_single_precision() -> None:
    """Makes a command compute in float32 where `JAX_ENABLE_X64` asks JAX for more, and says so."""
    import jax  # noqa: PLC0415  the flags above come first

    if jax.config.read("jax_enable_x64"):
        jax.config.update("jax_enable_x64", False)
        print("JAX_ENABLE_X64 is set; PureRL computes in float32 all the same", file=sys.stderr)


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
