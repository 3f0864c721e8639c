"""Checkpoints: the arrays of a state on disk, whole or not there at all.

A checkpoint is a directory `checkpoints/chunk-00000040` with the arrays (orbax) and a manifest, which lists
every leaf with its shape and type and every file with its size and SHA-256. It is written under another
name, flushed to the disk and then renamed, so that a run killed at any moment leaves only whole ones.
"""

import errno
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from purerl.host import files, hosts, manifest
from purerl.host.errors import TrainingError, UserError, one_line
from purerl.host.manifest import Checkpoint
from purerl.types import PyTree

_ARRAYS = "arrays"
_UNFINISHED = ".writing-"
_BYTES_PER_LEAF = 1024
_BYTES_PER_CHECKPOINT = 65536


def snapshot(state: PyTree) -> PyTree:
    """A copy of the state in host memory that no later donation can touch. Waits for the state.

    Of a state on the devices of several processes each has a copy of all; all must ask for it.
    """

    def copy(leaf: jax.Array) -> np.ndarray:
        is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return np.array(jax.device_get(jax.random.key_data(leaf) if is_key else leaf), copy=True)

    return jax.tree.map(copy, hosts.gathered(state))


def describe(state: PyTree) -> list[dict[str, Any]]:
    """Path, shape, type and kind of random key of each leaf: the architecture of a state."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    return [
        {
            "path": jax.tree_util.keystr(path).lstrip("."),
            "shape": list(leaf.shape),
            "dtype": str(leaf.dtype),
        }
        for path, leaf in leaves
    ]


def save(
    directory: Path,
    host_state: PyTree,
    *,
    architecture: list[dict[str, Any]],
    chunk: int,
    config: Any,
    keep: int,
    keep_best: bool = False,
    score: float | None = None,
    texts: Mapping[str, bytes] | None = None,
) -> Path:
    """Write a checkpoint, then delete all but the `keep` newest ones.

    Args:
        directory: the `checkpoints` directory of a run.
        host_state: what `snapshot` returned.
        architecture: `describe` of the state that the snapshot was taken from.
        chunk: chunks done.
        config: encoded configuration of the run.
        keep: how many checkpoints stay.
        keep_best: whether the one with the highest score stays as well.
        score: of this one; None where there is none yet.
        texts: files of the run, of which it keeps a copy, by name.

    Raises:
        TrainingError: the disk is full or not writable; earlier checkpoints are untouched.
    """
    target = directory / manifest.name_of(chunk)
    unfinished = directory / f"{_UNFINISHED}{target.name}"
    try:
        for leftover in directory.glob(f"{_UNFINISHED}*"):
            files.remove(leftover)
        (unfinished / manifest.TEXTS).mkdir(parents=True)
        # Orbax fails on a full disk with pages of tracebacks from its threads: ask before it begins.
        files.reserve(unfinished, _largest_size(host_state) + sum(map(len, (texts or {}).values())))
        _write_arrays(unfinished / _ARRAYS, host_state)
        for name, text in (texts or {}).items():
            (unfinished / manifest.TEXTS / name).write_bytes(text)
        manifest.write(unfinished, architecture=architecture, chunk=chunk, config=config, score=score)
        files.flush_tree(unfinished)
        files.remove(target)
        unfinished.rename(target)
        files.flush(directory)
    except (OSError, ValueError) as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise TrainingError(_cannot_save(directory, target, error)) from error
    _thin_out(directory, keep, keep_best)
    return target


def _thin_out(directory: Path, keep: int, keep_best: bool) -> None:
    paths = _names(directory)
    best = _best([found for path in paths if (found := _glance(path))]) if keep_best else None
    for old in paths[keep:]:
        if best is None or old != best.path:
            shutil.rmtree(old, ignore_errors=True)


def _glance(path: Path) -> Checkpoint | None:
    """What a manifest says, whatever has become of the files beside it."""
    try:
        found = manifest.read(path, whole=False)
    except UserError:
        return None
    return None if isinstance(found, str) else found


def _best(found: Sequence[Checkpoint]) -> Checkpoint | None:
    """The one with the highest score, the newest of those that have the same; None where none has one."""
    return max(
        (each for each in found if each.score is not None),
        key=lambda each: (each.score, each.chunk),
        default=None,
    )


def latest(directory: Path, warn: Callable[[str], None]) -> Checkpoint | None:
    """The newest whole checkpoint, or None; each damaged or unfinished one is named to `warn`.

    Raises:
        UserError: the newest whole one is of another version.
    """
    return next(_whole(directory, warn), None)


def find(directory: Path, choice: str, warn: Callable[[str], None]) -> Checkpoint | None:
    """The checkpoint that was asked for; None where the last is wanted and there is none.

    Args:
        directory: the `checkpoints` directory of a run.
        choice: "last", "best", or the number of chunks after which it was written.
        warn: is told of each damaged or unfinished one on the way.

    Raises:
        UserError: there is no such one, it is damaged, or of another version.
    """
    if choice == "last":
        return latest(directory, warn)
    if choice == "best":
        best = _best(list(_whole(directory, warn)))
        if best is None:
            raise UserError(
                f"{directory} has no whole checkpoint with a return to compare; {_kept(directory)}"
            )
        return best
    path = directory / manifest.name_of(int(choice))
    if not path.is_dir():
        raise UserError(f"there is no checkpoint of chunk {choice} in {directory}; {_kept(directory)}")
    found = manifest.read(path)
    if isinstance(found, str):
        raise UserError(f"{path} is damaged: {found}; {_kept(directory)}")
    return found


def later_than(directory: Path, chunk: int) -> list[Path]:
    """Checkpoints of later chunks, the newest first."""
    return [path for path in _names(directory) if path.name > manifest.name_of(chunk)]


def _whole(directory: Path, warn: Callable[[str], None]) -> Iterator[Checkpoint]:
    """Whole checkpoints, the newest first."""
    for leftover in sorted(directory.glob(f"{_UNFINISHED}*")):
        warn(f"skipped the half-written checkpoint {leftover.name.removeprefix(_UNFINISHED)}")
    for path in _names(directory):
        found = manifest.read(path)
        if isinstance(found, str):
            warn(f"skipped the damaged checkpoint {path.name}: {found}")
        else:
            yield found


def _kept(directory: Path) -> str:
    chunks = [str(int(path.name.removeprefix(manifest.PREFIX))) for path in reversed(_names(directory))]
    return f"--checkpoint takes last, best or one of {', '.join(chunks)}" if chunks else "there is none yet"


def restore(checkpoint: Checkpoint, expected: PyTree) -> PyTree:
    """The saved state, placed on the devices as `expected` says.

    Args:
        checkpoint: what `latest` found.
        expected: tree of `jax.ShapeDtypeStruct`, with shardings where placement matters.

    Raises:
        UserError: the checkpoint has another architecture, or vanished; the message says where.
    """
    _check_architecture(checkpoint, describe(expected))
    leaves, structure = jax.tree.flatten(expected)
    try:
        saved = _read_arrays(checkpoint.path / _ARRAYS, leaves)
    except (OSError, ValueError, KeyError) as error:
        if checkpoint.path.exists():
            raise
        gone = f"{checkpoint.path} was deleted while it was read: the run goes on beside; try again"
        raise UserError(gone) from error
    return jax.tree.unflatten(structure, [_place(*pair) for pair in zip(saved, leaves, strict=True)])


def _largest_size(host_state: PyTree) -> int:
    leaves = jax.tree.leaves(host_state)
    return sum(leaf.nbytes + _BYTES_PER_LEAF for leaf in leaves) + _BYTES_PER_CHECKPOINT


def _write_arrays(path: Path, host_state: PyTree) -> None:
    arrays = _named(jax.tree.leaves(host_state))
    with _orbax().PyTreeCheckpointer() as checkpointer:
        checkpointer.save(path.absolute(), arrays)


def _read_arrays(path: Path, expected: list[Any]) -> list[np.ndarray]:
    orbax = _orbax()
    as_numpy = jax.tree.map(lambda _: orbax.RestoreArgs(restore_type=np.ndarray), _named(expected))
    with orbax.PyTreeCheckpointer() as checkpointer:
        arrays = checkpointer.restore(path.absolute(), restore_args=as_numpy)
    found = iter(arrays[name] for name in as_numpy)
    return [next(found) if leaf.size else np.zeros(leaf.shape, leaf.dtype) for leaf in expected]


def _named(leaves: list[Any]) -> dict[str, Any]:
    """Leaves by a name that any file system takes. Orbax refuses empty arrays, so they are left out."""
    return {f"{index:06d}": leaf for index, leaf in enumerate(leaves) if leaf.size}


def _orbax() -> Any:
    # Imported late: it takes half a second, which --help and a refused option should not wait for.
    import orbax.checkpoint  # noqa: PLC0415

    logging.getLogger("absl").setLevel(logging.ERROR)
    return orbax.checkpoint


def _place(saved: Any, expected: Any) -> jax.Array:
    is_key = jax.dtypes.issubdtype(expected.dtype, jax.dtypes.prng_key)
    placed = _put(saved, expected.sharding)
    return jax.random.wrap_key_data(placed, impl=_key_implementation(expected)) if is_key else placed


def _put(saved: np.ndarray, sharding: Any) -> jax.Array:
    if sharding is None or sharding.is_fully_addressable:
        # Aliasing would let the program that the state is donated to write into the array read from disk.
        return jax.device_put(saved, sharding, may_alias=False)
    return jax.make_array_from_callback(saved.shape, sharding, lambda part: saved[part].copy())


def _key_implementation(expected: Any) -> Any:
    found = []
    jax.eval_shape(lambda key: found.append(jax.random.key_impl(key)), expected)
    return found[0]


def _check_architecture(checkpoint: Checkpoint, expected: list[dict[str, Any]]) -> None:
    saved_leaves = {leaf["path"]: f"{leaf['dtype']}{leaf['shape']}" for leaf in checkpoint.manifest["leaves"]}
    wanted_leaves = {leaf["path"]: f"{leaf['dtype']}{leaf['shape']}" for leaf in expected}
    found = [
        f"{path}: saved {saved_leaves.get(path, 'nothing')}, expected {wanted_leaves.get(path, 'nothing')}"
        for path in saved_leaves | wanted_leaves
        if saved_leaves.get(path) != wanted_leaves.get(path)
    ]
    if found:
        more = f"; and {len(found) - 4} more" if len(found) > 4 else ""
        raise UserError(f"{checkpoint.path} has another architecture: {'; '.join(found[:4])}{more}")


def _names(directory: Path) -> list[Path]:
    numbered = (path for path in directory.glob(f"{manifest.PREFIX}*") if path.name[6:].isdecimal())
    return sorted(numbered, reverse=True)


def _cannot_save(directory: Path, target: Path, error: Exception) -> str:
    good = next((found for found in _whole(directory, lambda sentence: None) if found.path != target), None)
    kept = f"the last good checkpoint is {good.path}" if good else "there is no earlier checkpoint"
    full = os.strerror(errno.ENOSPC)
    reason = full if full in str(error) else one_line(error)[:200]
    return f"cannot write the checkpoint {target.name}: {reason}; {kept}"
