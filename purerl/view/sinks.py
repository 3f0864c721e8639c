"""Services that follow a run: Weights & Biases, TensorBoard, or none. All take the same two calls."""

import os
import re
import secrets
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from purerl.compile import runtime
from purerl.host import files
from purerl.host.errors import UserError, one_line

IDENTIFIER_FILE = "wandb-id"
_LONGEST_NAME = 120


class Sink(NamedTuple):
    """Where numbers go besides the run directory.

    Attributes:
        write: `(env_steps, {name: value})`.
        close: flushes and ends.
    """

    write: Callable[[int, Mapping[str, float]], None]
    close: Callable[[], None]


def open_sink(
    kind: str,
    run_dir: Path,
    config: dict[str, Any],
    env_steps: int,
    warn: Callable[[str], None] | None = None,
) -> Sink:
    """The sink called `kind`: "none", "wandb" or "tensorboard".

    Args:
        kind: which one.
        run_dir: the run directory; its name becomes the name of the run.
        config: encoded configuration, shown by the service.
        env_steps: steps already done, where a run is resumed.
        warn: is told, once, where the service fails: training goes on without it. None: standard error.
    """
    warn = warn or _warn
    if kind == "wandb":
        return _careful("Weights & Biases", lambda: _wandb(run_dir, config), warn)
    if kind == "tensorboard":
        return _careful("TensorBoard", lambda: _tensorboard(run_dir, env_steps), warn)
    return Sink(write=lambda env_steps, values: None, close=lambda: None)


def _warn(sentence: str) -> None:
    print(f"warning: {sentence}", file=sys.stderr)


def _careful(name: str, open_service: Callable[[], Sink], warn: Callable[[str], None]) -> Sink:
    """A service whose first failure is told in one line, and which is left alone from then on.

    A service fails in ways of its own, with exceptions of its own; none of them is worth a run.
    """
    sink: Sink | None = None

    def try_to(work: Callable[[], Any]) -> Any:
        nonlocal sink
        try:
            return work()
        except UserError:
            raise
        except Exception as error:
            sink = None
            warn(f"{name} failed, and training goes on without it: {one_line(error)[:300]}")

    sink = try_to(open_service)
    return Sink(
        write=lambda env_steps, values: sink and try_to(partial(sink.write, env_steps, values)),
        close=lambda: sink and try_to(sink.close),
    )


def _wandb(run_dir: Path, config: dict[str, Any]) -> Sink:
    try:
        import wandb  # noqa: PLC0415  slow, and wanted only here
    except ImportError as error:
        raise UserError("--track wandb needs the package wandb: pip install wandb") from error

    home = runtime.home()
    has_key = bool(os.environ.get("WANDB_API_KEY")) or bool(home and (home / ".netrc").exists())
    run = wandb.init(
        project="purerl",
        id=identifier(run_dir),
        name=run_dir.resolve().name[:_LONGEST_NAME],
        dir=str(run_dir),
        config=config,
        resume="allow" if has_key else None,
        reinit="create_new",  # a sweep follows several runs at once
        mode=None if has_key else "offline",
        settings=wandb.Settings(silent=True, console="off"),
    )
    run.define_metric("*", step_metric="env_steps")
    return Sink(
        write=lambda env_steps, values: run.log({"env_steps": env_steps, **values}),
        close=run.finish,
    )


def identifier(run_dir: Path) -> str:
    """What the service knows the run by: drawn once, kept in the run directory, and so the same when resumed.

    It is not made from the path, which may hold letters that the service refuses, and two may be alike.
    """
    file = run_dir / IDENTIFIER_FILE
    try:
        known = file.read_text().strip()
    except (OSError, ValueError):
        known = ""
    if re.fullmatch(r"[0-9a-f]{16}", known):
        return known
    if os.path.lexists(file):
        files.set_aside(file)
    known = secrets.token_hex(8)
    files.write_bytes(file, f"{known}\n".encode())
    return known


def _tensorboard(run_dir: Path, env_steps: int) -> Sink:
    try:
        from tensorboardX import SummaryWriter  # noqa: PLC0415  slow, and wanted only here
    except ImportError as error:
        raise UserError(
            "--track tensorboard needs the package tensorboardX: pip install tensorboardX"
        ) from error
    writer = SummaryWriter(str(run_dir / "tensorboard"), purge_step=env_steps or None)

    def write(env_steps: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, global_step=env_steps)

    return Sink(write=write, close=writer.close)
