"""A run directory made again what it was when a checkpoint was written; nothing is lost on the way."""

import os
import shutil
from itertools import count, zip_longest
from pathlib import Path
from typing import Any

from purerl.host import files, printing
from purerl.host.errors import UserError
from purerl.run import checkpoint, directory
from purerl.run.experiment import Session

GROWING = (directory.METRICS_FILE, directory.TIMING_FILE)
"""The files that grow by a line a chunk; each checkpoint keeps a copy of them."""


def prepare(session: Session, saved: checkpoint.Checkpoint | None) -> None:
    """Makes the directory that of a run which has just written this checkpoint, or is about to begin.

    What is damaged is put back from the checkpoint's own copy, and what is of later chunks is put aside where
    an earlier checkpoint was asked for; nothing is lost, and everything is told.
    """
    run_dir = session.run_dir
    for name, belongs in ((directory.SUMMARY_FILE, Path.is_file), (directory.CHECKPOINTS, Path.is_dir)):
        if os.path.lexists(run_dir / name) and not belongs(run_dir / name):
            what = f"something else is in the place of {run_dir / name}"
            printing.warn(session.console, what + _aside(run_dir / name))
    if saved is not None and session.checkpoint != "last":
        _put_later_aside(session, saved)
    put_files_back(session, saved)


def put_files_back(session: Session, saved: checkpoint.Checkpoint | None, prefix: str = "") -> None:
    """Makes the files that grow begin with the checkpoint's copies of them, whose names have a prefix."""
    for name in GROWING:
        kept = saved.text(prefix + name) if saved else b""
        if kept is not None:
            _put_back(session, session.run_dir / name, kept)


def texts(session: Session, chunk: int, prefix: str = "") -> dict[str, bytes]:
    """The lines of the first chunks, as a checkpoint keeps them."""
    found = {}
    for name in GROWING:
        lines = (session.run_dir / name).read_bytes().split(b"\n")[:-1]
        found[prefix + name] = b"".join(line + b"\n" for line in lines[:chunk])
    return found


def summary_of(session: Session) -> dict[str, Any] | None:
    """The summary as it was written; None where it is not there or damaged, which is told and put aside."""
    file = session.run_dir / directory.SUMMARY_FILE
    if not os.path.lexists(file):
        return None
    try:
        return directory.read_summary(session.run_dir)
    except UserError as error:
        printing.warn(session.console, f"{error} from {directory.METRICS_FILE}{_aside(file)}")
        return None


def _put_back(session: Session, file: Path, kept: bytes) -> None:
    present = file.read_bytes() if file.is_file() else None
    if present is None and not os.path.lexists(file) and not kept:
        return
    if present is not None and present.startswith(kept):
        return
    what = f"{file} is lost"
    if present is not None:
        pairs = zip_longest(present.split(b"\n"), kept.split(b"\n"))
        line = next(at for at, (one, other) in enumerate(pairs, start=1) if one != other)
        what = f"{file}, line {line}, is not what was written"
    kept_as = _aside(file) if os.path.lexists(file) else ""
    files.write_bytes(file, kept)
    num_lines = kept.count(b"\n")
    printing.warn(
        session.console, f"{what}; its {num_lines} lines were put back from the checkpoint{kept_as}"
    )


def _aside(path: Path) -> str:
    return f"; what was there is now {files.set_aside(path).name}"


def _put_later_aside(session: Session, saved: checkpoint.Checkpoint) -> None:
    run_dir = session.run_dir
    later = checkpoint.later_than(run_dir / directory.CHECKPOINTS, saved.chunk)
    aside = _new_folder(run_dir / f"after-{saved.path.name}")
    for name in GROWING:
        if (run_dir / name).is_file():
            shutil.copyfile(run_dir / name, aside / name)
    for (
        path
    ) in later:  # the newest first: killed in between, what is left is an earlier state of the same run
        path.rename(aside / path.name)
    if (run_dir / directory.SUMMARY_FILE).is_file():
        (run_dir / directory.SUMMARY_FILE).rename(aside / directory.SUMMARY_FILE)
    after = f"what came after it ({len(later)} checkpoints) is now in {aside}"
    printing.say(session.console, f"going on from chunk {saved.chunk}; {after}")


def _new_folder(path: Path) -> Path:
    for number in count(1):
        folder = path.with_name(f"{path.name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise AssertionError("there is always another number")
