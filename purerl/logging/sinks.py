"""Services that follow a run: Weights & Biases, TensorBoard, or none. All take the same two calls."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from purerl.errors import UserError


class Sink(NamedTuple):
    """Where numbers go besides the run directory.

    Attributes:
        write: `(env_steps, {name: value})`.
        close: flushes and ends.
    """

    write: Callable[[int, Mapping[str, float]], None]
    close: Callable[[], None]


def open_sink(kind: str, run_dir: Path, config: dict[str, Any], env_steps: int) -> Sink:
    """The sink called `kind`: "none", "wandb" or "tensorboard".

    Args:
        kind: which one.
        run_dir: the run directory; its name becomes the name of the run.
        config: encoded configuration, shown by the service.
        env_steps: steps already done, where a run is resumed.
    """
    if kind == "wandb":
        return _wandb(run_dir, config)
    if kind == "tensorboard":
        return _tensorboard(run_dir, env_steps)
    return Sink(write=lambda env_steps, values: None, close=lambda: None)


def _wandb(run_dir: Path, config: dict[str, Any]) -> Sink:
    try:
        import wandb  # noqa: PLC0415  slow, and wanted only here
    except ImportError as error:
        raise UserError("--track wandb needs the package wandb: pip install wandb") from error

    has_key = bool(os.environ.get("WANDB_API_KEY")) or (Path.home() / ".netrc").exists()
    name = run_dir.resolve().name
    run = wandb.init(
        project="purerl",
        id=name,
        name=name,
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
