"""Run directories as they are found: whole, unfinished or damaged; what cannot be used is named."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from purerl import runs
from purerl.errors import one_line
from purerl.logging import scoring

MEMBERS = "members"
"""Folder of a sweep in which each member is a run directory."""
_LARGEST_FILM = 8 * 2**20


class Run(NamedTuple):
    """What could be read of a run with S seeds and C chunks.

    Attributes:
        path: its directory.
        experiment: name of the experiment; "unknown" where the configuration is lost.
        config: encoded configuration; empty where it is lost.
        seeds: S seeds.
        steps: environment steps of each seed after each chunk, float64 [C].
        metrics: by name, [C, S]; NaN where there is no value.
        lines: of `metrics.jsonl`, C whole ones.
        failed: bool [S], whether each seed has failed.
        evaluated: score of each seed in the evaluation after training, [S]; NaN without one.
        seconds: of training of all seeds together, up to each chunk, [C]; NaN from where they are not known.
        summary: of `summary.json`; empty where it is lost.
        film: a GIF, if there is one.
    """

    path: Path
    experiment: str
    config: dict[str, Any]
    seeds: tuple[int, ...]
    steps: np.ndarray
    metrics: dict[str, np.ndarray]
    lines: tuple[dict[str, Any], ...]
    failed: np.ndarray
    evaluated: np.ndarray
    seconds: np.ndarray
    summary: dict[str, Any]
    film: Path | None

    @property
    def finished(self) -> bool:
        """Whether training came to its end: to the last step, or to the failure of all seeds."""
        if self.failed.all():
            return True
        total = self.config.get("total_steps")
        return bool(self.steps[-1] >= total) if isinstance(total, int) else bool(self.summary)


class Skipped(NamedTuple):
    """Something that was left out, and why."""

    path: Path
    reason: str


def read_runs(directories: Sequence[Path]) -> tuple[list[Run], list[Skipped]]:
    """Reads run directories; a sweep stands for its members.

    Returns:
        The runs that have at least one chunk, and everything that was left out.
    """
    found: list[Run] = []
    skipped: list[Skipped] = []
    seen = set()
    for directory in _with_members(directories):
        if directory.resolve() in seen:
            skipped.append(Skipped(directory, "named twice"))
            continue
        seen.add(directory.resolve())
        skip = lambda path, reason: skipped.append(Skipped(path, reason))  # noqa: E731
        run = _read(directory, skip)
        if run is not None:
            found.append(run)
    return found, skipped


def _with_members(directories: Sequence[Path]) -> Iterator[Path]:
    for directory in directories:
        members = directory / MEMBERS
        yield from sorted(members.iterdir()) if members.is_dir() else [directory]


def _read(directory: Path, skip: Callable[[Path, str], None]) -> Run | None:
    if not directory.is_dir():
        skip(directory, "is not a directory" if directory.exists() else "does not exist")
        return None
    saved = _read_object(directory / runs.CONFIG_FILE, skip)
    summary = _read_object(directory / runs.SUMMARY_FILE, skip)
    lines = list(_whole_lines(directory / runs.METRICS_FILE, _is_metrics_line, skip))
    if not lines:
        skip(directory, f"there is no whole line in {runs.METRICS_FILE}")
        return None
    config = saved.get("config", {})
    num_seeds = len(next(iter(lines[0]["metrics"].values())))
    first = config.get("seed", 0)
    seeds = tuple(summary.get("seeds") or range(first, first + num_seeds))
    failed = scoring.failed_seeds(lines)
    return Run(
        path=directory,
        experiment=str(saved.get("experiment", "unknown")),
        config=config,
        seeds=seeds,
        steps=np.array([line["env_steps"] for line in lines], float),
        metrics=_columns(lines, num_seeds),
        lines=tuple(lines),
        failed=np.isin(seeds[:num_seeds], failed),
        evaluated=_evaluated(summary, num_seeds),
        seconds=_seconds(directory, lines, skip),
        summary=summary,
        film=_film(directory, skip),
    )


def _read_object(file: Path, skip: Callable[[Path, str], None]) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text())
    except FileNotFoundError:
        skip(file, "is missing")
    except (OSError, ValueError) as error:
        skip(file, f"is damaged: {one_line(error)}")
    else:
        if isinstance(content, dict) and isinstance(content.get("config", {}), dict):
            return content
        skip(file, "is damaged: it holds something else")
    return {}


def _whole_lines(
    file: Path, is_whole: Callable[[Any], bool], skip: Callable[[Path, str], None]
) -> Iterator[dict[str, Any]]:
    try:
        texts = file.read_text(errors="replace").splitlines()
    except OSError as error:
        skip(file, "is missing" if isinstance(error, FileNotFoundError) else one_line(error))
        return
    damaged = []
    for number, text in enumerate(texts, 1):
        try:
            line = json.loads(text)
        except ValueError:
            line = None
        if is_whole(line):
            yield line
        else:
            damaged.append(number)
    if damaged:
        more = f" and {len(damaged) - 3} more" if len(damaged) > 3 else ""
        which = ", ".join(map(str, damaged[:3]))
        skip(file, f"line{'s' * (len(damaged) > 1)} {which}{more} of {len(texts)} damaged, and left out")


def _is_metrics_line(line: Any) -> bool:
    if not isinstance(line, dict) or not isinstance(line.get("env_steps"), int) or "chunk" not in line:
        return False
    values = line.get("metrics")
    if not isinstance(values, dict) or not values:
        return False
    number = int | float | None
    return all(
        isinstance(seeds, list) and seeds and all(isinstance(value, number) for value in seeds)
        for seeds in values.values()
    )


def _columns(lines: Sequence[dict[str, Any]], num_seeds: int) -> dict[str, np.ndarray]:
    nothing = [None] * num_seeds

    def value(line: dict[str, Any], name: str) -> list[Any]:
        seeds = line["metrics"].get(name, nothing)
        return seeds if len(seeds) == num_seeds else nothing

    names = dict.fromkeys(name for line in lines for name in line["metrics"])
    return {name: np.array([value(line, name) for line in lines], float) for name in names}


def _seconds(
    directory: Path, lines: Sequence[dict[str, Any]], skip: Callable[[Path, str], None]
) -> np.ndarray:
    """Seconds up to each chunk; NaN from the first chunk on whose time is not known."""
    is_whole = lambda line: isinstance(line, dict) and {"chunk", "seconds"} <= set(line)  # noqa: E731
    times = {
        line["chunk"]: line["seconds"] for line in _whole_lines(directory / runs.TIMING_FILE, is_whole, skip)
    }
    last = max(line["chunk"] for line in lines)
    elapsed = np.cumsum([times.get(chunk, np.nan) for chunk in range(1, last + 1)])
    return elapsed[[line["chunk"] - 1 for line in lines]]


def _evaluated(summary: dict[str, Any], num_seeds: int) -> np.ndarray:
    found = scoring.cell_scores(summary.get("score"))
    return found if found is not None and found.shape == (num_seeds,) else np.full(num_seeds, np.nan)


def _film(directory: Path, skip: Callable[[Path, str], None]) -> Path | None:
    for file in sorted(directory.glob("*.gif")):
        content = file.read_bytes()
        if not (content.startswith(b"GIF8") and content.endswith(b";")):
            skip(file, "is damaged: not a whole GIF")
        elif len(content) > _LARGEST_FILM:
            skip(file, f"has {len(content) >> 20} MiB, too much for a page")
        else:
            return file
    return None
