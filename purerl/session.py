"""One session with a run: compile, restore, train, evaluate, report."""

import gc
import json
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from purerl import checkpoint, files, hosts, interrupt, loop, resume, runs, serialization
from purerl.errors import Interrupted, TrainingError, UserError, one_line
from purerl.logging import alarms, recorder, records, scoring, sinks
from purerl.placement import choose_shard
from purerl.runs import Session
from purerl.types import TrainState

_CHECKPOINTS_PER_RUN = 10
Summary = dict[str, Any]


def train(session: Session, *, resumed: bool) -> Summary:
    """Train to the end, evaluate and report; the summary is returned and written.

    Args:
        session: the run.
        resumed: go on from the newest checkpoint instead of beginning.

    Raises:
        UserError: the checkpoint does not fit, the run became NaN or was stopped.
    """
    started = time.perf_counter()
    try:
        with _interrupts(session, "stopping when the program is compiled"):
            saved = resume.newest(session) if resumed else None
            program = _compile(session)
            state = resume.start(session, program, saved)
        with _interrupts(session, "stopping after this chunk", defer=True) as received:
            state = _train(session, program, state, saved.chunk if saved else 0, received)
        with _interrupts(session, "stopping after this part of the evaluation"):
            summary = summary_of(session, program) | {"wall_seconds": time.perf_counter() - started}
            return _finish(session, state, summary)
    except KeyboardInterrupt:
        raise Interrupted(f"stopped; {_how_to_go_on(session.run_dir)}") from None


def evaluate(session: Session) -> Summary:
    """Evaluate the newest checkpoint; only `eval` changes in the summary.

    Raises:
        UserError: there is no whole checkpoint, or it does not fit.
    """
    run_dir = session.run_dir
    saved = resume.newest(session)
    if saved is None:
        raise UserError(f"{run_dir} has no whole checkpoint to evaluate; {_how_to_go_on(run_dir)}")
    state = checkpoint.restore(saved, resume.state_shape(session, saved))
    file = run_dir / runs.SUMMARY_FILE
    summary = json.loads(file.read_text()) if file.exists() else {"num_seeds": session.options.num_seeds}
    return _finish(session, state, summary)


def _interrupts(session: Session, answer: str, *, defer: bool = False) -> AbstractContextManager[list[int]]:
    def say(sentence: str) -> None:
        session.console.print(sentence, style="yellow", highlight=False, soft_wrap=True)

    return interrupt.noticed(answer, f"stopped; {_how_to_go_on(session.run_dir)}", say, defer=defer)


