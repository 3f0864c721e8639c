"""The lineage of a population: whom members copied, and their hyperparameters, a line a selection."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from purerl.host import files
from purerl.population.evolution import PARENT, SCORE, VALUE
from purerl.view import records
from purerl.view.records import Report

LINEAGE_FILE = "lineage.jsonl"


def lineage_line(report: Report, names: Mapping[str, str], steps_per_chunk: int) -> dict[str, Any]:
    """What a selection has done.

    Args:
        report: of the chunk that it followed.
        names: option by path of its leaf.
        steps_per_chunk: environment steps of each member in a chunk.
    """
    return {
        "chunk": report.chunk,
        "env_steps": report.chunk * steps_per_chunk,
        "scores": report.metrics[SCORE],
        "parents": report.metrics[PARENT].astype(int),
        "values": {name: report.metrics[VALUE + path] for path, name in names.items()},
    }


def append_line(run_dir: Path, line: dict[str, Any]) -> None:
    """Add a line to `lineage.jsonl`."""
    with (run_dir / LINEAGE_FILE).open("a") as stream:
        records.append(stream, files.plain(line))


def read_lineage(run_dir: Path) -> list[dict[str, Any]]:
    """The lines of `lineage.jsonl`: the first hyperparameters, then every selection."""
    return records.read(run_dir / LINEAGE_FILE)
