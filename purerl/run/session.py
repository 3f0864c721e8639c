"""One session with a run: compile, restore, train, evaluate, report."""

import gc
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from purerl.compile.placement import choose_shard
from purerl.host import files, hosts, interrupt, lock, printing, serialization
from purerl.host.errors import TrainingError, UserError, one_line
from purerl.run import checkpoint, directory, loop, repair, resume
from purerl.run.chunks import Checkpoints, Chunks, failed_seeds, stopped, train_chunks
from purerl.run.experiment import Session
from purerl.types import TrainState
from purerl.view import alarms, recorder, records, scoring, sinks

Summary = dict[str, Any]
Lines = Sequence[dict[str, Any]]


def train(session: Session, *, resumed: bool) -> Summary:
    """Train to the end, evaluate and report; the summary is returned and written.

    Args:
        session: the run.
        resumed: go on from the newest checkpoint instead of beginning.

    Raises:
        UserError: the checkpoint does not fit, the run became NaN or was stopped.
    """
    with lock.held(session.run_dir) as check_ours:
        return _train_alone(session, resumed, check_ours)


def _train_alone(session: Session, resumed: bool, check_ours: Callable[[], None]) -> Summary:
    started = time.perf_counter()
    try:
        with _interrupts(session, "stopping when the program is compiled"):
            saved = resume.chosen(session) if resumed else None
            program = _compile(session)
            state = resume.start(session, program, saved)
            if resumed:
                repair.prepare(session, saved)
        state = _train(session, program, state, saved.chunk if saved else 0, check_ours)
        with _interrupts(session, "stopping after this part of the evaluation"):
            summary = summary_of(session, program) | {"wall_seconds": time.perf_counter() - started}
            lines = records.read_metrics(session.run_dir / directory.METRICS_FILE)
            return _finish(session, state, summary, lines, session.run_dir)
    except KeyboardInterrupt as stop:
        raise stopped("stopped", _how_to_go_on(session.run_dir), stop.args) from None