def _compile(session: Session) -> Any:
    options = session.options
    num_devices = resume.num_devices(session)
    if options.shard == "seeds":
        hosts.check_shares(options.num_seeds, f"--num-seeds {options.num_seeds}")
    else:
        hosts.check_shares(num_devices, f"environments that are cut into {num_devices} parts")
    seeds = f"seed {options.seed}" if options.num_seeds == 1 else f"{options.num_seeds} seeds"
    session.console.print(f"{session.experiment.name}: compiling for {seeds} ...", highlight=False)
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
    session: Session, program: Any, state: TrainState, chunks_done: int, received: list[int]
) -> TrainState:
    """The loop, with its files, its display and its service open around it, until a signal is received."""
    run_dir, options = session.run_dir, session.options
    plan = plan_of(session, program)
    lines = recorder.Files(metrics=run_dir / runs.METRICS_FILE, timing=run_dir / runs.TIMING_FILE)
    sink = sinks.open_sink(
        options.track, run_dir, runs.training_config(options), chunks_done * plan.steps_per_chunk
    )
    try:
        with recorder.recording(plan, lines, sink, session.console, chunks_done) as record:
            outcome = loop.run(
                program.chunk,
                state,
                loop.Hooks(
                    report=record,
                    save=_saver(session, program),
                    name_seed=lambda position: f"seed {plan.seeds[position]}",
                    stop=lambda: hosts.any_of(bool(received)),
                ),
                chunks_done=chunks_done,
                num_chunks=plan.num_chunks,
                save_every=options.checkpoint_every_chunks or max(1, plan.num_chunks // _CHECKPOINTS_PER_RUN),
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
        stop = Interrupted(f"stopped and saved after chunk {outcome.chunk}; {_how_to_go_on(run_dir)}")
        stop.exit_code = 128 + (received or [signal.SIGTERM])[0]
        raise stop
    return hosts.gathered(outcome.state)


def _saver(session: Session, program: Any) -> Callable[[TrainState, int], None]:
    architecture = checkpoint.describe(program.state_shape)

    def save(host_state: TrainState, chunk: int) -> None:
        checkpoint.save(
            session.run_dir / runs.CHECKPOINTS,
            host_state,
            architecture=architecture,
            chunk=chunk,
            config=runs.training_config(session.options),
            keep=session.options.keep_checkpoints,
        )

    return save


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
    lines = records.read(file)[:chunks_done]
    return tuple(plan.seeds.index(seed) for seed in scoring.failed_seeds(lines))


def summary_of(session: Session, program: Any) -> Summary:
    """The summary of a run whose training is over, from its files; without an evaluation."""
    options, run_dir = session.options, session.run_dir
    train_seconds = sum(line["seconds"] for line in records.read(run_dir / runs.TIMING_FILE))
    lines = records.read(run_dir / runs.METRICS_FILE)
    plan = plan_of(session, program)
    env_steps = program.num_chunks * program.steps_per_chunk
    return {
        "env_steps": env_steps,
        "num_seeds": options.num_seeds,
        "num_devices": program.num_devices,
        "seeds": list(plan.seeds),
        "failed_seeds": scoring.failed_seeds(lines),
        "alarms": [
            {"env_steps": told.env_steps, "alarm": told.alarm.sentence, "ended": told.ended}
            for told in alarms.replay(lines, plan.seeds, plan.num_chunks).told
        ],
        "updates": lines[-1]["update"],
        "compile_seconds": program.compile_seconds,
        "train_seconds": train_seconds,
        "steps_per_second": env_steps * options.num_seeds / train_seconds,
        "config_sha256": serialization.digest(runs.training_config(options)),
        **runs.versions(),
        **runs.machine(),
    }


def _finish(session: Session, state: TrainState, summary: Summary) -> Summary:
    """Evaluate, write the summary, draw and report."""
    # Slow to import, and --help should not wait for it.
    from purerl.logging.diagnosis import plot_diagnostics  # noqa: PLC0415
    from purerl.plots import plot_curves, plot_levels  # noqa: PLC0415

    experiment, options, run_dir, console = session
    console.print(f"{experiment.name}: evaluating ...", highlight=False)
    summary["eval"] = files.plain(experiment.evaluate(state.learner, options.seed))
    scores = scoring.cell_scores(summary["eval"], experiment.scored)
    if scores is not None:
        summary["score"] = files.plain({"per_seed": scores})
    files.write_json(run_dir / runs.SUMMARY_FILE, summary)
    try:
        lines = records.read(run_dir / runs.METRICS_FILE)
        plot_curves(run_dir / "curves.png", lines)
        plot_levels(run_dir / "levels.png", lines)
        plot_diagnostics(run_dir / "diagnostics.png", lines, summary.get("alarms", ()))
        experiment.report(run_dir, state, summary, console)
    except OSError as error:
        if not files.is_storage_error(error):
            raise
        raise TrainingError(f"cannot write the report into {run_dir}: {one_line(error)}") from error
    console.print(f"{experiment.name}: saved in {run_dir}", highlight=False, soft_wrap=True)
    return summary


def _how_to_go_on(run_dir: Path) -> str:
    return f"go on with: python {sys.argv[0]} --resume {run_dir}"


def _what_is_left(session: Session) -> str:
    saved = checkpoint.latest(session.run_dir / runs.CHECKPOINTS, lambda sentence: None)
    return f"the last good checkpoint is {saved.path}" if saved else "there was no checkpoint yet"
