"""How many runs to compute side by side: measured, because it depends on the program and the machine."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import jax
import jax.numpy as jnp

from purerl.compile.placement import must_loop
from purerl.compile.program import Members, Program
from purerl.compile.runtime import available_memory
from purerl.host import interrupt
from purerl.host.errors import UserError
from purerl.sweep.settings import Member, rows

_FACTOR = 4
_REPEATS = 5
_WORTH = 0.95
_SHARE_OF_MEMORY = 0.7


def interruptible(say: Callable[[str], None]) -> AbstractContextManager[None]:
    """Where runs are tried; nothing is saved by then, so Ctrl-C says how to begin again."""
    last_words = "stopped before training; run the command again (with --width 1 nothing is measured)"
    return interrupt.ended_by("stopping when this try is over", last_words, say)


class Width(NamedTuple):
    """How runs are laid out.

    Attributes:
        width: runs side by side.
        bytes_of_state: memory of the state of one run.
        bytes_of_work: memory that each run side by side takes besides.
        seconds: measured time of one update of one run, by width.
    """

    width: int
    bytes_of_state: int
    bytes_of_work: int
    seconds: dict[int, float]


def measure_width(member: Member, bucket: Sequence[Member], num_devices: int, chosen: int) -> Width:
    """Tries 1, 4, 16, ... runs side by side, where they may be, and stops where that is no longer faster.

    Args:
        member: whose program is tried.
        bucket: all members that share it.
        num_devices: devices that a run is spread over.
        chosen: the only width to try; 0 for all.

    Raises:
        UserError: where runs may not be side by side, and are asked to.
    """
    alone = must_loop(member.config.shard)
    if alone and chosen > 1:
        raise UserError(f"--shard seeds runs the seeds of a core in turn; leave --width {chosen} out")
    num_rows = len(bucket) * member.config.num_seeds
    widths = [min(chosen, num_rows)] if chosen else [1] if alone else _candidates(num_rows)
    every = rows(bucket, bucket)
    seconds: dict[int, float] = {}
    best = found = None
    for width in widths:
        part = Members(every.seeds[:width], {name: leaf[:width] for name, leaf in every.varied.items()})
        if found is not None and width * sum(found) > _SHARE_OF_MEMORY * (available_memory() or float("inf")):
            break
        program = _one_update(member, part, num_devices, width)
        found = tuple(-(-size // width) for size in program.num_bytes)
        if len(widths) == 1:
            return Width(width, found[0], found[1], seconds)
        seconds[width] = _time_of_update(program) / width
        if best is not None and seconds[width] > _WORTH * seconds[best.width]:
            break
        best = Width(width, found[0], found[1], seconds)
    assert best is not None
    return best


def members_in_memory(width: Width, num_members: int, num_seeds: int, chosen: int) -> int:
    """How many members can be in memory together; groups are made as equal as can be.

    Args:
        width: what was measured.
        num_members: of the sweep, in one program.
        num_seeds: runs of each member.
        chosen: as many as this; 0 for as many as fit.
    """
    largest = chosen or num_members
    memory = available_memory()
    if memory is not None and not chosen:
        free = _SHARE_OF_MEMORY * memory - width.width * width.bytes_of_work
        # A chunk's argument is donated, and a checkpoint is a copy.
        largest = int(free // (2 * width.bytes_of_state * num_seeds))
    largest = min(max(largest, 1), num_members)
    num_groups = -(-num_members // largest)
    return -(-num_members // num_groups)


def _candidates(num_rows: int) -> list[int]:
    widths = [1]
    while widths[-1] * _FACTOR < num_rows:
        widths.append(widths[-1] * _FACTOR)
    return [*widths, num_rows] if num_rows > 1 else widths


def _one_update(member: Member, part: Members, num_devices: int, width: int) -> Program:
    experiment = member.experiment
    return experiment.build_program(
        total_steps=experiment.algorithm.steps_per_update(experiment.algorithm_config),
        num_devices=num_devices,
        shard=member.config.shard,
        target_chunks=1,
        width=width,
        members=part,
    )


def _time_of_update(program: Program) -> float:
    # Nothing else may be asked of the devices while they wait for each other in a chunk.
    state, _ = jax.block_until_ready(program.chunk(jax.block_until_ready(program.init())))
    # Off-policy learners begin to learn after a while: pretend that it has passed.
    late = jnp.full_like(state.num_updates, 2**12)
    late = jax.block_until_ready(jax.device_put(late, state.num_updates.sharding))
    state = dataclasses.replace(state, num_updates=late)
    times = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        state, _ = jax.block_until_ready(program.chunk(state))
        times.append(time.perf_counter() - started)
    return min(times)
