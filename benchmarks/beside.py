"""Peers beside ours, by turns in one call.

Each peer runs in a virtual environment of its own, which `sh benchmarks/peers/make.sh NAME` makes. Where
that was not done, ours is compared with what was recorded earlier, and the row says so.
"""

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

from benchmarks.rows import ROOT, Row

PEERS = ROOT / "benchmarks" / "peers"
SCHEDULER = "--xla_cpu_enable_concurrency_optimized_scheduler=false"
"""The one flag of XLA that peers get: without it, programs of several seeds hang on small machines."""
TURNS = 3

Samples = dict[str, list[float]]
"""What was measured, by quantity: "steps_per_second", "compile_seconds"."""


def run_peer(environment: str, script: str, *options: str) -> Samples:
    """What the script of a peer measured; nothing where its environment has not been made."""
    python = PEERS / f"{environment}-venv" / "bin" / "python"
    if not python.exists():
        return {}
    command = [python, PEERS / script, *options]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=_surroundings())
    return json.loads(printed.stdout.splitlines()[-1])


def run_rejax(algorithm: str, env: str, settings: dict[str, Any], *options: str) -> Samples:
    """What an algorithm of rejax reaches with these settings."""
    return run_peer("rejax", "run_rejax.py", algorithm, env, json.dumps(settings), *options)


def by_turns(calls: Mapping[str, Callable[[], Samples]], turns: int = TURNS) -> dict[str, Samples]:
    """The samples of each call, which take turns, so that what disturbs the machine disturbs all."""
    found: dict[str, Samples] = {name: {} for name in calls}
    for _ in range(turns):
        for name, call in calls.items():
            for quantity, samples in call().items():
                found[name].setdefault(quantity, []).extend(samples)
    return found


def against(
    name: str,
    ours: list[float],
    theirs: list[float] | None,
    recorded: float,
    factors: tuple[float, float],
    command: str,
    **about: Any,
) -> Row:
    """Our rate against that of a peer.

    Args:
        name: what was measured.
        ours: our samples, in steps per second unless `about` names another unit.
        theirs: the peer's; None where it is not installed.
        recorded: what stands for them then.
        factors: floor and aim, as multiples of the peer's median.
        command: how to measure it again.
        **about: other fields of the row.
    """
    peer = median(theirs) if theirs else recorded
    about = {"unit": "steps/s", "recorded": not theirs} | about
    limits = {"floor": factors[0] * peer, "aim": factors[1] * peer}
    return Row.of(name, ours, baseline=peer, command=command, **limits, **about)


def _surroundings() -> dict[str, str]:
    """Our environment without what was set for our own JAX."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "PYTHONPATH"))}
    return kept | {"XLA_FLAGS": SCHEDULER}
