"""A population from its beginning, or from where it was stopped, to its pictures.

Its directory is a run directory whose seeds are the members; besides, `population.json` says how it was
begun, and `lineage.jsonl` has a line for each selection: scores, whom each member copied, and its
hyperparameters from then on.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
from rich.console import Console

from purerl.compile.program import Members, Program
from purerl.host import files, hosts, interrupt, lock, printing, serialization
from purerl.population.checks import check_options, check_space, leaves_of
from purerl.population.ending import finish
from purerl.population.evolution import (
    Population,
    PopulationOptions,
    Rules,
    begin,
    evolve,
)
from purerl.population.lineage import LINEAGE_FILE, append_line, lineage_line
from purerl.population.ranking import ranking
from purerl.run import checkpoint, device_choice, directory, repair
from purerl.run.chunks import Checkpoints, Chunks, failed_seeds, train_chunks
from purerl.run.experiment import RunOptions, Session
from purerl.run.session import plan_of
from purerl.sweep.probe import interruptible, measure_width
from purerl.sweep.reached import check_explored
from purerl.sweep.settings import Build, Member, make_members, typed, varied_leaves
from purerl.sweep.space import LogUniform, Space, Uniform, draw
from purerl.sweep.training import SCHEMA_VERSION, read_sweep, write_sweep
from purerl.view import recorder, records, sinks
from purerl.view.records import Report

POPULATION_FILE = "population.json"


class Training(NamedTuple):
    """A population, as one process works on it.

    Attributes:
        session: the run; its seeds are the members.
        program: trains all members for a chunk.
        members: seeds and first hyperparameters.
        names: option by path of its leaf.
        rules: of selection.
        how_to_go_on: what to say when it is stopped.
    """

    session: Session
    program: Program
    members: Members
    names: dict[str, str]
    rules: Rules
    how_to_go_on: str


def train_population(
    config: RunOptions,
    build: Build,
    space: Space,
    options: PopulationOptions | None = None,
    console: Console | None = None,
    script: str = "SCRIPT",
) -> dict[str, Any]:
    """Trains a population.

    Args:
        config: the configuration; the swept options replace theirs. Member m has the seed `seed + m`.
        build: the experiment that a configuration describes.
        space: options by name ("ppo.learning_rate"), and the range of each.
        options: how members are selected.
        console: where to show the progress; None: standard output.
        script: file of the experiment, for what is said when the population is stopped.

    Returns:
        The summary, as written to `summary.json`.

    Raises:
        UserError: a member cannot be run, or the run was stopped.
    """
    options, console = options or PopulationOptions(), console or hosts.console()
    check_options(options, config)
    known = typed(space, type(config))
    check_space(known)
    settings = draw(known, "sobol", options.num_members, options.sample_seed)
    members = make_members(config, build, settings)
    check_explored(members, leaves_of(members, known))
    choice = device_choice.for_new(members[0].experiment, config, num_runs=len(members))
    choice.say(console)
    width = _measure(members, options, console)
    whole = dataclasses.replace(config, num_seeds=options.num_members)
    run_dir = directory.new_directory(whole, f"population-{members[0].experiment.name}")
    saved = {
        "schema": SCHEMA_VERSION,
        "ranges": {
            name: {"kind": type(known[name]).__name__, **dataclasses.asdict(known[name])} for name in known
        },
        "options": dataclasses.asdict(options),
        "width": width,
        "settings": [serialization.encode(member.setting) for member in members],
    }
    write_sweep(run_dir / POPULATION_FILE, saved)
    directory.write_config(run_dir, whole, members[0].experiment, choice.devices)
    return resume(run_dir, type(config), build, console, script)


def resume(
    run_dir: Path,
    config_class: type[Any],
    build: Build,
    console: Console | None = None,
    script: str = "SCRIPT",
) -> dict[str, Any]:
    """Goes on with a population from its newest checkpoint, or begins it where there is none."""
    saved = read_sweep(run_dir, POPULATION_FILE)
    config = directory.read_config(run_dir, config_class, "--resume")
    device_choice.for_resumed(config.devices, device_choice.of_run(run_dir))
    ranges = {
        name: (LogUniform if row["kind"] == "LogUniform" else Uniform)(row["low"], row["high"])
        for name, row in saved["ranges"].items()
    }
    options = PopulationOptions(**saved["options"])
    settings = [serialization.decode(setting) for setting in saved["settings"]]
    members = make_members(dataclasses.replace(config, num_seeds=1), build, settings)
    leaves = leaves_of(members, ranges)
    experiment = members[0].experiment
    console = console or hosts.console()
    printing.say(console, f"{experiment.name}: compiling for {len(members)} members ...")
    seeds = range(config.seed, config.seed + len(members))
    rows = Members(seeds=seeds, varied={path: varied_leaves(members)[path] for path in leaves})
    resume_it = printing.command("python", "-m", "purerl.population", script, "--resume", run_dir)
    go_on = f"go on with: {resume_it}"
    say = partial(printing.say, console, style="yellow")
    with interrupt.ended_by("stopping when the program is compiled", f"stopped; {go_on}", say):
        program = experiment.build_program(
            total_steps=config.total_steps,
            num_devices=directory.num_devices(run_dir),
            width=saved["width"],
            members=rows,
        )
    rules = Rules({path: ranges[name] for path, name in leaves.items()}, experiment.return_metric, options)
    training = Training(
        session=Session(experiment, config, run_dir, console),
        program=program,
        members=rows,
        names=leaves,
        rules=rules,
        how_to_go_on=go_on,
    )
    with lock.held(run_dir):
        return _train(training)


def _measure(members: list[Member], options: PopulationOptions, console: Console) -> int:
    if options.width:
        return options.width
    printing.say(console, f"population: {len(members)} members; measuring how many to run side by side ...")
    first = members[0]
    with interruptible(partial(printing.say, console, style="yellow")):
        width = measure_width(first, members, first.experiment.num_devices, options.width).width
    printing.say(console, f"population: {width} side by side")
    return width


def _train(training: Training) -> dict[str, Any]:
    session, program = training.session, training.program
    run_dir, console = session.run_dir, session.console
    values = program.place(training.members.varied)
    population = begin(program.begin(training.members), values, training.rules.options.sample_seed)
    population = jax.block_until_ready(jax.device_put(population, replicated_beside(population, program)))
    expected = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), population
    )
    evolve_on_device = jax.jit(
        lambda population, metrics, scores: evolve(population, metrics, training.rules, scores),
        donate_argnums=0,
        out_shardings=(jax.tree.map(lambda leaf: leaf.sharding, expected), None),
    )

    saved = checkpoint.latest(run_dir / directory.CHECKPOINTS, partial(printing.warn, console))
    repair.prepare(session, saved)
    chunks_done = saved.chunk if saved else 0
    number = itertools.count(chunks_done + 1)
    scored = ranking(session, training.rules.options)

    def run_chunk(population: Population) -> tuple[Population, Any]:
        run, metrics = program.advance(population.run, population.values)
        # Devices that wait for each other in a chunk must not find something else to do between two of them.
        run, metrics = jax.block_until_ready((run, metrics))
        scores = scored(run.learner, next(number))
        if scores is not None:
            scores = jax.block_until_ready(jax.device_put(scores, run.num_updates.sharding))
        population = dataclasses.replace(population, run=run)
        return jax.block_until_ready(evolve_on_device(population, metrics, scores))

    if saved:
        population = checkpoint.restore(saved, expected)
    population = train_chunks(_chunks(training, run_chunk, expected, chunks_done), population)
    return finish(session, program, population, training.names, training.rules)


def replicated_beside(population: Population, program: Program) -> Population:
    """Where each part of a population lies: the runs as their program says, all the rest on every device."""
    run = jax.tree.map(lambda leaf: leaf.sharding, program.state_shape)
    everywhere = run.num_updates
    return jax.tree.map(lambda _: everywhere, population).replace(run=run)


def _chunks(
    training: Training, run_chunk: Callable[[Any], Any], expected: Population, chunks_done: int
) -> Chunks:
    session, program = training.session, training.program
    run_dir, options = session.run_dir, session.options
    plan = plan_of(session, program)

    def texts(chunk: int) -> dict[str, bytes]:
        files.flush(run_dir / LINEAGE_FILE)
        return repair.texts(session, chunk)

    return Chunks(
        run_chunk=run_chunk,
        num_chunks=program.num_chunks,
        chunks_done=chunks_done,
        options=options,
        checkpoints=Checkpoints(
            folder=run_dir / directory.CHECKPOINTS,
            state_shape=expected,
            identity=directory.training_config(options),
            texts=texts,
        ),
        recording=partial(_recording, training, plan, chunks_done),
        failed=partial(failed_seeds, run_dir / directory.METRICS_FILE, chunks_done, plan.seeds),
        keep_going_on_nan=True,
        revives=True,
        name_row=lambda member: f"member {member}",
        console=session.console,
        place=run_dir,
        how_to_go_on=training.how_to_go_on,
        what_is_left=lambda: training.how_to_go_on,
    )


@contextmanager
def _recording(
    training: Training, plan: recorder.Plan, chunks_done: int
) -> Iterator[Callable[[Report], None]]:
    """The files, the display and the service of a population, and its lineage."""
    session, every = training.session, training.rules.options.exploit_every
    run_dir, options = session.run_dir, session.options
    _begin_lineage(training, chunks_done)
    metrics = recorder.Files(run_dir / directory.METRICS_FILE, run_dir / directory.TIMING_FILE)
    env_steps = chunks_done * plan.steps_per_chunk
    sink = sinks.open_sink(options.track, run_dir, directory.training_config(options), env_steps)
    with recorder.recording(plan, metrics, sink, session.console, chunks_done) as record:

        def report(found: Report) -> None:
            if found.chunk % every == 0:
                append_line(run_dir, lineage_line(found, training.names, plan.steps_per_chunk))
            usual = {
                name: values for name, values in found.metrics.items() if not name.startswith("population_")
            }
            record(found._replace(metrics=usual))

        yield report


def _begin_lineage(training: Training, chunks_done: int) -> None:
    """The lineage as it was after so many chunks: the first hyperparameters, and the selections since."""
    run_dir = training.session.run_dir
    lineage, every = run_dir / LINEAGE_FILE, training.rules.options.exploit_every
    records.truncate(lineage, 1 + chunks_done // every if lineage.exists() else 0)
    if not lineage.stat().st_size:
        first = {training.names[path]: values for path, values in training.members.varied.items()}
        append_line(run_dir, {"chunk": 0, "env_steps": 0, "scores": None, "parents": None, "values": first})
