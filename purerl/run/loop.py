"""The host loop over compiled chunks: metrics, checkpoints, Ctrl-C, NaN.

While the devices run chunk n + 1, the host reads the metrics of chunk n, checks, records and shows them. The
state is donated from chunk to chunk, so a checkpoint is a host copy taken at the border of a chunk, and it
is written only after the metrics of that chunk have been found finite.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from purerl.functional.metrics import Packed, unpack
from purerl.host.errors import TrainingError
from purerl.run import checkpoint
from purerl.types import PyTree, TrainState
from purerl.view.records import Report

# Where several metrics became NaN within one chunk, the loss is named before what follows from it.
_CAUSES = ("loss", "policy_loss", "value_loss", "entropy", "gradient_norm")


class NotFiniteError(TrainingError):
    """A seed became NaN or infinite; the message names the first quantity that did, and the seed.

    Attributes:
        report: of the chunk in which it did, without values of the seeds that failed.
    """

    def __init__(self, message: str, report: Report) -> None:
        super().__init__(message)
        self.report = report


class Hooks(NamedTuple):
    """What the loop calls at the border of each chunk.

    Attributes:
        report: `(Report) -> None`.
        save: `(host_state, chunk) -> None`: writes a checkpoint.
        name_seed: `(position) -> str`: how a seed is called in messages.
        stop: `() -> bool`: whether to end, and to save, after the chunk in hand.
    """

    report: Callable[[Report], None]
    save: Callable[[PyTree, int], None]
    name_seed: Callable[[int], str]
    stop: Callable[[], bool] = lambda: False


class Outcome(NamedTuple):
    """How the loop ended.

    Attributes:
        state: after the last chunk, on the devices.
        chunk: chunks done.
    """

    state: TrainState
    chunk: int


class _Pending(NamedTuple):
    chunk: int
    metrics: Packed
    host_state: PyTree | None


def run(
    run_chunk: Callable[[TrainState], tuple[TrainState, Packed]],
    state: TrainState,
    hooks: Hooks,
    *,
    chunks_done: int,
    num_chunks: int,
    save_every: int,
    failed: tuple[int, ...] = (),
    keep_going_on_nan: bool = False,
    revives: bool = False,
) -> Outcome:
    """Train from the chunk after `chunks_done` to `num_chunks`, or until it is asked to stop.

    Args:
        run_chunk: the compiled program; donates its argument.
        state: where to start; must not be used afterward.
        hooks: what to call at the borders of chunks.
        chunks_done: chunks that `state` has behind it.
        num_chunks: chunks of the whole run.
        save_every: chunks between two checkpoints; the last chunk is always saved.
        failed: seeds already known to be NaN.
        keep_going_on_nan: train the healthy seeds to the end instead of stopping.
        revives: whether a seed that failed may be finite again, because it has copied another one.

    Raises:
        NotFiniteError: a seed became NaN.
        TrainingError: a checkpoint could not be written.
    """
    watch = _Watch(hooks, failed=failed, keep_going=keep_going_on_nan, revives=revives)
    pending: _Pending | None = None
    chunk = chunks_done
    while chunk < num_chunks and not hooks.stop():
        chunk += 1
        state, metrics = run_chunk(state)
        if pending is not None:
            watch.finish(pending)
        due = chunk % save_every == 0 or chunk == num_chunks or hooks.stop()
        # The copy waits for the chunk, so it must be taken before the state is donated to the next one.
        pending = _Pending(chunk, metrics, checkpoint.snapshot(state) if due else None)
    if pending is not None:
        host_state = checkpoint.snapshot(state) if pending.host_state is None else pending.host_state
        watch.finish(pending._replace(host_state=host_state))
    return Outcome(state=state, chunk=chunk)


class _Watch:
    """Reads chunks one after the other; remembers the time and the seeds that have failed."""

    def __init__(
        self, hooks: Hooks, *, failed: tuple[int, ...], keep_going: bool, revives: bool = False
    ) -> None:
        self.hooks = hooks
        self.failed = failed
        self.keep_going = keep_going
        self.revives = revives
        self.previous = time.perf_counter()

    def finish(self, pending: _Pending) -> None:
        totals = unpack(jax.device_get(pending.metrics))
        bad = bad_metrics(totals)
        if pending.host_state is not None:
            bad = bad_leaves(pending.host_state.learner) | bad
            if self.revives:
                self.failed = tuple(seed for seed in self.failed if seed in bad)
        new = {seed: name for seed, name in bad.items() if seed not in self.failed}
        num_seeds = len(next(iter(totals.values())).total)
        is_enough = self._is_enough(new, num_seeds)
        self.failed = tuple(sorted({*self.failed, *new}))
        now = time.perf_counter()
        metrics = means(totals, without=self.failed)
        weights = {name: np.asarray(mean.weight, np.float64) for name, mean in totals.items()}
        report = Report(pending.chunk, metrics, self.failed, now - self.previous, weights)
        if is_enough:
            raise NotFiniteError(self._sentence(new, pending.chunk), report)
        self.hooks.report(report)
        self.previous = now
        if pending.host_state is not None:
            self.hooks.save(pending.host_state, pending.chunk)

    def _is_enough(self, new: dict[int, str], num_seeds: int) -> bool:
        return bool(new) and not (self.keep_going and len(new) + len(self.failed) < num_seeds)

    def _sentence(self, new: dict[int, str], chunk: int) -> str:
        names = [f"{name} of {self.hooks.name_seed(seed)}" for seed, name in sorted(new.items())]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        return f"not finite in chunk {chunk}: {', '.join(names[:3])}{more}"


def means(totals: Mapping[str, Any], without: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Means [S] of each metric as float64; NaN where there is no weight, and for the seeds `without`."""
    found = {}
    for name, mean in totals.items():
        total, weight = np.asarray(mean.total, np.float64), np.asarray(mean.weight, np.float64)
        value = np.divide(total, weight, out=np.full(total.shape, np.nan), where=weight > 0)
        value[list(without)] = np.nan
        found[name] = value
    return found


def bad_metrics(totals: Mapping[str, Any]) -> dict[int, str]:
    """The first metric that is not finite, by seed: losses first, then in alphabetical order."""
    causes = [name for name in _CAUSES if name in totals]
    ordered = causes + sorted(set(totals) - set(causes))
    found: dict[int, str] = {}
    for name in ordered:
        finite = np.isfinite(totals[name].total) & np.isfinite(totals[name].weight)
        for seed in np.flatnonzero(~finite):
            found.setdefault(int(seed), name)
    return found


def bad_leaves(learner: PyTree) -> dict[int, str]:
    """The first array of the learner that is not finite, by seed. Leaves are [S, ...] in host memory."""
    found: dict[int, str] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(learner)[0]:
        if not jax.numpy.issubdtype(leaf.dtype, jax.numpy.inexact):
            continue
        finite = np.isfinite(leaf).reshape(leaf.shape[0], -1).all(axis=1)
        for seed in np.flatnonzero(~finite):
            found.setdefault(int(seed), f"learner{jax.tree_util.keystr(path)}")
    return found
