"""What became worse from one file of results to another, beyond noise.

A row is worse where its value changed, in the bad direction, by more than its noise and by more than a
margin. The noise is three times the spread of single samples, in both files together: a spread does not
shrink with the number of samples, as the error of a median would, because what differs from one call to the
next differs within one, too. What slows a machine down during one whole call is in no sample; for that there
is the margin, and the rate of matrix products that each file has. Where both files have an interval, the
intervals must be apart. Where there are single values alone, the noise is unknown, and a wider margin stands
for it.
"""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from purerl.host.errors import UserError, one_line

MARGIN = 0.1
"""Least change that counts, as a share of the smaller value."""
UNKNOWN_MARGIN = 0.25
"""The same where the noise is unknown: rates of single runs of one program vary by a fifth."""
SPREADS = 3.0
"""How many spreads a change must exceed."""

Verdict = Literal["worse", "better", "same"]


class Change(NamedTuple):
    """One row, then and now.

    Attributes:
        name: what was measured.
        unit: its unit.
        old: value then.
        new: value now.
        change: relative change in the good direction: -0.2 is a fifth slower, or lower, or whatever is worse.
        limit: the share that it must exceed; None where intervals decide.
        noise: how noise is known: "samples", "intervals", or "unknown".
        verdict: what it comes to.
    """

    name: str
    unit: str
    old: float
    new: float
    change: float
    limit: float | None
    noise: str
    verdict: Verdict


def read_rows(file: Path) -> dict[str, dict[str, Any]]:
    """The rows of a file of results, by name.

    Raises:
        UserError: it is not such a file.
    """
    try:
        if not file.is_file():
            raise UserError(f"{file} is not a file of results (there is no such file)")
        rows = json.loads(file.read_text())["rows"]
        found = {row["name"]: row for row in rows if isinstance(row["value"], float | int)}
        for row in found.values():
            compare({row["name"]: row}, {row["name"]: row})
            float(row["machine"]["matmul_gflops"])
        return found
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file} is not a file of results ({one_line(error)})") from error


def compare(
    old: dict[str, dict[str, Any]],
    new: dict[str, dict[str, Any]],
    margin: float = MARGIN,
    unknown_margin: float = UNKNOWN_MARGIN,
) -> list[Change]:
    """The rows that both have, the worst first.

    Args:
        old: rows by name, as `read_rows` returns them.
        new: the same.
        margin: least change that counts, as a share of the smaller value.
        unknown_margin: the same where the noise is unknown.
    """
    changes = [_change(old[name], new[name], margin, unknown_margin) for name in old if name in new]
    return sorted(changes, key=lambda change: change.change)


def spread(*groups: Sequence[float]) -> float:
    """How far a sample lies from the median of its group, as a share of it; all groups together.

    1.48 median absolute deviations: for normal samples the standard deviation. The deviation that is smallest
    in its group, zero where their number is odd, does not count.
    """
    deviations: list[float] = []
    for samples in groups:
        middle = statistics.median(samples)
        deviations += sorted(abs(sample - middle) / (abs(middle) or 1.0) for sample in samples)[1:]
    return 1.4826 * statistics.median(deviations)


def matrix_products(rows: dict[str, dict[str, Any]]) -> float:
    """Median rate of the matrix products that were timed with the rows, in GFLOP/s."""
    return statistics.median(row["machine"]["matmul_gflops"] for row in rows.values())


def _change(old: dict[str, Any], new: dict[str, Any], margin: float, unknown_margin: float) -> Change:
    then, now = float(old["value"]), float(new["value"])
    change = (now - then) / abs(then) if then else 0.0 if now == then else float("inf") * (now - then)
    change = -change if old["lower_is_better"] else change
    limit: float | None
    if _all_have("samples", old, new) and min(len(old["samples"]), len(new["samples"])) > 2:
        limit, known = max(margin, SPREADS * spread(old["samples"], new["samples"])), "samples"
    elif _all_have("interval", old, new):
        apart = max(old["interval"][0], new["interval"][0]) > min(old["interval"][1], new["interval"][1])
        limit, known = (margin if apart else None), "intervals"
    else:
        limit, known = unknown_margin, "unknown"
    verdict: Verdict = "same"
    if limit is not None and _distance(then, now) > limit:
        verdict = "worse" if change < 0 else "better"
    return Change(old["name"], old["unit"], then, now, change, limit, known, verdict)


def _distance(then: float, now: float) -> float:
    """How far apart two values are, as a share of the smaller: twice as fast is as far as half as fast."""
    smaller = min(abs(then), abs(now))
    if smaller:
        return abs(now - then) / smaller
    return 0.0 if now == then else float("inf")


def _all_have(field: str, *rows: dict[str, Any]) -> bool:
    return all(row.get(field) is not None for row in rows)
