"""One JSON line per chunk: metrics, the same bytes for the same run, and times apart from them."""

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TextIO

import numpy as np

from purerl.host import textfiles
from purerl.host.errors import UserError

_REMEDY = "put the file back from a copy, or start a new run"


class Report(NamedTuple):
    """One chunk, as seen by the host.

    Attributes:
        chunk: chunks done, this one included.
        metrics: mean of each metric, [S] by name; NaN where there is no value yet or the seed has failed.
        failed: seeds that became NaN in this or an earlier chunk, as positions in [0, S).
        seconds: wall-clock time since the previous report.
        weights: what went into the mean of each metric, [S] by name, as a number of episodes.
    """

    chunk: int
    metrics: dict[str, np.ndarray]
    failed: tuple[int, ...]
    seconds: float
    weights: Mapping[str, np.ndarray] = MappingProxyType({})


def append(stream: TextIO, record: dict[str, Any]) -> None:
    """Add one line and hand it to the operating system, where a killed process cannot lose it."""
    stream.write(json.dumps(record, allow_nan=False) + "\n")
    stream.flush()


def read(file: Path) -> list[dict[str, Any]]:
    """All lines of a file, each an object; none where it does not exist.

    Raises:
        UserError: names the file and the line that is damaged.
    """
    return _read(file, lambda at: textfiles.an_object)


def read_metrics(file: Path) -> list[dict[str, Any]]:
    """All lines of `metrics.jsonl`, each of which knows its chunk; none where it does not exist.

    Raises:
        UserError: names the file and the line that is damaged, missing or at another place.
    """
    return _read(file, _metrics_form)


def read_timing(file: Path) -> list[dict[str, Any]]:
    """All lines of `timing.jsonl`, as `read_metrics`."""
    return _read(file, _timing_form)


def parse_metrics(content: bytes, file: Path) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl` from its content, as `read_metrics`."""
    return textfiles.parse_lines(content, _metrics_form, file, _REMEDY)


def parse_timing(content: bytes, file: Path) -> list[dict[str, Any]]:
    """The lines of `timing.jsonl` from its content, as `read_metrics`."""
    return textfiles.parse_lines(content, _timing_form, file, _REMEDY)


def _read(file: Path, form: Callable[[int], textfiles.Check]) -> list[dict[str, Any]]:
    if not os.path.lexists(file):
        return []
    return textfiles.parse_lines(textfiles.read_bytes(file, _REMEDY), form, file, _REMEDY)


def _metrics_form(at: int) -> textfiles.Check:
    whole = textfiles.whole_number
    return textfiles.fields(
        {
            "chunk": whole(at, at),
            "update": whole(1),
            "env_steps": whole(1),
            "failed_seeds": textfiles.list_of(whole(), "seeds"),
            "metrics": _metrics,
        }
    )


def _timing_form(at: int) -> textfiles.Check:
    return textfiles.fields({"chunk": textfiles.whole_number(at, at), "seconds": textfiles.number})


def _metrics(value: Any) -> str | None:
    words = "an object of lists, all of one length, of numbers and null"
    if not isinstance(value, dict):
        return words
    rows = list(value.values())
    fits = all(isinstance(row, list) and len(row) == len(rows[0]) for row in rows) and all(
        each is None or (isinstance(each, int | float) and not isinstance(each, bool))
        for row in rows
        for each in row
    )
    return None if fits else words


def truncate(file: Path, num_lines: int) -> None:
    """Keep the first `num_lines` lines: what came after the checkpoint is computed again.

    Raises:
        UserError: the file has fewer lines than that.
    """
    content = textfiles.read_bytes(file, _REMEDY) if os.path.lexists(file) else b""
    lines = content.split(b"\n")[:-1]
    if len(lines) < num_lines:
        raise UserError(f"{file} has {len(lines)} lines, the checkpoint needs {num_lines}; {_REMEDY}")
    with file.open("ab") as stream:
        stream.truncate(sum(len(line) + 1 for line in lines[:num_lines]))
        os.fsync(stream.fileno())


def per_seed(means: dict[str, np.ndarray]) -> dict[str, list[float | None]]:
    """Means [S] by name as JSON: null where there is no finite value."""
    return {
        name: [float(value) if math.isfinite(value) else None for value in values]
        for name, values in means.items()
    }
