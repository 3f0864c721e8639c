"""What happens to each chunk of a run: a line of metrics, a line of times, the display, the service."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from purerl.host import interrupt
from purerl.view import progress, records, sinks
from purerl.view.alarms import Heard, replay
from purerl.view.records import Report


class Plan(NamedTuple):
    """What a chunk of the run means in steps and seeds.

    Attributes:
        name: name of the experiment.
        return_metric: the metric that the display shows.
        seeds: seed at each position of the leading axis.
        num_chunks: chunks of the whole run.
        steps_per_chunk: environment steps of each seed in a chunk.
        updates_per_chunk: updates in a chunk.
    """

    name: str
    return_metric: str
    seeds: tuple[int, ...]
    num_chunks: int
    steps_per_chunk: int
    updates_per_chunk: int


class Files(NamedTuple):
    """The files that grow by one line a chunk."""

    metrics: Path
    timing: Path


@contextmanager
def recording(
    plan: Plan, files: Files, sink: sinks.Sink, console: Console, chunks_done: int
) -> Iterator[Callable[[Report], None]]:
    """A function that takes the report of each chunk, valid within the `with` block.

    Args:
        plan: what a chunk means.
        files: where the lines go; they are cut to `chunks_done` lines first.
        sink: the service that follows the run; closed at the end.
        console: where the progress is shown.
        chunks_done: chunks that an earlier session has recorded.
    """
    for file in files:
        records.truncate(file, chunks_done)
    watch = replay(records.read_metrics(files.metrics), plan.seeds, plan.num_chunks)
    seconds = 0.0
    with ExitStack() as stack:
        stack.callback(sink.close)
        metrics_stream = stack.enter_context(files.metrics.open("a"))
        timing_stream = stack.enter_context(files.timing.open("a"))
        show = stack.enter_context(
            progress.display(
                console,
                total_steps=plan.num_chunks * plan.steps_per_chunk,
                env_steps=chunks_done * plan.steps_per_chunk,
                label=plan.name,
            )
        )

        def record(report: Report) -> None:
            nonlocal seconds
            seconds += report.seconds
            line = metrics_line(plan, report)
            records.append(metrics_stream, line)
            # A checkpoint may follow, and it must never know more chunks than the file has lines.
            os.fsync(metrics_stream.fileno())
            records.append(timing_stream, {"chunk": report.chunk, "seconds": report.seconds})
            sink.write(report.chunk * plan.steps_per_chunk, over_seeds(report.metrics))
            with interrupt.shown():
                show(status(plan, report, seconds / (report.chunk - chunks_done), watch.add(line)))

        yield record


def metrics_line(plan: Plan, report: Report) -> dict[str, Any]:
    """A line of `metrics.jsonl`: nothing in it depends on the clock.

    `episodes` is how many went into the means over episodes, which is what chunks weigh in a score.
    """
    weights = report.weights.get(plan.return_metric)
    episodes = {} if weights is None else records.per_seed({"episodes": weights})
    return {
        "chunk": report.chunk,
        "update": report.chunk * plan.updates_per_chunk,
        "env_steps": report.chunk * plan.steps_per_chunk,
        "failed_seeds": [plan.seeds[position] for position in report.failed],
        **episodes,
        "metrics": records.per_seed(dict(sorted(report.metrics.items()))),
    }


def over_seeds(metrics: dict[str, np.ndarray]) -> dict[str, float]:
    """Mean of each metric over the seeds that have a value; metrics without any are left out."""
    found = {name: values[np.isfinite(values)] for name, values in metrics.items()}
    return {name: float(values.mean()) for name, values in found.items() if values.size}


def status(plan: Plan, report: Report, seconds_per_chunk: float, heard: Heard) -> progress.Status:
    """What the display shows after a chunk."""
    means = over_seeds(report.metrics)
    return progress.Status(
        env_steps=report.chunk * plan.steps_per_chunk,
        steps_per_second=plan.steps_per_chunk * len(plan.seeds) / seconds_per_chunk,
        seconds_left=(plan.num_chunks - report.chunk) * seconds_per_chunk,
        mean_return=means.get(plan.return_metric, float("nan")),
        mean_name=plan.return_metric.removeprefix("episode_").replace("_", " "),
        alarms=[alarm.name for alarm in heard.sounding],
        news=[alarm.sentence for alarm in heard.new]
        + [f"{told.alarm.name} is over since {progress.short(told.ended or 0)} steps" for told in heard.over],
    )
