"""Several processes that train one run together.

All of them do the same, on devices that belong to all; what differs is where they write. The directory of the
first process is the run's; every other works in a directory that is thrown away, and says nothing.
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from rich.console import Console

from purerl.host.errors import UserError, one_line
from purerl.types import PyTree

Processes = Literal["auto", "several", "one"]
_SETTINGS = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
_COUNTS = {"SLURM_STEP_NODELIST": "SLURM_NTASKS", "OMPI_MCA_orte_hnp_uri": "OMPI_COMM_WORLD_SIZE"}
"""Variables that a launcher sets, and where it says how many processes it started."""


def start(processes: Processes) -> None:
    """Joins the other processes, where there are any; call it before anything is computed.

    Args:
        processes: "auto" joins where the environment tells of several processes, "several" wherever JAX finds
            a cluster, and "one" never.

    Raises:
        UserError: the others cannot be joined.
    """
    if processes == "one" or jax.distributed.is_initialized():
        return
    if processes == "auto" and not found(os.environ):
        return
    jax.config.update("jax_enable_preemption_service", False)  # `interrupt` answers signals
    try:
        jax.distributed.initialize(**_settings(os.environ))
    except (RuntimeError, ValueError, KeyError) as error:
        raise UserError(f"several processes cannot be joined: {one_line(error)[:300]}") from error


def found(environment: Mapping[str, str]) -> bool:
    """Whether the environment tells of several processes: of Slurm, Open MPI, Kubernetes, or by hand."""
    if all(name in environment for name in _SETTINGS):
        return True
    if "KUBERNETES_SERVICE_HOST" in environment and "JOB_COMPLETION_INDEX" in environment:
        return True
    return any(
        name in environment and int(environment.get(count, "1")) > 1 for name, count in _COUNTS.items()
    )


def _settings(environment: Mapping[str, str]) -> dict[str, Any]:
    """What JAX does not find by itself."""
    if not all(name in environment for name in _SETTINGS):
        return {}
    address, count, number = (environment[name] for name in _SETTINGS)
    return {"coordinator_address": address, "num_processes": int(count), "process_id": int(number)}


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return jax.process_index() == 0


def check_shares(count: int, what: str) -> None:
    """Refuses what would leave a device of several processes without work: each process must have some.

    Raises:
        UserError: so many shares cannot be dealt out evenly.
    """
    devices = len(jax.devices())
    if jax.process_count() > 1 and count % devices:
        raise UserError(f"{what} cannot be dealt out evenly to the {devices} devices of all processes")


def console() -> Console:
    """Standard output, for the first process; nothing for the others."""
    # What is printed has names of the user's in it, which may look like markup or emoji.
    return Console(quiet=not is_first(), markup=False, emoji=False, highlight=False)


def own_directory(run_dir: Path | None) -> Path | None:
    """The directory that this process works in: the run's for the first, a copy for the others.

    Args:
        run_dir: that of the run; None where it has none yet.
    """
    if jax.process_count() == 1:
        return run_dir
    own = run_dir
    if not is_first():
        own = Path(tempfile.mkdtemp(prefix="purerl-")) / "run"
        atexit.register(shutil.rmtree, own.parent, ignore_errors=True)
        if run_dir is not None and run_dir.is_dir():
            shutil.copytree(run_dir, own)
    any_of(False)  # nobody writes before all have copied
    return own


def any_of(flag: bool) -> bool:
    """Whether the flag holds in any process; all must ask."""
    if jax.process_count() == 1:
        return flag
    from jax.experimental import multihost_utils  # noqa: PLC0415  slow, and rarely needed

    return bool(np.any(multihost_utils.process_allgather(np.array([flag]))))


def gathered(tree: PyTree) -> PyTree:
    """Arrays on the devices of all processes as arrays that each process has; all must ask."""
    if jax.process_count() == 1:
        return tree
    from jax.experimental import multihost_utils  # noqa: PLC0415  slow, and rarely needed

    return jax.tree.map(
        lambda leaf: leaf if leaf.is_fully_replicated else _gathered(multihost_utils, leaf), tree
    )


def _gathered(multihost_utils: Any, leaf: jax.Array) -> jax.Array:
    if not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return multihost_utils.process_allgather(leaf, tiled=True)
    data = multihost_utils.process_allgather(jax.random.key_data(leaf), tiled=True)
    return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
