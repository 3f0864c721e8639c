"""The members that are in memory together: one program, one checkpoint, and the files of each member."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.console import Console

from purerl.compile.program import Members, Program
from purerl.host import files, interrupt, printing
from purerl.host.errors import Interrupted, UserError, one_line
from purerl.run import checkpoint, directory, loop, repair
from purerl.run.chunks import Checkpoints, Chunks, failed_seeds, train_chunks
from purerl.run.experiment import Session
from purerl.run.session import plan_of, summary_of
from purerl.sweep.scoring import score_members, summary_entry
from purerl.types import TrainState
from purerl.view import progress, recorder, records, scoring, sinks
from purerl.view.records import Report


class Group(NamedTuple):
    """What is trained together.

    Attributes:
        label: for the display.
        sessions: a run for each member; each has as many seeds.
        alike: places of sessions that one evaluation may play.
        score_episodes: episodes that each run is scored by; 0 for none.
        rows: every run of every member, one after another; those behind the last member fill the group up.
        checkpoints: where they lie.
        identity: tells this group from others in its checkpoints.
        console: where to show the progress.
        how_to_go_on: what to say when it is stopped.
    """

    label: str
    sessions: list[Session]
    alike: list[list[int]]
    score_episodes: int
    rows: Members
    checkpoints: Path
    identity: Any
    console: Console
    how_to_go_on: str

    @property
    def num_seeds(self) -> int:
        """Of each member."""
        return self.sessions[0].options.num_seeds

    def files_of(self, session: Session) -> recorder.Files:
        """The files of a member that grow by a line a chunk."""
        return recorder.Files(
            session.run_dir / directory.METRICS_FILE, session.run_dir / directory.TIMING_FILE
        )


def train_group(group: Group, program: Program) -> None:
    """Trains a group to its end and writes the summaries of its members.

    Raises:
        Interrupted: a signal was received; what was done is saved.
        TrainingError: the disk is full.
    """
    saved = checkpoint.latest(group.checkpoints, partial(printing.warn, group.console))
    if saved and saved.manifest["config"] != group.identity:
        raise UserError(f"{saved.path} is of another group; the sweep has been changed, start a new one")
    for session in group.sessions:
        repair.put_files_back(session, saved, f"{session.run_dir.name}-")
    state = checkpoint.restore(saved, program.state_shape) if saved else program.begin(group.rows)
    state = jax.block_until_ready(state)
    say = partial(printing.say, group.console, style="yellow")
    scores: list[np.ndarray | None] = [None] * len(group.sessions)
    try:
        state = train_chunks(_chunks(group, program, saved.chunk if saved else 0), state)
    except loop.NotFiniteError as error:
        say(f"every run of {group.label} has failed: {one_line(error)}")
        for session in group.sessions:
            _record_failure(group, session, program)
    else:
        scores = _score(group, state, f"stopped; {group.how_to_go_on}", say)
    for session, own in zip(group.sessions, scores, strict=True):
        summary = _summary(session, program) | summary_entry(own, group.score_episodes)
        directory.write_summary(session.run_dir, files.plain(summary))


def _score(
    group: Group, state: TrainState, last_words: str, say: Callable[[str], None]
) -> list[np.ndarray | None]:
    """Evaluates every run of every member; when it is stopped, the training is in the last checkpoint."""
    if group.score_episodes:
        printing.say(group.console, f"{group.label}: evaluating ...")
    try:
        with interrupt.noticed("stopping after this part of the evaluation", last_words, say, defer=False):
            return score_members(group.sessions, group.alike, state.learner, group.score_episodes)
    except KeyboardInterrupt:
        raise Interrupted(last_words) from None


def _record_failure(group: Group, session: Session, program: Program) -> None:
    """A last line for a member whose runs have all failed."""
    metrics = group.files_of(session).metrics
    lines = records.read_metrics(metrics)
    names = lines[-1]["metrics"] if lines else [session.experiment.return_metric]
    nothing = np.full(group.num_seeds, np.nan)
    seeds = tuple(range(group.num_seeds))
    report = Report(len(lines) + 1, dict.fromkeys(names, nothing), seeds, 0.0)
    with metrics.open("a") as stream:
        records.append(stream, recorder.metrics_line(plan_of(session, program), report))


def _summary(session: Session, program: Program) -> dict[str, Any]:
    lines = records.read_metrics(session.run_dir / directory.METRICS_FILE)
    seeds = list(range(session.options.seed, session.options.seed + session.options.num_seeds))
    if len(lines) == program.num_chunks and set(scoring.failed_seeds(lines)) != set(seeds):
        return summary_of(session, program)
    return {"seeds": seeds, "failed_seeds": seeds, **directory.versions(), **directory.machine()}


def _chunks(group: Group, program: Program, chunks_done: int) -> Chunks:
    # Placed once, and before the first chunk: a copy to devices that wait for each other in a chunk would
    # wait for them, and they for it.
    varied = jax.block_until_ready(program.place(group.rows.varied))
    return Chunks(
        run_chunk=lambda state: program.advance(state, varied),
        num_chunks=program.num_chunks,
        chunks_done=chunks_done,
        options=group.sessions[0].options,
        checkpoints=Checkpoints(
            folder=group.checkpoints,
            state_shape=program.state_shape,
            identity=group.identity,
            texts=partial(_texts, group),
        ),
        recording=partial(_recording, group, program, chunks_done),
        failed=partial(_failed, group, chunks_done),
        keep_going_on_nan=True,
        name_row=lambda row: f"row {row}",
        console=group.console,
        place=group.checkpoints,
        how_to_go_on=group.how_to_go_on,
        what_is_left=lambda: group.how_to_go_on,
    )


def _texts(group: Group, chunk: int) -> dict[str, bytes]:
    """Copies of the files of all members, which are on the disk first."""
    texts: dict[str, bytes] = {}
    for session in group.sessions:
        files.flush(group.files_of(session).metrics)
        texts |= repair.texts(session, chunk, f"{session.run_dir.name}-")
    return texts


def _failed(group: Group, chunks_done: int) -> tuple[int, ...]:
    """Rows that an earlier session has left behind."""
    found: list[int] = []
    for number, session in enumerate(group.sessions):
        seeds = range(session.options.seed, session.options.seed + group.num_seeds)
        failed = failed_seeds(group.files_of(session).metrics, chunks_done, seeds)
        found += [number * group.num_seeds + position for position in failed]
    return tuple(found)


@contextmanager
def _recording(group: Group, program: Program, chunks_done: int) -> Iterator[Callable[[Report], None]]:
    """Opens the files, the display and the services of all members."""
    for session in group.sessions:
        for file in group.files_of(session):
            records.truncate(file, chunks_done)
    env_steps = chunks_done * program.steps_per_chunk
    with ExitStack() as stack:
        services = [_service(session, env_steps) for session in group.sessions]
        for service in services:
            stack.callback(service.close)
        show = stack.enter_context(
            progress.display(
                group.console,
                total_steps=program.num_chunks * program.steps_per_chunk,
                env_steps=env_steps,
                label=group.label,
            )
        )
        yield _recorder(group, program, chunks_done, services, show)


def _recorder(
    group: Group,
    program: Program,
    chunks_done: int,
    services: Sequence[sinks.Sink],
    show: Callable[[progress.Status], None],
) -> Callable[[Report], None]:
    """Takes the report of all rows, and gives each member the lines of its own."""
    plans = [plan_of(session, program) for session in group.sessions]
    elapsed, num_failed = 0.0, 0

    def record(report: Report) -> None:
        nonlocal elapsed, num_failed
        elapsed += report.seconds
        best = float("-inf")
        for number, (session, plan, service) in enumerate(zip(group.sessions, plans, services, strict=True)):
            own = _own(report, number, group.num_seeds, len(group.sessions))
            metrics, timing = group.files_of(session)
            with metrics.open("a") as stream:
                records.append(stream, recorder.metrics_line(plan, own))
            with timing.open("a") as stream:
                records.append(stream, {"chunk": own.chunk, "seconds": own.seconds})
            means = recorder.over_seeds(own.metrics)
            service.write(own.chunk * plan.steps_per_chunk, means)
            best = max(best, means.get(plan.return_metric, best))
        news = [f"{len(report.failed)} of the runs are not finite, and left behind"]
        status = _status(plans[0], report, elapsed / (report.chunk - chunks_done), best, len(group.sessions))
        show(status._replace(news=news if len(report.failed) > num_failed else []))
        num_failed = len(report.failed)

    return record


def _own(report: Report, number: int, num_seeds: int, num_members: int) -> Report:
    """A member's part of a report; the time is shared among the members that ran."""
    start = number * num_seeds
    return Report(
        chunk=report.chunk,
        metrics={name: values[start : start + num_seeds] for name, values in report.metrics.items()},
        weights={name: values[start : start + num_seeds] for name, values in report.weights.items()},
        failed=tuple(row - start for row in report.failed if start <= row < start + num_seeds),
        seconds=report.seconds / num_members,
    )


def _status(
    plan: recorder.Plan, report: Report, seconds: float, best: float, num_members: int
) -> progress.Status:
    return progress.Status(
        env_steps=report.chunk * plan.steps_per_chunk,
        steps_per_second=plan.steps_per_chunk * len(plan.seeds) * num_members / seconds,
        seconds_left=(plan.num_chunks - report.chunk) * seconds,
        mean_return=best if np.isfinite(best) else float("nan"),
        mean_name="best " + plan.return_metric.removeprefix("episode_").replace("_", " "),
        alarms=(),
        news=(),
    )


def _service(session: Session, env_steps: int) -> sinks.Sink:
    return sinks.open_sink(
        session.options.track, session.run_dir, directory.training_config(session.options), env_steps
    )
