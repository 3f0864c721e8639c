"""A sweep from its beginning, or from where it was stopped, to its table and its pictures.

Its directory holds `sweep.json`, which names every member, `members/NAME-0000/` for each of them, which are
run directories like any other, and `groups/` with the checkpoints of what is in memory together.
"""

import dataclasses
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from purerl.compile import placement
from purerl.compile.program import Members, Program
from purerl.host import files, hosts, interrupt, limits, lock, printing, serialization, textfiles
from purerl.host.errors import UserError
from purerl.report.reading import MEMBERS
from purerl.report.scores import Score
from purerl.run import device_choice, directory
from purerl.run.experiment import RunOptions, Session, check_options
from purerl.sweep import results
from purerl.sweep.groups import Group, train_group
from purerl.sweep.probe import Width, interruptible, measure_width, members_in_memory
from purerl.sweep.reached import check_swept
from purerl.sweep.settings import (
    Build,
    Member,
    SweepOptions,
    buckets,
    make_members,
    of_one_world,
    rows,
    typed,
)
from purerl.sweep.space import Space, as_text, draw

SWEEP_FILE = "sweep.json"
SCHEMA_VERSION = 3


class Sweep(NamedTuple):
    """A sweep, as one process works on it.

    Attributes:
        run_dir: its directory.
        members: all of them.
        buckets: those that can share a program.
        swept: options that are swept, as on the command line, by name.
        score_episodes: episodes that each run is scored by.
        layout: `width`, `group_size` by bucket, `num_devices` and `devices`, which a resumed sweep keeps.
        console: where to show the progress.
        how_to_go_on: what to say when it is stopped.
    """

    run_dir: Path
    members: list[Member]
    buckets: list[list[Member]]
    swept: dict[str, str]
    score_episodes: int
    layout: dict[str, Any]
    console: Console
    how_to_go_on: str


def sweep(
    config: RunOptions,
    build: Build,
    space: Space,
    options: SweepOptions | None = None,
    console: Console | None = None,
    script: str = "SCRIPT",
) -> list[Score]:
    """Trains every member with every seed, and says which are best.

    Args:
        config: the configuration; the swept options replace theirs. `num_seeds` seeds for each member.
        build: the experiment that a configuration describes.
        space: options by name ("ppo.learning_rate"), and what each may be.
        options: how members are drawn and laid out.
        console: where to show the progress; None: standard output.
        script: file of the experiment, for what is said when the sweep is stopped.

    Returns:
        Scores of the members, best first.

    Raises:
        UserError: a member cannot be run, or the sweep was stopped.
    """
    options = options or SweepOptions()
    limits.check(options)
    check_options(config)
    known = typed(space, type(config))
    if not known:
        raise UserError("there is nothing to sweep; say what, as --sweep.ppo.gamma 0.9,0.99")
    settings = draw(known, options.sampler, options.num_members, options.sample_seed)
    members = make_members(config, build, settings)
    together = buckets(members)
    check_swept(together)
    name = f"sweep-{members[0].experiment.name}"
    console = console or hosts.console()
    num_runs = len(members) * config.num_seeds
    choice = device_choice.for_new(members[0].experiment, config, num_runs)
    run_dir = directory.new_directory(config, name)
    choice.say(console)
    layout = _lay_out(together, options, console) | {"devices": choice.devices}
    swept = {name: as_text(values) for name, values in known.items()}
    saved = {
        "schema": SCHEMA_VERSION,
        "experiment": members[0].experiment.name,
        "versions": directory.versions(),
        **directory.machine(),
        "swept": swept,
        "options": dataclasses.asdict(options),
        "layout": layout,
        "settings": [serialization.encode(member.setting) for member in members],
        "config": serialization.encode(config),
    }
    write_sweep(run_dir / SWEEP_FILE, saved)
    go_on = _how_to_go_on(script, run_dir)
    return _train(Sweep(run_dir, members, together, swept, options.score_episodes, layout, console, go_on))


def resume(
    run_dir: Path,
    config_class: type[RunOptions],
    build: Build,
    console: Console | None = None,
    script: str = "SCRIPT",
) -> list[Score]:
    """Goes on with a sweep from its newest checkpoints; it ends with the bits of one that never stopped."""
    saved = read_sweep(run_dir)
    config = serialization.decode(saved["config"], config_class)
    settings = [serialization.decode(setting) for setting in saved["settings"]]
    members = make_members(config, build, settings)
    swept, layout = saved["swept"], saved["layout"]
    device_choice.for_resumed(config.devices, layout.get("devices", 0))
    go_on = _how_to_go_on(script, run_dir)
    episodes = saved["options"].get("score_episodes", SweepOptions.score_episodes)
    console = console or hosts.console()
    return _train(Sweep(run_dir, members, buckets(members), swept, episodes, layout, console, go_on))


def read_sweep(run_dir: Path, file_name: str = SWEEP_FILE) -> dict[str, Any]:
    """What was written down when a sweep began.

    Raises:
        UserError: there is no such sweep.
    """
    file = run_dir / file_name
    if not os.path.lexists(file):
        raise UserError(f"--resume {run_dir}: {file_name} cannot be read: it does not exist")
    remedy = "put the file back from a copy, or start anew"
    saved = textfiles.read_object(file, textfiles.fields({"schema": textfiles.whole_number()}), remedy)
    if saved["schema"] != SCHEMA_VERSION:
        raise UserError(
            f"{file} has format {saved['schema']}, this PureRL reads format {SCHEMA_VERSION}; go on with the "
            "version that wrote it"
        )
    if saved.pop("sha256", None) != serialization.digest(saved):
        textfiles.refuse(file, "it has another content than it was written with", remedy)
    return saved