def evaluate(session: Session) -> Summary:
    """Evaluate a checkpoint; only `eval` changes in the summary.

    The results of the newest one go into the directory of the run, those of another one, or of a run that is
    being trained meanwhile, into a folder of their own within it.

    Raises:
        UserError: there is no whole checkpoint, or it does not fit.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(lock.held(session.run_dir))
            is_alone = True
        except lock.LockedError as error:
            printing.say(session.console, f"{error}: evaluating beside it")
            is_alone = False
        return _evaluate(session, is_alone)


def _evaluate(session: Session, is_alone: bool) -> Summary:
    run_dir = session.run_dir
    saved = resume.chosen(session)
    if saved is None:
        raise UserError(f"{run_dir} has no whole checkpoint to evaluate; {_how_to_go_on(run_dir)}")
    state = checkpoint.restore(saved, resume.state_shape(session, saved))
    lines = records.parse_metrics(saved.text(directory.METRICS_FILE) or b"", saved.path)
    times = records.parse_timing(saved.text(directory.TIMING_FILE) or b"", saved.path)
    is_last = not checkpoint.later_than(run_dir / directory.CHECKPOINTS, saved.chunk)
    summary = _summary_without_program(session, lines, times)
    folder = run_dir
    if is_alone and is_last:
        summary = repair.summary_of(session) or summary
    else:
        folder = run_dir / f"at-{saved.path.name}"
        folder.mkdir(exist_ok=True)
    printing.say(session.console, f"{session.experiment.name}: after chunk {saved.chunk}")
    return _finish(session, state, summary, lines, folder)


def _interrupts(session: Session, answer: str) -> AbstractContextManager[list[int]]:
    say = partial(printing.say, session.console, style="yellow")
    return interrupt.noticed(answer, f"stopped; {_how_to_go_on(session.run_dir)}", say, defer=False)


def _compile(session: Session) -> Any:
    options = session.options
    num_devices = resume.num_devices(session)
    if options.shard == "seeds":
        hosts.check_shares(options.num_seeds, f"--num-seeds {options.num_seeds}")
    else:
        hosts.check_shares(num_devices, f"environments that are cut into {num_devices} parts")
    seeds = f"seed {options.seed}" if options.num_seeds == 1 else f"{options.num_seeds} seeds"
    printing.say(session.console, f"{session.experiment.name}: compiling for {seeds} ...")
    gc.freeze()  # what imports left, half a million objects, need not be looked at while programs are traced
    try:
        return session.experiment.build_program(
            seed=options.seed,
            num_seeds=options.num_seeds,
            total_steps=options.total_steps,
            num_devices=num_devices,
            shard=choose_shard(options.shard, num_devices, options.num_seeds),
        )
    finally:
        gc.unfreeze()


def _train(
    session: Session, program: Any, state: TrainState, chunks_done: int, check_ours: Callable[[], None]
) -> TrainState:
    """The state after the last chunk; what has failed by then is told."""
    run_dir, options = session.run_dir, session.options
    plan = plan_of(session, program)
    metrics = run_dir / directory.METRICS_FILE
    training = Chunks(
        run_chunk=program.chunk,
        num_chunks=plan.num_chunks,
        chunks_done=chunks_done,
        options=options,
        checkpoints=_checkpoints(session, program),
        recording=partial(_recording, session, plan, chunks_done, check_ours),
        failed=partial(failed_seeds, metrics, chunks_done, plan.seeds),
        keep_going_on_nan=options.keep_going_on_nan,
        name_row=lambda position: f"seed {plan.seeds[position]}",
        console=session.console,
        place=run_dir,
        how_to_go_on=_how_to_go_on(run_dir),
        what_is_left=partial(_what_is_left, session),
    )
    try:
        return hosts.gathered(train_chunks(training, state))
    except loop.NotFiniteError as error:
        # What has failed is in the file, for whoever compares runs; a resumed run cuts the line off.
        with metrics.open("a") as stream:
            records.append(stream, recorder.metrics_line(plan, error.report))
        several = options.num_seeds > 1 and not options.keep_going_on_nan
        hint = "; --keep-going-on-nan trains the other seeds to the end" if several else ""
        raise TrainingError(f"{error}; {_what_is_left(session)}{hint}") from error


@contextmanager
def _recording(
    session: Session, plan: recorder.Plan, chunks_done: int, check_ours: Callable[[], None]
) -> Iterator[Callable[[records.Report], None]]:
    """The files, the display and the service of a run, as long as it is ours."""
    run_dir, options = session.run_dir, session.options
    sink = sinks.open_sink(
        options.track,
        run_dir,
        directory.training_config(options),
        chunks_done * plan.steps_per_chunk,
        partial(printing.warn, session.console),
    )
    files_of_run = recorder.Files(run_dir / directory.METRICS_FILE, run_dir / directory.TIMING_FILE)
    with recorder.recording(plan, files_of_run, sink, session.console, chunks_done) as record:

        def report(found: records.Report) -> None:
            check_ours()
            record(found)

        yield report


def _checkpoints(session: Session, program: Any) -> Checkpoints:
    metrics = session.run_dir / directory.METRICS_FILE

    def score(texts: Mapping[str, bytes], num_chunks: int) -> float | None:
        lines = records.parse_metrics(texts[directory.METRICS_FILE], metrics)
        return score_of(lines[-num_chunks:], session.experiment.return_metric)

    return Checkpoints(
        folder=session.run_dir / directory.CHECKPOINTS,
        state_shape=program.state_shape,
        identity=resume.identity(session),
        texts=partial(repair.texts, session),
        score=score,
    )


def score_of(lines: Sequence[dict[str, Any]], metric: str) -> float | None:
    """What checkpoints are compared by: the mean of a metric over chunks since the one before, and seeds."""
    values = [value for line in lines for value in line["metrics"].get(metric, ()) if value is not None]
    return sum(values) / len(values) if values else None


def plan_of(session: Session, program: Any) -> recorder.Plan:
    """What a chunk of the program means to the run."""
    experiment, options = session.experiment, session.options
    steps_per_update = experiment.algorithm.steps_per_update(experiment.algorithm_config)
    return recorder.Plan(
        name=experiment.name,
        return_metric=experiment.return_metric,
        seeds=tuple(range(options.seed, options.seed + options.num_seeds)),
        num_chunks=program.num_chunks,
        steps_per_chunk=program.steps_per_chunk,
        updates_per_chunk=program.steps_per_chunk // steps_per_update,
    )


def summary_of(session: Session, program: Any) -> Summary:
    """The summary of a run whose training is over, from its files; without an evaluation."""
    run_dir = session.run_dir
    times = records.read_timing(run_dir / directory.TIMING_FILE)
    found = _summary_without_program(session, records.read_metrics(run_dir / directory.METRICS_FILE), times)
    known = {"num_devices": program.num_devices, "compile_seconds": program.compile_seconds}
    return found | known | directory.machine()


def _summary_without_program(session: Session, lines: Lines, times: Lines) -> Summary:
    """What the lines of a run tell, up to the last of them."""
    options, last = session.options, lines[-1]
    seeds = list(range(options.seed, options.seed + options.num_seeds))
    train_seconds = sum(line["seconds"] for line in times)
    num_chunks = -(-options.total_steps // lines[0]["env_steps"])
    return {
        "env_steps": last["env_steps"],
        "num_seeds": options.num_seeds,
        "seeds": seeds,
        "failed_seeds": scoring.failed_seeds(lines),
        "alarms": [
            {"env_steps": told.env_steps, "alarm": told.alarm.sentence, "ended": told.ended}
            for told in alarms.replay(lines, seeds, num_chunks).told
        ],
        "updates": last["update"],
        "train_seconds": train_seconds,
        "steps_per_second": last["env_steps"] * options.num_seeds / train_seconds if train_seconds else None,
        "config_sha256": serialization.digest(directory.training_config(options)),
        **directory.versions(),
    }


def _finish(session: Session, state: TrainState, summary: Summary, lines: Lines, folder: Path) -> Summary:
    """Evaluate, write the summary, draw and report."""
    # Slow to import, and --help should not wait for it.
    from purerl.view.diagnosis import plot_diagnostics  # noqa: PLC0415
    from purerl.view.plots import plot_curves, plot_levels  # noqa: PLC0415

    experiment, console = session.experiment, session.console
    printing.say(console, f"{experiment.name}: evaluating ...")
    summary["eval"] = files.plain(experiment.evaluate(state.learner, session.options.seed))
    scores = scoring.cell_scores(summary["eval"], experiment.scored)
    if scores is not None:
        summary["score"] = files.plain({"per_seed": scores})
    directory.write_summary(folder, summary)
    try:
        plot_curves(folder / "curves.png", lines)
        plot_levels(folder / "levels.png", lines)
        plot_diagnostics(folder / "diagnostics.png", lines, summary.get("alarms", ()))
        experiment.report(folder, state, summary, console)
    except OSError as error:
        if not files.is_storage_error(error):
            raise
        raise TrainingError(f"cannot write the report into {folder}: {one_line(error)}") from error
    printing.say(console, f"{experiment.name}: saved in {folder}")
    return summary


def _how_to_go_on(run_dir: Path) -> str:
    return f"go on with: {printing.command('python', sys.argv[0], '--resume', run_dir)}"


def _what_is_left(session: Session) -> str:
    saved = checkpoint.latest(session.run_dir / directory.CHECKPOINTS, lambda sentence: None)
    return f"the last good checkpoint is {saved.path}" if saved else "there was no checkpoint yet"
