"""A benchmark's result: rows of name, value, unit, baseline and ratio, with the machine that made them."""

import dataclasses
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from rich.console import Console
from rich.table import Table

from purerl import runs


@dataclasses.dataclass(frozen=True)
class Row:
    """One measured value.

    Attributes:
        name: what was measured.
        value: the measurement.
        unit: its unit.
        baseline: what it is compared with, in the same unit; None where nothing is.
        floor: the least (for times, the most) that is good enough; None where nothing is.
        aim: what would be good.
        command: how to measure it again.
        lower_is_better: True for times.
    """

    name: str
    value: float
    unit: str
    baseline: float | None = None
    floor: float | None = None
    aim: float | None = None
    command: str = ""
    lower_is_better: bool = False

    @property
    def ratio(self) -> float | None:
        """The value over the baseline."""
        return None if not self.baseline else self.value / self.baseline


def machine() -> dict[str, Any]:
    """Versions, devices, and what a matrix product of 2048^3 reaches here now, in GFLOP/s."""
    return {**runs.versions(), **runs.machine(), "matmul_gflops": matmul_gflops()}


def matmul_gflops(size: int = 2048) -> float:
    """Median rate of a float32 matrix product on one device."""
    product = jax.jit(lambda a: a @ a)
    a = jax.random.normal(jax.random.key(0), (size, size))
    seconds = median_seconds(lambda: product(a), repeats=5)
    return 2 * size**3 / seconds / 1e9


def median_seconds(call: Callable[[], Any], repeats: int = 5) -> float:
    """Median wall time of a call, after one to warm up."""
    jax.block_until_ready(call())
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def save(path: Path, rows: list[Row], console: Console) -> None:
    """Prints the rows as a table and writes them as JSON; rows of an earlier file with other names stay."""
    found = machine()
    earlier = json.loads(path.read_text())["rows"] if path.exists() else []
    new = [dataclasses.asdict(row) | {"ratio": row.ratio, "machine": found} for row in rows]
    names = {row["name"] for row in new}
    path.parent.mkdir(parents=True, exist_ok=True)
    merged = [row for row in earlier if row["name"] not in names] + new
    path.write_text(json.dumps({"rows": merged}, indent=1) + "\n")
    console.print(to_table(rows))
    console.print(f"written to {path}", highlight=False)


def write_page(page: Path, results: Path) -> None:
    """Replaces what stands between the markers of a page by a table of the rows of a result file."""
    rows = json.loads(results.read_text())["rows"]
    head = "| measure | value | unit | baseline | ratio | floor | aim | command |"
    lines = [head, "|---|---|---|---|---|---|---|---|"]
    for row in rows:
        numbers = [row[name] for name in ("baseline", "ratio", "floor", "aim")]
        cells = ["" if number is None else number_text(number) for number in numbers]
        cells = [row["name"], f"**{number_text(row['value'])}**", row["unit"], *cells, f"`{row['command']}`"]
        lines.append(f"| {' | '.join(cells)} |")
    machines = {json.dumps(_setting(row["machine"]), sort_keys=True) for row in rows}
    lines += ["", "Measured on:", ""]
    lines += [f"* {', '.join(f'{k} {v}' for k, v in json.loads(text).items())}" for text in sorted(machines)]
    start, end = f"<!-- {results.stem} -->", f"<!-- /{results.stem} -->"
    before, _, rest = page.read_text().partition(start)
    _, _, after = rest.partition(end)
    page.write_text(before + "\n".join([start, *lines, end]) + after)


def _setting(found: dict[str, Any]) -> dict[str, Any]:
    """What is the same in each measurement on one machine: not the rate of its matrix products."""
    names = ("device", "python", "jax", "jaxlib")
    return {"processor": found["machine"]["cpu"]} | {name: found[name] for name in names}


def to_table(rows: list[Row]) -> Table:
    """The rows for a terminal."""
    table = Table(title="Benchmarks", title_justify="left")
    table.add_column("measure")
    for name in ("value", "unit", "baseline", "ratio", "floor", "aim"):
        table.add_column(name, justify="right")
    for row in rows:
        numbers = [row.baseline, row.ratio, row.floor, row.aim]
        cells = ["" if number is None else number_text(number) for number in numbers]
        table.add_row(row.name, f"[bold]{number_text(row.value)}[/]", row.unit, *cells)
    return table


def number_text(number: float) -> str:
    """Three to four digits, with thousands marked."""
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.4g}"


def as_array(tree: Any) -> Any:
    """Every leaf as a JAX array, so that a second call finds the same types."""
    return jax.tree.map(jnp.asarray, tree)