def write_sweep(file: Path, content: dict[str, Any]) -> None:
    """Write down how a sweep or a population begins, with the SHA-256 of that.

    Raises:
        UserError: the directory is another one's already.
    """
    plain = files.plain(content)
    directory.write_new(file, plain | {"sha256": serialization.digest(plain)})


def _lay_out(found: Sequence[list[Member]], options: SweepOptions, console: Console) -> dict[str, Any]:
    """Measures the first bucket; the others are taken to be like it, but for the memory that they need."""
    first = found[0]
    num_devices = first[0].experiment.num_devices
    num_seeds = first[0].config.num_seeds
    sentence = (
        f"{sum(map(len, found))} members x {num_seeds} seeds in {len(found)} program{'s' * (len(found) > 1)}"
    )
    printing.say(console, f"sweep: {sentence}; measuring how many to run side by side ...")
    with interruptible(partial(printing.say, console, style="yellow")):
        width = measure_width(first[0], first, num_devices, options.width)
    sizes = [members_in_memory(width, len(bucket), num_seeds, options.group_size) for bucket in found]
    if first[0].config.shard == "seeds":  # a group is filled up, so that every device has as many runs
        count = len(placement.devices())
        sizes = [-(-size // count) * count for size in sizes]
    printing.say(console, f"sweep: {_say(width)}; {max(sizes)} members in memory together")
    return {
        "num_devices": num_devices,
        "width": width.width,
        "seconds_of_an_update_by_width": width.seconds,
        "group_sizes": sizes,
    }


def _say(width: Width) -> str:
    times = ", ".join(f"{count}: {1e3 * seconds:.3g} ms" for count, seconds in width.seconds.items())
    measured = f" (an update of a run, by how many are side by side: {times})" if times else ""
    return f"{width.width} side by side{measured}"


def _train(sweep: Sweep) -> list[Score]:
    with lock.held(sweep.run_dir):
        return _train_alone(sweep)


def _train_alone(sweep: Sweep) -> list[Score]:
    number = 0
    for bucket, size in zip(sweep.buckets, sweep.layout["group_sizes"], strict=True):
        program = None
        for start in range(0, len(bucket), size):
            group = bucket[start : start + size]
            number += 1
            if all((member_dir(sweep.run_dir, member) / directory.SUMMARY_FILE).exists() for member in group):
                continue
            # The last group is filled up, so that one program does for all.
            padded = rows(group + [group[-1]] * (size - len(group)), bucket)
            program = program or _compile(sweep, group[0], padded)
            train_group(_group(sweep, group, padded, number), program)
    return results.write_results(
        sweep.run_dir,
        sweep.members,
        [member_dir(sweep.run_dir, member) for member in sweep.members],
        list(sweep.swept),
        sweep.console,
    )


def _compile(sweep: Sweep, member: Member, padded: Members) -> Program:
    printing.say(sweep.console, f"{member.experiment.name}: compiling ...")
    last_words = f"stopped; {sweep.how_to_go_on}"
    say = partial(printing.say, sweep.console, style="yellow")
    with interrupt.ended_by("stopping when the program is compiled", last_words, say):
        return member.experiment.build_program(
            total_steps=member.config.total_steps,
            num_devices=sweep.layout["num_devices"],
            shard=member.config.shard,
            width=sweep.layout["width"],
            members=padded,
        )


def _group(sweep: Sweep, group: list[Member], padded: Members, number: int) -> Group:
    sessions = []
    for member in group:
        run_dir = member_dir(sweep.run_dir, member)
        if not (run_dir / directory.CONFIG_FILE).exists():
            run_dir.mkdir(parents=True, exist_ok=True)
            options = dataclasses.replace(member.config, run_dir=run_dir)
            directory.write_config(run_dir, options, member.experiment)
        sessions.append(Session(member.experiment, member.config, run_dir, sweep.console))
    num_groups = sum(
        -(-len(bucket) // size)
        for bucket, size in zip(sweep.buckets, sweep.layout["group_sizes"], strict=True)
    )
    return Group(
        label=f"{group[0].experiment.name}, group {number} of {num_groups}",
        sessions=sessions,
        alike=of_one_world(group),
        score_episodes=sweep.score_episodes,
        rows=padded,
        checkpoints=sweep.run_dir / "groups" / f"{number:04d}",
        identity=[serialization.encode(member.setting) for member in group],
        console=sweep.console,
        how_to_go_on=sweep.how_to_go_on,
    )


def member_dir(run_dir: Path, member: Member) -> Path:
    """The run directory of a member; its name tells it apart from the members of other sweeps."""
    return run_dir / MEMBERS / f"{run_dir.resolve().name}-{member.number:04d}"


def _how_to_go_on(script: str, run_dir: Path) -> str:
    return f"go on with: {printing.command('python', '-m', 'purerl.sweep', script, '--resume', run_dir)}"
