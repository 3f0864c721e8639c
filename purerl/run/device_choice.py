"""On how many of the devices a run, a sweep or a population works: as told, or as many as pay here and now.

What is drawn depends on the parts that environments are cut into, which have nothing to do with this choice.
It changes rounding, so it is written down, and whoever goes on with a run keeps it.
"""

import json
from pathlib import Path
from typing import NamedTuple

import jax
from rich.console import Console

from purerl.compile import cores, placement
from purerl.compile.platforms import on_cpu
from purerl.host import printing
from purerl.host.errors import UserError
from purerl.run.directory import CONFIG_FILE
from purerl.run.experiment import Experiment, RunOptions


class Choice(NamedTuple):
    """How many devices were chosen, and the sentence that says why; an empty one where that is plain."""

    devices: int
    sentence: str = ""

    def say(self, console: Console) -> None:
        """Prints the sentence, if there is one."""
        if self.sentence:
            printing.say(console, self.sentence)


def for_new(experiment: Experiment, options: RunOptions, num_runs: int) -> Choice:
    """Chooses for what begins, and has programs run on as many from now on.

    Args:
        experiment: one that is going to be trained.
        options: its options.
        num_runs: seeds, of all members.

    Raises:
        UserError: there are fewer devices than are asked for.
    """
    check(options.devices)
    if options.devices:
        count, reason = options.devices, "as --devices says"
    else:
        count, reason = _chosen(experiment, options, num_runs)
    there_are = len(jax.devices())
    placement.use(count if count < there_are else 0)
    told = there_are > 1 and reason
    return Choice(count, f"using {count} of {there_are} devices, {reason}" if told else "")


def for_resumed(wanted: int, before: int) -> None:
    """Chooses for what goes on: as many as are asked for, else as many as before, as far as there are any.

    Raises:
        UserError: there are fewer devices than are asked for.
    """
    check(wanted)
    placement.use(wanted or min(before, len(jax.devices())))


def of_run(run_dir: Path) -> int:
    """How many devices a run was begun on; 0 where that was not written down."""
    return json.loads((run_dir / CONFIG_FILE).read_text()).get("devices_used", 0)


def check(wanted: int) -> None:
    """Refuses more devices than there are, and a choice where several processes share a run.

    Raises:
        UserError: says what would be right.
    """
    there_are = len(jax.devices())
    if wanted and jax.process_count() > 1:
        raise UserError(f"--devices {wanted}: several processes use all of their devices; leave it out")
    if wanted > there_are:
        more = "; cores are devices as far as affinity and quota allow" if on_cpu() else ""
        raise UserError(f"--devices {wanted}: there {'is' if there_are == 1 else 'are'} {there_are}{more}")


def _chosen(experiment: Experiment, options: RunOptions, num_runs: int) -> tuple[int, str]:
    there_are = len(jax.devices())
    if not on_cpu() or there_are == 1 or jax.process_count() > 1:
        return there_are, ""
    shard = placement.choose_shard(options.shard, experiment.num_devices, num_runs)
    num_parts = experiment.num_devices if shard == "environments" else num_runs
    usable, busy = cores.count(), cores.busy()
    taken = cores.taken(busy, cores.visible_count(), usable)
    if not taken:
        return there_are, f"one a core; other processes keep {busy:.1f} of {usable} cores busy"
    count = cores.worthwhile(num_parts, there_are, usable, taken)
    if count == 1 and num_parts == 1:
        return there_are, ""
    return count, (
        f"because other processes keep {busy:.1f} of {usable} cores busy and devices wait for the slowest; "
        f"--devices {there_are} takes all"
    )
