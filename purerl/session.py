"""One session with a run: compile, restore, train, evaluate, report."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from purerl import checkpoint, loop, plots, runs, serialization
from purerl.errors import Interrupted, TrainingError, UserError, one_line
from purerl.logging import records, recorder, sinks
from purerl.runs import Experiment, RunOptions
from purerl.types import PyTree

_CHECKPOINTS_PER_RUN = 10
Summary = dict[str, Any]


def train(
    experiment: Experiment, options: RunOptions, run_dir: Path, console: Console, *, resumed: bool
) -> Summary:
    """Train to the end, evaluate and report; the summary is returned and written.

    Args:
        experiment: what to run.
        options: its configuration.
        run_dir: its directory, with the configuration in it.
        console: where to show the progress.
        resumed: go on from the newest checkpoint instead of beginning.

    Raises:
        UserError: the checkpoint does not fit, the run became NaN or was stopped.
    """
    started = time.perf_counter()
    try:
        saved = _newest(run_dir, options, console) if resumed else None
        program = _compile(experiment, options, console)
        state = program.init() if saved is None else checkpoint.restore(saved, program.state_shape)
        chunks_done = saved.chunk if saved else 0
        learner = _train(experiment, options, run_dir, console, program, state, chunks_done)
        summary = _summary(options, run_dir, program, started)
        return _finish(experiment, options, run_dir, console, learner, summary)
    except KeyboardInterrupt:
        raise Interrupted(f"stopped; {_how_to_go_on(run_dir)}") from None


def evaluate(experiment: Experiment, options: RunOptions, run_dir: Path, console: Console) -> Summary:
    """Evaluate the newest checkpoint; only `eval` changes in the summary.

    Raises:
        UserError: there is no whole checkpoint, or it does not fit.
    """
    saved = _newest(run_dir, options, console)
    if saved is None:
        raise UserError(f"{run_dir} has no whole checkpoint to evaluate; {_how_to_go_on(run_dir)}")
    state = checkpoint.restore(saved, _state_shape(experiment, options))
    file = run_dir / runs.SUMMARY_FILE
    summary = json.loads(file.read_text()) if file.exists() else {"num_seeds": options.num_seeds}
    return _finish(experiment, options, run_dir, console, state.learner, summary)


def _compile(experiment: Experiment, options: RunOptions, console: Console) -> Any:
    seeds = f"seed {options.seed}" if options.num_seeds == 1 else f"{options.num_seeds} seeds"
    console.print(f"{experiment.name}: compiling for {seeds} ...", highlight=False)
    return experiment.build_program(
        seed=options.seed, num_seeds=options.num_seeds, total_steps=options.total_steps
    )


def _train(
    experiment: Experiment,
    options: RunOptions,
    run_dir: Path,
    console: Console,
    program: Any,
    state: PyTree,
    chunks_done: int,
) -> PyTree:
    """The loop, with its files, its display and its service open around it. Returns the learner."""
    plan = _plan(experiment, options, program)
    files = recorder.Files(metrics=run_dir / runs.METRICS_FILE, timing=run_dir / runs.TIMING_FILE)
    config = runs.training_config(options)
    sink = sinks.open_sink(options.track, run_dir, config, chunks_done * plan.steps_per_chunk)
    architecture = checkpoint.describe(program.state_shape)

    def save(host_state: PyTree, chunk: int) -> None:
        checkpoint.save(
            run_dir / runs.CHECKPOINTS,
            host_state,
            architecture=architecture,
            chunk=chunk,
            config=config,
            keep=options.keep_checkpoints,
        )

    try:
        with recorder.recording(plan, files, sink, console, chunks_done) as record:
            outcome = loop.run(
                program.chunk,
                state,
                loop.Hooks(report=record, save=save, name_seed=lambda position: f"seed {plan.seeds[position]}"),
                chunks_done=chunks_done,
                num_chunks=plan.num_chunks,
                save_every=options.checkpoint_every_chunks or max(1, plan.num_chunks // _CHECKPOINTS_PER_RUN),
                failed=_failed(plan, files.metrics, chunks_done),
                keep_going_on_nan=options.keep_going_on_nan,
            )
    except loop.NotFiniteError as error:
        raise TrainingError(f"{error}; {_what_is_left(run_dir, options)}") from error
    if outcome.stopped_by is not None:
        stop = Interrupted(f"stopped and saved after chunk {outcome.chunk}; {_how_to_go_on(run_dir)}")
        stop.exit_code = 128 + outcome.stopped_by
        raise stop
    return outcome.state.learner


def _plan(experiment: Experiment, options: RunOptions, program: Any) -> recorder.Plan:
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
    return tuple(plan.seeds.index(seed) for seed in lines[-1]["failed_seeds"]) if lines else ()


def _summary(options: RunOptions, run_dir: Path, program: Any, started: float) -> Summary:
    train_seconds = sum(line["seconds"] for line in records.read(run_dir / runs.TIMING_FILE))
    last_line = records.read(run_dir / runs.METRICS_FILE)[-1]
    env_steps = program.num_chunks * program.steps_per_chunk
    return {
        "env_steps": env_steps,
        "num_seeds": options.num_seeds,
        "seeds": list(range(options.seed, options.seed + options.num_seeds)),
        "failed_seeds": last_line["failed_seeds"],
        "updates": last_line["update"],
        "compile_seconds": program.compile_seconds,
        "train_seconds": train_seconds,
        "steps_per_second": env_steps * options.num_seeds / train_seconds,
        "wall_seconds": time.perf_counter() - started,
        "config_sha256": serialization.digest(runs.training_config(options)),
        **runs.versions(),
        **runs.machine(),
    }


def _finish(
    experiment: Experiment,
    options: RunOptions,
    run_dir: Path,
    console: Console,
    learner: PyTree,
    summary: Summary,
) -> Summary:
    """Evaluate, write the summary, draw and report."""
    console.print(f"{experiment.name}: evaluating ...", highlight=False)
    summary["eval"] = runs.plain(experiment.evaluate(learner, options.seed))
    runs.write_json(run_dir / runs.SUMMARY_FILE, summary)
    try:
        plots.plot_curves(run_dir / "curves.png", records.read(run_dir / runs.METRICS_FILE))
        experiment.report(run_dir, learner, summary, console)
    except OSError as error:
        raise TrainingError(f"cannot write the report into {run_dir}: {one_line(error)}") from error
    console.print(f"{experiment.name}: saved in {run_dir}", highlight=False, soft_wrap=True)
    return summary


def _newest(run_dir: Path, options: RunOptions, console: Console) -> checkpoint.Checkpoint | None:
    """The newest whole checkpoint, which must have been written with the same configuration."""

    def warn(sentence: str) -> None:
        console.print(f"warning: {sentence}", style="yellow", highlight=False, soft_wrap=True)

    saved = checkpoint.latest(run_dir / runs.CHECKPOINTS, warn)
    if saved is None:
        return None
    changes = serialization.difference(saved.manifest["config"], runs.training_config(options))
    if changes:
        file = run_dir / runs.CONFIG_FILE
        raise UserError(f"{file} is not what {saved.path.name} was made with: {'; '.join(changes[:4])}")
    return saved


def _state_shape(experiment: Experiment, options: RunOptions) -> PyTree:
    """Shapes of the state of all seeds, without compiling anything."""
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), options.num_seeds))
    init = jax.vmap(lambda key: experiment.algorithm.init(key, experiment.algorithm_config))
    return jax.eval_shape(init, keys)


def _how_to_go_on(run_dir: Path) -> str:
    return f"go on with: python {sys.argv[0]} --resume {run_dir}"


def _what_is_left(run_dir: Path, options: RunOptions) -> str:
    saved = checkpoint.latest(run_dir / runs.CHECKPOINTS, lambda sentence: None)
    kept = f"the last good checkpoint is {saved.path}" if saved else "there was no checkpoint yet"
    others = "; --keep-going-on-nan trains the other seeds to the end" if options.num_seeds > 1 else ""
    return f"{kept}{others}"
