"""One JSON line per chunk: metrics, the same bytes for the same run, and times apart from them."""

import json
import math
import os
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from purerl.errors import UserError


def append(stream: TextIO, record: dict[str, Any]) -> None:
    """Add one line and hand it to the operating system, where a killed process cannot lose it."""
    stream.write(json.dumps(record, allow_nan=False) + "\n")
    stream.flush()


def read(file: Path) -> list[dict[str, Any]]:
    """All lines of a file; none where it does not exist."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text().splitlines()]


def truncate(file: Path, num_lines: int) -> None:
    """Keep the first `num_lines` lines: what came after the checkpoint is computed again.

    Raises:
        UserError: the file has fewer lines than that.
    """
    lines = file.read_bytes().splitlines(keepends=True) if file.exists() else []
    if len(lines) < num_lines or any(not line.endswith(b"\n") for line in lines[:num_lines]):
        raise UserError(f"{file} has {len(lines)} lines, the checkpoint needs {num_lines}; start a new run")
    with file.open("ab") as stream:
        stream.truncate(sum(len(line) for line in lines[:num_lines]))
        os.fsync(stream.fileno())


def per_seed(means: dict[str, np.ndarray]) -> dict[str, list[float | None]]:
    """Means [S] by name as JSON: null where there is no finite value."""
    return {
        name: [float(value) if math.isfinite(value) else None for value in values]
        for name, values in means.items()
    }
