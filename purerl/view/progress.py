"""The progress of a run on the terminal: a live bar, or a plain line for each tenth where there is none."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from purerl.host import printing


class Status(NamedTuple):
    """What is shown of a run.

    Attributes:
        env_steps: steps done, for each seed.
        steps_per_second: over all seeds.
        seconds_left: until the end of training, as far as can be told.
        mean_return: over the seeds; NaN before the first episode has ended.
        alarms: names of the alarms that sound; none in a healthy run.
        news: sentences that are told now, and stay on the screen.
        mean_name: what `mean_return` is called.
    """

    env_steps: int
    steps_per_second: float
    seconds_left: float
    mean_return: float
    alarms: Sequence[str]
    news: Sequence[str]
    mean_name: str = "return"


Show: TypeAlias = Callable[[Status], None]


@contextmanager
def display(console: Console, *, total_steps: int, env_steps: int, label: str) -> Iterator[Show]:
    """A progress display that is open within the `with` block.

    Args:
        console: where to draw.
        total_steps: environment steps of the whole run, for each seed.
        env_steps: steps already done.
        label: name of the experiment.
    """
    if console.is_terminal:
        with _live(console, total_steps, env_steps, label) as show:
            yield show
    else:
        yield _lines(console, total_steps, env_steps, label)


@contextmanager
def _live(console: Console, total_steps: int, env_steps: int, label: str) -> Iterator[Show]:
    progress = Progress(
        TextColumn("{task.description}", style="bold", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[steps]}"),
        TextColumn("{task.fields[speed]}", style="cyan", markup=False),
        TextColumn("{task.fields[mean_return]}", style="green", markup=False),
        TextColumn("{task.fields[left]}"),
        console=console,
        expand=True,
    )
    fields = _fields(Status(env_steps, math.nan, math.nan, math.nan, (), ()), total_steps)
    task = progress.add_task(label, total=total_steps, completed=env_steps, **fields)

    with Live(progress, console=console, refresh_per_second=8) as live:

        def show(status: Status) -> None:
            progress.update(task, completed=status.env_steps, **_fields(status, total_steps))
            _tell(live.console, status)
            standing = Text(f"  ! {', '.join(status.alarms)}", style="bold yellow")
            live.update(Group(progress, standing) if status.alarms else progress)

        yield show


def _lines(console: Console, total_steps: int, env_steps: int, label: str) -> Show:
    tenth_shown = 10 * env_steps // total_steps

    def show(status: Status) -> None:
        nonlocal tenth_shown
        _tell(console, status)
        tenth = 10 * status.env_steps // total_steps
        if tenth == tenth_shown:
            return
        tenth_shown = tenth
        fields = _fields(status, total_steps)
        printing.say(console, f"{label}: " + ", ".join([*fields.values(), *status.alarms]))

    return show


def _tell(console: Console, status: Status) -> None:
    for sentence in status.news:
        line = f"! after {short(status.env_steps)} steps: {sentence}"
        printing.say(console, line, style="yellow", wrap=console.is_terminal)


def _fields(status: Status, total_steps: int) -> dict[str, Any]:
    mean = "-" if math.isnan(status.mean_return) else f"{status.mean_return:.4g}"
    return {
        "steps": f"{short(status.env_steps)}/{short(total_steps)} steps",
        "speed": f"{short(status.steps_per_second)} steps/s",
        "mean_return": f"{status.mean_name} {mean}",
        "left": f"ETA {_clock(status.seconds_left)}",
    }


def _clock(seconds: float) -> str:
    if math.isnan(seconds):
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def short(number: float) -> str:
    """A count with three digits and a unit: 1.25M."""
    if math.isnan(number):
        return "-"
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"
