"""All benchmarks: `python -m benchmarks` lists them.

    python -m benchmarks                          every module and its measures
    python -m benchmarks run maze dqn.capacity    all measures of one module, one of another
    python -m benchmarks run --gpu                the selection for one GPU, which ends after eight minutes
    python -m benchmarks compare OLD.json NEW.json

A measure takes seconds or minutes; the list says how many it took last.
"""

import importlib
import inspect
import json
import os
import pkgutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

import benchmarks
from benchmarks import comparison
from benchmarks.rows import ROOT, Measure, number_text
from purerl.host.errors import TrainingError, UserError
from purerl.ranges import NotNegative
from purerl.run import arguments, cli

TOOLS = ("__main__", "beside", "neighbors", "rows", "comparison", "operations", "reading")
RESULTS = ROOT / "benchmarks" / "results"
GPU = (
    "roofline",
    "bikkle.stepping",
    "maze.stepping",
    "maze.generation",
    "maze_training.training",
    "dqn.purejaxrl",
    "dqn.capacity",
    "dqn.seeds",
    "sac.pendulum_256",
    "memory.rate",
    "replay",
)
"""What is measured on a GPU, the most telling first."""
GPU_SECONDS = 480.0


@dataclass(frozen=True)
class List:
    """List every module and its measures, with the seconds that each took when it was last measured."""


@dataclass(frozen=True)
class Run:
    """Take measures, each module in a process of its own; renew its table and its file of results."""

    names: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="NAME...")] = ()
    """MODULE, or MODULE.MEASURE."""
    gpu: bool = False
    """Take the selection for one GPU, in eight minutes, besides those that are named."""
    seconds: NotNegative = 0.0
    """Stop after so many seconds, whatever is left; 0 means never, and 480 with --gpu."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Write into this directory, with a page benchmarks.md; by default the repository's own files."""


@dataclass(frozen=True)
class Compare:
    """Say what became slower or worse beyond noise; the exit code is 1 where something did."""

    old: Annotated[Path, tyro.conf.Positional]
    """File of results."""
    new: Annotated[Path, tyro.conf.Positional]
    """A later one."""
    margin: NotNegative = comparison.MARGIN
    """Least change that counts, as a share."""
    unknown_margin: NotNegative = comparison.UNKNOWN_MARGIN
    """The same for values that were measured once, whose noise is unknown."""


COMMANDS = {"list": List, "run": Run, "compare": Compare}


def modules() -> list[str]:
    """Names of the modules that have measures."""
    found = (module.name for module in pkgutil.iter_modules(benchmarks.__path__) if not module.ispkg)
    return sorted(name for name in found if name not in TOOLS)


def measures_of(module: str) -> dict[str, Measure]:
    """The measures of a module by name."""
    return importlib.import_module(f"benchmarks.{module}").MEASURES


def describe(measure: Any) -> str:
    """First line of what is written about a measure."""
    return (inspect.getdoc(getattr(measure, "func", measure)) or "").partition("\n")[0]


def select(names: Sequence[str]) -> dict[str, list[str]]:
    """The measures that are named, by module, in the order in which modules are named.

    Raises:
        UserError: there is none of that name.
    """
    chosen: dict[str, list[str]] = {}
    for name in names:
        module, _, measure = name.partition(".")
        if module not in modules():
            raise UserError(f"there is no benchmark {module!r}; there are {', '.join(modules())}")
        known = measures_of(module)
        if measure and measure not in known:
            raise UserError(f"{module} has no measure {measure!r}; it has {', '.join(known)}")
        wanted = chosen.setdefault(module, [])
        wanted += [each for each in ([measure] if measure else known) if each not in wanted]
    return chosen


def show_list(console: Console) -> None:
    """Prints modules and measures."""
    for module in modules():
        measures = measures_of(module)
        text = sys.modules[f"benchmarks.{module}"].__doc__ or ""
        table = Table(
            box=SIMPLE, title=f"[bold]{module}[/]: {text.partition(chr(10))[0]}", title_justify="left"
        )
        table.add_column("measure", no_wrap=True)
        table.add_column("what")
        table.add_column("seconds", justify="right")
        took = _seconds(RESULTS / f"{module}.json")
        for name, measure in measures.items():
            table.add_row(name, describe(measure), number_text(took[name]) if name in took else "?")
        console.print(table)


