"""What benchmarks share: rows of name, value, unit, baseline and ratio, how to take and to write them."""

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from purerl.compile.program import Program
from purerl.compile.runtime import enable_compilation_cache
from purerl.host.errors import UserError
from purerl.run import arguments, cli, directory

K = TypeVar("K")
ROOT = Path(__file__).parent.parent
LIMITS = ("baseline", "ratio", "floor", "aim")


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
        interval: 95 % bootstrap interval of the value; None where there is none.
        samples: the repeated measurements whose median the value is; None where it was measured once.
        recorded: True where the baseline is a figure of earlier, not measured in the same call.
    """

    name: str
    value: float
    unit: str
    baseline: float | None = None
    floor: float | None = None
    aim: float | None = None
    command: str = ""
    lower_is_better: bool = False
    interval: tuple[float, float] | None = None
    samples: tuple[float, ...] | None = None
    recorded: bool = False

    @classmethod
    def of(cls, name: str, samples: Sequence[float], *arguments: Any, **named: Any) -> "Row":
        """The median of repeated measurements, which are kept; the other arguments are those of a row."""
        return cls(name, statistics.median(samples), *arguments, samples=tuple(samples), **named)

    @property
    def ratio(self) -> float | None:
        """The value over the baseline."""
        return None if not self.baseline else self.value / self.baseline


Measure = Callable[[], list[Row]]
"""What a benchmark's `MEASURES` are, by name."""


@dataclasses.dataclass(frozen=True)
class Options:
    """What a benchmark's command takes."""

    only: tuple[str, ...]
    """Which measures to take, in this order."""
    out: Path
    """Where the rows are written; rows of other names in it stay."""
    page: Path = ROOT / "docs" / "benchmarks.md"
    """Page whose table is made from these rows."""


def take(name: str, measures: dict[str, Measure], description: str) -> None:
    """Reads the command line, takes the measures one after another and writes after each.

    Args:
        name: of the file of results, and of the table on the page.
        measures: by name.
        description: what `--help` says.
    """
    results = ROOT / "benchmarks" / "results" / f"{name}.json"

    def work() -> None:
        options = arguments.parse_alone(Options, description, default=Options(tuple(measures), results))
        check_names(options.only, measures)
        if not options.page.is_file():
            raise UserError(f"there is no page {options.page} to write the table into")
        take_each({name: measures[name] for name in options.only}, options.out, options.page)

    cli.answer(work)


def check_names(asked: Sequence[str], known: Collection[str]) -> None:
    """Raises UserError where a measure that is asked for does not exist."""
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise UserError(f"no measure is called {unknown[0]!r}; there are {', '.join(known)}")


def take_each(measures: Mapping[str, Measure], out: Path, page: Path) -> None:
    """Takes measures one after another, and writes rows and page after each, with the time that it took."""
    enable_compilation_cache()
    console = Console()
    for name, measure in measures.items():
        console.print(f"{name} ...", highlight=False)
        started = time.perf_counter()
        rows = measure()
        save(out, rows, console, measure=name, seconds=time.perf_counter() - started)
        write_page(page, out)


def on_all_devices(run: Callable[[jax.Array], Any]) -> Callable[[], Any]:
    """A call that runs a function on each local device: its keys are [1], its results have a leading axis."""
    devices = jax.local_devices()
    spec = PartitionSpec("devices")
    mesh = Mesh(np.array(devices), ("devices",))
    program = jax.jit(jax.shard_map(run, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False))
    keys = jax.random.split(jax.random.key(0), len(devices))
    return lambda: program(keys)


def run_script(script: str, room: Path, name: str, *options: str) -> tuple[dict, float]:
    """Runs an experiment with a cache of its own; returns its summary and the wall time in seconds."""
    started = time.perf_counter()
    command = [sys.executable, str(ROOT / script), "--run-dir", str(room / name), *options]
    subprocess.run(command, check=True, env=surroundings(room), stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - started
    return json.loads((room / name / "summary.json").read_text()), wall


def surroundings(room: Path) -> dict[str, str]:
    """Our environment, with a compilation cache of its own in a room."""
    return os.environ | {"PURERL_CACHE_DIR": str(room / "cache")}


def machine() -> dict[str, Any]:
    """Versions, devices, and what a matrix product of 2048^3 reaches here now, in GFLOP/s."""
    return {**directory.versions(), **directory.machine(), "matmul_gflops": matmul_gflops()}


def matmul_gflops(size: int = 2048) -> float:
    """Median rate of a float32 matrix product on one device."""
    product = jax.jit(lambda a: a @ a)
    a = jax.random.normal(jax.random.key(0), (size, size))
    seconds = median_seconds(lambda: product(a), repeats=5)
    return 2 * size**3 / seconds / 1e9


def median_seconds(call: Callable[[], Any], repeats: int = 5) -> float:
    """Median wall time of a call, after one to warm up."""
    return statistics.median(seconds_of(call, repeats))


def seconds_of(call: Callable[[], Any], repeats: int = 5) -> list[float]:
    """Wall times of a call, after one to warm up."""
    return seconds_by_turns({"": call}, repeats)[""]


def seconds_by_turns(
    calls: Mapping[K, Callable[[], Any]], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> dict[K, list[float]]:
    """Times of each call by turns, after a first turn to warm up: wall time, or what another clock says."""
    seconds: dict[K, list[float]] = {name: [] for name in calls}
    for _ in range(repeats + 1):
        for name, call in calls.items():
            started = clock()
            jax.block_until_ready(call())
            seconds[name].append(clock() - started)
    return {name: each[1:] for name, each in seconds.items()}


def rates(work: float, seconds: Sequence[float]) -> list[float]:
    """Work per second of each repetition."""
    return [work / each for each in seconds]


def stepper(program: Program) -> Callable[[], Any]:
    """Runs the next chunk at each call."""
    state = program.init()

    def call():
        nonlocal state
        state, metrics = program.chunk(state)
        return metrics

    return call


def save(path: Path, rows: list[Row], console: Console, **about: Any) -> None:
    """Prints the rows as a table and writes them as JSON; rows of an earlier file with other names stay.

    Args:
        path: the file.
        rows: the measurements.
        console: where to print.
        **about: what else to write into each row.
    """
    found = machine()
    earlier = json.loads(path.read_text())["rows"] if path.exists() else []
    new = [dataclasses.asdict(row) | {"ratio": row.ratio, "machine": found} | about for row in rows]
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
        cells = _cells([row[name] for name in LIMITS], row.get("recorded", False))
        value = f"**{number_text(row['value'])}**{_interval_text(row.get('interval'))}"
        cells = [row["name"], value, row["unit"], *cells, f"`{row['command']}`"]
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
    for name in ("value", "unit", *LIMITS):
        table.add_column(name, justify="right")
    for row in rows:
        cells = _cells([getattr(row, name) for name in LIMITS], row.recorded)
        value = f"[bold]{number_text(row.value)}[/]{escape(_interval_text(row.interval))}"
        table.add_row(row.name, value, row.unit, *cells)
    return table


def _cells(limits: Sequence[float | None], recorded: bool) -> list[str]:
    baseline, *others = ["" if number is None else number_text(number) for number in limits]
    return [f"{baseline} (recorded)" if recorded else baseline, *others]


def _interval_text(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f" [{number_text(interval[0])}, {number_text(interval[1])}]"


def number_text(number: float) -> str:
    """Three to four digits, with thousands marked."""
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.4g}"


def as_array(tree: Any) -> Any:
    """Every leaf as a JAX array, so that a second call finds the same types."""
    return jax.tree.map(jnp.asarray, tree)
