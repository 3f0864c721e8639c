"""The members that are in memory together: one program, one checkpoint, and the files of each member."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.console import Console

from purerl.compile.program import Members, Program
from purerl.host import files, interrupt, printing
from purerl.host.errors import Interrupted, TrainingError, UserError, one_line
from purerl.run import checkpoint, loop, repair, runs
from purerl.run.runs import Session
from purerl.run.session import plan_of, summary_of
from purerl.sweep.scoring import score_members, summary_entry
from purerl.types import TrainState
from purerl.view import progress, recorder, records, scoring, sinks
from purerl.view.records import Report

_CHECKPOINTS_PER_GROUP = 10


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
        return recorder.Files(session.run_dir / runs.METRICS_FILE, session.run_dir / runs.TIMING_FILE)


def train_group(group: Group, program: Program) -> None:
    """Trains a group to its end and writes the summaries of its members.

    Raises:
        Interrupted: a signal was received; what was done is saved.
        TrainingError: the disk is full.
    """
    saved = checkpoint.latest(group.checkpoints, partial(printing.warn, group.console))
    if saved and saved.manifest["config"] != group.identity:
        raise UserError(f"{saved.path} is of another group; the sweep has been changed, start a new one")
    chunks_done = saved.chunk if saved else 0
    for session in group.sessions:
        repair.put_files_back(session, saved, f"{session.run_dir.name}-")
    state = checkpoint.restore(saved, program.state_shape) if saved else program.begin(group.rows)
    state = jax.block_until_ready(state)
    say = partial(printing.say, group.console, style="yellow")
    last_words = f"stopped; {group.how_to_go_on}"
    scores: list[np.ndarray | None] = [None] * len(group.sessions)
    try:
        with interrupt.noticed("stopping after this chunk", last_words, say, defer=True) as received:
            outcome = _run(group, program, state, chunks_done, lambda: bool(received))
    except loop.NotFiniteError as error:
        say(f"every run of {group.label} has failed: {one_line(error)}")
        for session in group.sessions:
            _record_failure(group, session, program)
    except OSError as error:
        if not files.is_storage_error(error):
            raise
        raise TrainingError(
            f"cannot write {group.checkpoints}: {one_line(error)}; {group.how_to_go_on}"
        ) from error
    else:
        if outcome.chunk < program.num_chunks:
            stop = Interrupted(f"stopped and saved after chunk {outcome.chunk}; {group.how_to_go_on}")
            stop.exit_code = 128 + received[0]
            raise stop
        scores = _score(group, outcome.state, last_words, say)
    for session, own in zip(group.sessions, scores, strict=True):
        summary = _summary(session, program) | summary_entry(own, group.score_episodes)
        runs.write_summary(session.run_dir, files.plain(summary))


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
    lines = records.read_metrics(session.run_dir / runs.METRICS_FILE)
    seeds = list(range(session.options.seed, session.options.seed + session.options.num_seeds))
    if len(lines) == program.num_chunks and set(scoring.failed_seeds(lines)) != set(seeds):
        return summary_of(session, program)
    return {"seeds": seeds, "failed_seeds": seeds, **runs.versions(), **runs.machine()}


def _run(
    group: Group, program: Program, state: TrainState, chunks_done: int, stop: Callable[[], bool]
) -> loop.Outcome:
    """The loop with the files of all members around it."""
    for session in group.sessions:
        for file in group.files_of(session):
            records.truncate(file, chunks_done)
    with ExitStack() as stack:
        record = _recorder(group, program, chunks_done, stack)
        # Placed once, and before the first chunk: a copy to devices that wait for each other in a chunk would
        # wait for them, and they for it.
        varied = jax.block_until_ready(program.place(group.rows.varied))
        return loop.run(
            lambda state: program.advance(state, varied),
            state,
            loop.Hooks(
                report=record,
                save=_saver(group, program),
                name_seed=lambda row: f"row {row}",
                stop=stop,
            ),
            chunks_done=chunks_done,
            num_chunks=program.num_chunks,
            save_every=group.sessions[0].options.checkpoint_every_chunks
            or max(1, program.num_chunks // _CHECKPOINTS_PER_GROUP),
            failed=_failed(group),
            keep_going_on_nan=True,
        )


def _failed(group: Group) -> tuple[int, ...]:
    """Rows that an earlier session has left behind."""
    found = []
    for number, session in enumerate(group.sessions):
        failed = scoring.failed_seeds(records.read_metrics(session.run_dir / runs.METRICS_FILE))
        found += [number * group.num_seeds + seed - session.options.seed for seed in failed]
    return tuple(found)


def _recorder(group: Group, program: Program, chunks_done: int, stack: ExitStack) -> Callable[[Report], None]:
    """Takes the report of all rows, and gives each member the lines of its own."""
    plans = [plan_of(session, program) for session in group.sessions]
    steps_per_chunk = program.steps_per_chunk
    services = [_service(session, chunks_done * steps_per_chunk) for session in group.sessions]
    for service in services:
        stack.callback(service.close)
    show = stack.enter_context(
        progress.display(
            group.console,
            total_steps=program.num_chunks * steps_per_chunk,
            env_steps=chunks_done * steps_per_chunk,
            label=group.label,
        )
    )
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
            service.write(own.chunk * steps_per_chunk, means)
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
        session.options.track, session.run_dir, runs.training_config(session.options), env_steps
    )


def _saver(group: Group, program: Program) -> Callable[[Any, int], None]:
    architecture = checkpoint.describe(program.state_shape)

    def save(host_state: Any, chunk: int) -> None:
        # A checkpoint must never know more chunks than the files of the members have lines.
        texts: dict[str, bytes] = {}
        for session in group.sessions:
            files.flush(group.files_of(session).metrics)
            texts |= repair.texts(session, chunk, f"{session.run_dir.name}-")
        checkpoint.save(
            group.checkpoints,
            host_state,
            architecture=architecture,
            chunk=chunk,
            config=group.identity,
            keep=group.sessions[0].options.keep_checkpoints,
            texts=texts,
        )

    return save