def _seconds(file: Path) -> dict[str, float]:
    rows = json.loads(file.read_text())["rows"] if file.exists() else []
    return {row["measure"]: row["seconds"] for row in rows if "measure" in row}


def run(options: Run, console: Console) -> None:
    """Takes the measures; what fails is named at the end.

    Raises:
        UserError: a name is unknown.
        TrainingError: a measure failed, or there was no time for it.
    """
    chosen = select([*options.names, *(GPU if options.gpu else ())])
    if not chosen:
        raise UserError("there is nothing to run; name a module, as in: python -m benchmarks run maze")
    allowed = options.seconds or (GPU_SECONDS if options.gpu else float("inf"))
    ends = time.monotonic() + allowed
    lost = []
    for module, names in chosen.items():
        command = [
            sys.executable,
            "-m",
            f"benchmarks.{module}",
            "--only",
            *names,
            *_outputs(module, options.out),
        ]
        left = ends - time.monotonic()
        console.print(f"[bold]{module}[/]: {', '.join(names)}", highlight=False)
        if left <= 0:
            lost.append(f"{module} (no time was left)")
            continue
        try:
            timeout = None if left == float("inf") else left
            code = subprocess.run(command, cwd=ROOT, timeout=timeout, check=False).returncode
            lost += [f"{module} (exit code {code})"] if code else []
        except subprocess.TimeoutExpired:
            lost.append(f"{module} (stopped after {allowed:.0f} seconds in all)")
    if lost:
        raise TrainingError(f"not measured, or not all: {'; '.join(lost)}")


def _outputs(module: str, directory: Path | None) -> list[str]:
    if directory is None:
        return []
    directory.mkdir(parents=True, exist_ok=True)
    page = directory / "benchmarks.md"
    markers = f"\n## {module}\n\n<!-- {module} -->\n<!-- /{module} -->\n"
    text = page.read_text() if page.exists() else "# Benchmarks\n"
    page.write_text(text if f"<!-- {module} -->" in text else text + markers)
    return ["--out", os.path.abspath(directory / f"{module}.json"), "--page", os.path.abspath(page)]


def show_comparison(options: Compare, console: Console) -> bool:
    """Prints what changed; whether something became worse."""
    old, new = comparison.read_rows(options.old), comparison.read_rows(options.new)
    for file, rows in ((options.old, old), (options.new, new)):
        if not rows:
            raise UserError(f"{file} has no rows to compare")
    changes = comparison.compare(old, new, options.margin, options.unknown_margin)
    table = Table(box=SIMPLE)
    table.add_column("measure")
    for name in ("old", "new", "unit", "change", "must exceed", "noise from", "verdict"):
        table.add_column(name, justify="right")
    colors = {"worse": "bold red", "better": "green", "same": "dim"}
    for each in changes:
        limit = "intervals meet" if each.limit is None else f"{100 * each.limit:.1f} %"
        numbers = (number_text(each.old), number_text(each.new), each.unit, f"{100 * each.change:+.1f} %")
        table.add_row(each.name, *numbers, limit, each.noise, each.verdict, style=colors[each.verdict])
    console.print(table)
    for text, names in (
        ("only in the old file", old.keys() - new),
        ("only in the new file", new.keys() - old),
    ):
        if names:
            console.print(f"{text}: {', '.join(sorted(names))}", highlight=False)
    products = [number_text(comparison.matrix_products(rows)) for rows in (old, new)]
    console.print(f"matrix products meanwhile: {products[0]}, then {products[1]} GFLOP/s", highlight=False)
    counts = {name: sum(each.verdict == name for each in changes) for name in colors}
    unknown = sum(each.noise == "unknown" for each in changes)
    console.print(
        f"{counts['worse']} worse, {counts['better']} better, {counts['same']} the same; + is the good "
        f"direction; {unknown} were measured once, so that their noise is unknown",
        highlight=False,
    )
    return counts["worse"] > 0


def _main() -> None:
    do, console = arguments.parse_command(COMMANDS, __doc__ or ""), Console()
    if isinstance(do, Run):
        run(do, console)
    elif isinstance(do, Compare):
        if show_comparison(do, console):
            sys.exit(1)
    else:
        show_list(console)


if __name__ == "__main__":
    cli.answer(_main)
