"""One session with a run: compile, restore, train, evaluate, report."""

import gc
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from purerl.compile.placement import choose_shard
from purerl.host import files, hosts, interrupt, lock, printing, serialization
from purerl.host.errors import Interrupted, TrainingError, UserError, one_line
from purerl.run import checkpoint, loop, repair, resume, runs
from purerl.run.runs import Session
from purerl.types import TrainState
from purerl.view import alarms, recorder, records, scoring, sinks

_CHECKPOINTS_PER_RUN = 10
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
        with _interrupts(session, "stopping after this chunk", defer=True) as received:
            state = _train(session, program, state, saved.chunk if saved else 0, received, check_ours)
        with _interrupts(session, "stopping after this part of the evaluation"):
            summary = summary_of(session, program) | {"wall_seconds": time.perf_counter() - started}
            lines = records.read_metrics(session.run_dir / runs.METRICS_FILE)
            return _finish(session, state, summary, lines, session.run_dir)
    except KeyboardInterrupt as stop:
        raise _stopped("stopped", session.run_dir, stop.args) from None


def _stopped(what: str, run_dir: Path, signals: Sequence[int]) -> Interrupted:
    stop = Interrupted(f"{what}; {_how_to_go_on(run_dir)}")
    stop.exit_code = 128 + (*signals, signal.SIGINT)[0]
    return stop


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
    lines = records.parse_metrics(saved.text(runs.METRICS_FILE) or b"", saved.path)
    times = records.parse_timing(saved.text(runs.TIMING_FILE) or b"", saved.path)
    is_last = not checkpoint.later_than(run_dir / runs.CHECKPOINTS, saved.chunk)
    summary = _summary_without_program(session, lines, times)
    folder = run_dir
    if is_alone and is_last:
        summary = repair.summary_of(session) or summary
    else:
        folder = run_dir / f"at-{saved.path.name}"
        folder.mkdir(exist_ok=True)
    printing.say(session.console, f"{session.experiment.name}: after chunk {saved.chunk}")
    return _finish(session, state, summary, lines, folder)


def _interrupts(session: Session, answer: str, *, defer: bool = False) -> AbstractContextManager[list[int]]:
    say = partial(printing.say, session.console, style="yellow")
    return interrupt.noticed(answer, f"stopped; {_how_to_go_on(session.run_dir)}", say, defer=defer)


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
    session: Session,
    program: Any,
    state: TrainState,
    chunks_done: int,
    received: list[int],
    check_ours: Callable[[], None],
) -> TrainState:
    """The loop, with its files, its display and its service open around it, until a signal is received."""
    run_dir, options = session.run_dir, session.options
    plan = plan_of(session, program)
    lines = recorder.Files(metrics=run_dir / runs.METRICS_FILE, timing=run_dir / runs.TIMING_FILE)
    sink = sinks.open_sink(
        options.track,
        run_dir,
        runs.training_config(options),
        chunks_done * plan.steps_per_chunk,
        partial(printing.warn, session.console),
    )
    save_every = options.checkpoint_every_chunks or max(1, plan.num_chunks // _CHECKPOINTS_PER_RUN)
    try:
        with recorder.recording(plan, lines, sink, session.console, chunks_done) as record:

            def report(found: records.Report) -> None:
                check_ours()
                record(found)

            outcome = loop.run(
                program.chunk,
                state,
                loop.Hooks(
                    report=report,
                    save=_saver(session, program, save_every),
                    name_seed=lambda position: f"seed {plan.seeds[position]}",
                    stop=lambda: hosts.any_of(bool(received)),
                ),
                chunks_done=chunks_done,
                num_chunks=plan.num_chunks,
                save_every=save_every,
                failed=_failed(plan, lines.metrics, chunks_done),
                keep_going_on_nan=options.keep_going_on_nan,
            )
    except loop.NotFiniteError as error:
        # What has failed is in the file, for whoever compares runs; a resumed run cuts the line off.
        with lines.metrics.open("a") as stream:
            records.append(stream, recorder.metrics_line(plan, error.report))
        several = options.num_seeds > 1 and not options.keep_going_on_nan
        hint = "; --keep-going-on-nan trains the other seeds to the end" if several else ""
        raise TrainingError(f"{error}; {_what_is_left(session)}{hint}") from error
    except OSError as error:
        if not files.is_storage_error(error):
            raise
        raise TrainingError(f"cannot write {run_dir}: {one_line(error)}; {_what_is_left(session)}") from error
    if hosts.any_of(bool(received)):
        what = f"stopped and saved after chunk {outcome.chunk}"
        raise _stopped(what, run_dir, received or [signal.SIGTERM])
    return hosts.gathered(outcome.state)


def _saver(session: Session, program: Any, save_every: int) -> Callable[[TrainState, int], None]:
    architecture = checkpoint.describe(program.state_shape)
    identity = resume.identity(session)

    def save(host_state: TrainState, chunk: int) -> None:
        texts = repair.texts(session, chunk)
        lines = records.parse_metrics(texts[runs.METRICS_FILE], session.run_dir / runs.METRICS_FILE)
        checkpoint.save(
            session.run_dir / runs.CHECKPOINTS,
            host_state,
            architecture=architecture,
            chunk=chunk,
            config=identity,
            keep=session.options.keep_checkpoints,
            keep_best=session.options.keep_best,
            score=score_of(lines[-save_every:], session.experiment.return_metric),
            texts=texts,
        )

    return save


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


def _failed(plan: recorder.Plan, file: Path, chunks_done: int) -> tuple[int, ...]:
    """Positions of the seeds that an earlier session left behind."""
    lines = records.read_metrics(file)[:chunks_done]
    return tuple(plan.seeds.index(seed) for seed in scoring.failed_seeds(lines))


def summary_of(session: Session, program: Any) -> Summary:
    """The summary of a run whose training is over, from its files; without an evaluation."""
    run_dir = session.run_dir
    times = records.read_timing(run_dir / runs.TIMING_FILE)
    found = _summary_without_program(session, records.read_metrics(run_dir / runs.METRICS_FILE), times)
    known = {"num_devices": program.num_devices, "compile_seconds": program.compile_seconds}
    return found | known | runs.machine()


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
        "config_sha256": serialization.digest(runs.training_config(options)),
        **runs.versions(),
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
    runs.write_summary(folder, summary)
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
    saved = checkpoint.latest(session.run_dir / runs.CHECKPOINTS, lambda sentence: None)
    return f"the last good checkpoint is {saved.path}" if saved else "there was no checkpoint yet"
