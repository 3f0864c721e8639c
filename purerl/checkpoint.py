"""Checkpoints: the arrays of a state on disk, whole or not there at all.

A checkpoint is a directory `checkpoints/chunk-00000040` with the arrays (orbax) and a manifest, which lists
every leaf with its shape and type and every file with its size and SHA-256. It is written under another
name, flushed to the disk and then renamed, so that a run killed at any moment leaves only whole ones.
"""

import errno
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from purerl import files, hosts, serialization
from purerl.errors import TrainingError, UserError, one_line
from purerl.types import PyTree

SCHEMA_VERSION = 1
_MANIFEST = "manifest.json"
_ARRAYS = "arrays"
_PREFIX = "chunk-"
_UNFINISHED = ".writing-"
_BYTES_PER_LEAF = 1024
_BYTES_PER_CHECKPOINT = 65536


class Checkpoint(NamedTuple):
    """A whole checkpoint: where it lies and what its manifest says."""

    path: Path
    manifest: dict[str, Any]

    @property
    def chunk(self) -> int:
        """Chunks of the run that were done when it was written."""
        return int(self.manifest["chunk"])


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
) -> Path:
    """Write a checkpoint, then delete all but the `keep` newest ones.

    Args:
        directory: the `checkpoints` directory of a run.
        host_state: what `snapshot` returned.
        architecture: `describe` of the state that the snapshot was taken from.
        chunk: chunks done.
        config: encoded configuration of the run.
        keep: how many checkpoints stay.

    Raises:
        TrainingError: the disk is full or not writable; earlier checkpoints are untouched.
    """
    target = directory / f"{_PREFIX}{chunk:08d}"
    unfinished = directory / f"{_UNFINISHED}{target.name}"
    try:
        for leftover in directory.glob(f"{_UNFINISHED}*"):
            files.remove(leftover)
        unfinished.mkdir(parents=True)
        # Orbax fails on a full disk with pages of tracebacks from its threads: ask before it begins.
        files.reserve(unfinished, _largest_size(host_state))
        _write_arrays(unfinished / _ARRAYS, host_state)
        manifest = _manifest(unfinished, architecture=architecture, chunk=chunk, config=config)
        (unfinished / _MANIFEST).write_text(json.dumps(manifest, indent=1))
        files.flush_tree(unfinished)
        files.remove(target)
        unfinished.rename(target)
        files.flush(directory)
    except (OSError, ValueError) as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise TrainingError(_cannot_save(directory, target, error)) from error
    for old in _names(directory)[keep:]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def latest(directory: Path, warn: Callable[[str], None]) -> Checkpoint | None:
    """The newest whole checkpoint, or None; each damaged or unfinished one is named to `warn`."""
    for leftover in sorted(directory.glob(f"{_UNFINISHED}*")):
        warn(f"skipped the half-written checkpoint {leftover.name.removeprefix(_UNFINISHED)}")
    for path in _names(directory):
        damage = _damage(path)
        if damage is None:
            return Checkpoint(path=path, manifest=json.loads((path / _MANIFEST).read_text()))
        warn(f"skipped the damaged checkpoint {path.name}: {damage}")
    return None


def restore(checkpoint: Checkpoint, expected: PyTree) -> PyTree:
    """The saved state, placed on the devices as `expected` says.

    Args:
        checkpoint: what `latest` found.
        expected: tree of `jax.ShapeDtypeStruct`, with shardings where placement matters.

    Raises:
        UserError: the checkpoint has another architecture or version; the message says where.
    """
    _check_version(checkpoint)
    _check_architecture(checkpoint, describe(expected))
    leaves, structure = jax.tree.flatten(expected)
    saved = _read_arrays(checkpoint.path / _ARRAYS, leaves)
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


def _manifest(path: Path, *, architecture: list[dict[str, Any]], chunk: int, config: Any) -> dict[str, Any]:
    return {
        "schema": SCHEMA_VERSION,
        "chunk": chunk,
        "config": config,
        "config_sha256": serialization.digest(config),
        "leaves": architecture,
        "files": {str(file.relative_to(path)): _fingerprint(file) for file in _files(path)},
    }


def _fingerprint(file: Path) -> dict[str, Any]:
    with file.open("rb") as stream:
        return {"bytes": file.stat().st_size, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


def _damage(path: Path) -> str | None:
    """What is wrong with the checkpoint at `path`; None where it is whole."""
    try:
        manifest = json.loads((path / _MANIFEST).read_text())
        fingerprints: dict[str, Any] = manifest["files"]
        manifest["schema"], manifest["chunk"], manifest["leaves"], manifest["config"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{_MANIFEST} cannot be read ({one_line(error) or type(error).__name__})"
    for name, fingerprint in fingerprints.items():
        file = path / name
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != fingerprint["bytes"]:
            return f"{name} has {file.stat().st_size} bytes instead of {fingerprint['bytes']}"
        if _fingerprint(file) != fingerprint:
            return f"{name} has another content than it was written with"
    return None


def _check_version(checkpoint: Checkpoint) -> None:
    found = checkpoint.manifest["schema"]
    if found != SCHEMA_VERSION:
        raise UserError(
            f"{checkpoint.path} has checkpoint format {found}, this PureRL reads format {SCHEMA_VERSION}; "
            "go on with the version that wrote it"
        )


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
    return sorted(directory.glob(f"{_PREFIX}*"), reverse=True)


def _files(path: Path) -> Iterator[Path]:
    return (file for file in sorted(path.rglob("*")) if file.is_file())


def _cannot_save(directory: Path, target: Path, error: Exception) -> str:
    good = next((path for path in _names(directory) if path != target and _damage(path) is None), None)
    kept = f"the last good checkpoint is {good}" if good else "there is no earlier checkpoint"
    full = os.strerror(errno.ENOSPC)
    reason = full if full in str(error) else one_line(error)[:200]
    return f"cannot write the checkpoint {target.name}: {reason}; {kept}"
