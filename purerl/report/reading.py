"""Run directories as they are found: whole, unfinished or damaged; what cannot be used is named."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from purerl.host.errors import one_line
from purerl.report.plain_files import UnusableError, parse, printable, read_bytes
from purerl.report.summaries import is_seed, usable
from purerl.run.directory import CONFIG_FILE, METRICS_FILE, SUMMARY_FILE, TIMING_FILE
from purerl.view import scoring

MEMBERS = "members"
"""Folder of a sweep in which each member is a run directory."""
_LARGEST_FILM, _LARGEST_OBJECT, _LARGEST_LINES = 8 * 2**20, 16 * 2**20, 256 * 2**20
_MOST_STEPS, _MOST_CHUNKS = 10**15, 10**6
_LARGEST_VALUE = 3.4e38  # as programs have it; more would overflow in what is computed of it


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
        film: content of a GIF, if there is one.
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
    film: bytes | None

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
    skip = lambda path, reason: skipped.append(Skipped(path, printable(reason)))  # noqa: E731
    for directory in _with_members(directories, skip):
        if directory.resolve() in seen:
            skip(directory, "named twice")
            continue
        seen.add(directory.resolve())
        run = _read(directory, skip)
        if run is not None:
            found.append(run)
    return found, skipped


def _with_members(directories: Sequence[Path], skip: Callable[[Path, str], None]) -> Iterator[Path]:
    for directory in directories:
        members = directory / MEMBERS
        if members.is_symlink():
            skip(members, "is a link, which is not followed")
            continue
        for member in sorted(members.iterdir()) if members.is_dir() else [directory]:
            if member is not directory and member.is_symlink():
                skip(member, "is a link, which is not followed")
            else:
                yield member


def _read(directory: Path, skip: Callable[[Path, str], None]) -> Run | None:
    if not directory.is_dir():
        skip(directory, "is not a directory" if directory.exists() else "does not exist")
        return None
    saved = _read_object(directory / CONFIG_FILE, skip)
    summary = _read_object(directory / SUMMARY_FILE, skip)
    lines = list(_whole_lines(directory / METRICS_FILE, _is_metrics_line, skip))
    if not lines:
        skip(directory, f"there is no whole line in {METRICS_FILE}")
        return None
    config = saved.get("config", {})
    num_seeds = len(next(iter(lines[0]["metrics"].values())))
    first = config.get("seed", 0)
    failed = scoring.failed_seeds(lines)
    first = first if is_seed(first) else 0
    summary, wrong = usable(summary)
    seeds = tuple(summary.get("seeds") or range(first, first + num_seeds))
    if wrong:
        skip(directory / SUMMARY_FILE, f"is damaged: {', '.join(wrong)} left out")
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
        content = parse(read_bytes(file, _LARGEST_OBJECT).decode())
    except UnusableError as error:
        skip(file, str(error))
    except ValueError as error:
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
        texts = read_bytes(file, _LARGEST_LINES).decode(errors="replace").splitlines()
    except UnusableError as error:
        skip(file, str(error))
        return
    damaged = []
    for number, text in enumerate(texts, 1):
        try:
            line = parse(text)
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
    if not isinstance(line, dict) or not _is_chunk(line.get("chunk")):
        return False
    steps, values = line.get("env_steps"), line.get("metrics")
    if not isinstance(steps, int) or not 0 <= steps <= _MOST_STEPS:
        return False
    if not isinstance(values, dict) or not values:
        return False
    return all(
        isinstance(seeds, list) and seeds and all(value is None or _is_number(value) for value in seeds)
        for seeds in values.values()
    )


def _is_timing_line(line: Any) -> bool:
    return isinstance(line, dict) and _is_chunk(line.get("chunk")) and _is_number(line.get("seconds"))


def _is_chunk(value: Any) -> bool:
    return isinstance(value, int) and 1 <= value <= _MOST_CHUNKS


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not abs(value) > _LARGEST_VALUE


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
    found = _whole_lines(directory / TIMING_FILE, _is_timing_line, skip)
    times = {line["chunk"]: line["seconds"] for line in found}
    last = max(line["chunk"] for line in lines)
    elapsed = np.cumsum([times.get(chunk, np.nan) for chunk in range(1, last + 1)])
    return elapsed[[line["chunk"] - 1 for line in lines]]


def _evaluated(summary: dict[str, Any], num_seeds: int) -> np.ndarray:
    found = scoring.cell_scores(summary.get("score"))
    return found if found is not None and found.shape == (num_seeds,) else np.full(num_seeds, np.nan)


def _film(directory: Path, skip: Callable[[Path, str], None]) -> bytes | None:
    for file in sorted(directory.glob("*.gif")):
        try:
            content = read_bytes(file, _LARGEST_FILM)
        except UnusableError as error:
            skip(file, str(error))
            continue
        if content.startswith(b"GIF8") and content.endswith(b";"):
            return content
        skip(file, "is damaged: not a whole GIF")
    return None
