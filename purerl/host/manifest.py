"""What a checkpoint says of itself, and whether the files beside it are those that it speaks of."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from purerl.host import serialization, textfiles
from purerl.host.errors import UserError, one_line

SCHEMA_VERSION = 3
FILE = "manifest.json"
PREFIX = "chunk-"
_DIGEST = "sha256"
_FORM = textfiles.fields(
    {
        "schema": textfiles.whole_number(),
        "chunk": textfiles.whole_number(),
        "config": lambda value: None,
        "leaves": lambda value: None,
        "files": textfiles.an_object,
    }
)


class Checkpoint(NamedTuple):
    """A whole checkpoint: where it lies and what its manifest says."""

    path: Path
    manifest: dict[str, Any]

    @property
    def chunk(self) -> int:
        """Chunks of the run that were done when it was written."""
        return int(self.manifest["chunk"])

    @property
    def score(self) -> float | None:
        """The training return that it is compared by; None where no episode had ended."""
        return self.manifest.get("score")

    def text(self, name: str) -> bytes | None:
        """The copy of a file of the run that was kept with it; None where there is none."""
        file = self.path / TEXTS / name
        return file.read_bytes() if file.is_file() else None


TEXTS = "texts"
"""Folder of the copies of files of the run."""


def name_of(chunk: int) -> str:
    """The directory of the checkpoint of a chunk."""
    return f"{PREFIX}{chunk:08d}"


def write(
    path: Path, *, architecture: list[dict[str, Any]], chunk: int, config: Any, score: float | None
) -> None:
    """Describe the checkpoint at `path`, all of whose other files are there."""
    content = {
        "schema": SCHEMA_VERSION,
        "chunk": chunk,
        "score": score,
        "config": config,
        "config_sha256": serialization.digest(config),
        "leaves": architecture,
        "files": {str(file.relative_to(path)): _fingerprint(file) for file in _files(path)},
    }
    content[_DIGEST] = serialization.digest(content)
    (path / FILE).write_text(json.dumps(content, indent=1))


def read(path: Path, *, whole: bool = True) -> Checkpoint | str:
    """The checkpoint at `path`, or what is wrong with it.

    Args:
        path: its directory.
        whole: look at the content of every file; otherwise at the manifest alone.

    Raises:
        UserError: it is whole as far as can be told, and of another version.
    """
    try:
        manifest = textfiles.parse((path / FILE).read_bytes())
    except (OSError, ValueError) as error:
        return f"{FILE} cannot be read ({one_line(error)})"
    if (words := _FORM(manifest)) is not None:
        return f"{FILE} must hold {words}"
    digest = manifest.pop(_DIGEST, None)
    if digest is None and manifest["schema"] != SCHEMA_VERSION:
        raise _another_version(path, manifest["schema"])
    if digest != serialization.digest(manifest):
        return f"{FILE} has another content than it was written with"
    if manifest["schema"] != SCHEMA_VERSION:
        raise _another_version(path, manifest["schema"])
    if path.name != name_of(manifest["chunk"]):
        return f"it is of chunk {manifest['chunk']}"
    damage = _damage(path, manifest["files"]) if whole else None
    return Checkpoint(path, manifest) if damage is None else damage


def _damage(path: Path, fingerprints: dict[str, Any]) -> str | None:
    """What is wrong with the files of a checkpoint; None where they are as they were written."""
    try:
        for name, fingerprint in fingerprints.items():
            file = path / name
            if not file.is_file():
                return f"{name} is missing"
            if file.stat().st_size != fingerprint["bytes"]:
                return f"{name} has {file.stat().st_size} bytes instead of {fingerprint['bytes']}"
            if _fingerprint(file) != fingerprint:
                return f"{name} has another content than it was written with"
    except OSError as error:
        return f"it cannot be read ({one_line(error)})"
    return None


def _another_version(path: Path, found: int) -> UserError:
    return UserError(
        f"{path} has checkpoint format {found}, this PureRL reads format {SCHEMA_VERSION}; "
        "go on with the version that wrote it"
    )


def _fingerprint(file: Path) -> dict[str, Any]:
    with file.open("rb") as stream:
        return {"bytes": file.stat().st_size, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


def _files(path: Path) -> Iterator[Path]:
    return (file for file in sorted(path.rglob("*")) if file.is_file())
