"""Environments of PureRL: the author contract of gymnax, without gymnax's import time."""

import importlib
from typing import Any, NamedTuple


class Registered(NamedTuple):
    """Where an environment is found by those who ask for it by name; nothing is imported before.

    Attributes:
        environment: "module:class".
        frame: "module:function", `(state, params) -> uint8 [H, W, 3]`; None where there are no pictures.
    """

    environment: str
    frame: str | None = None


ENVIRONMENTS = {
    "Bikkle-v0": Registered("envs.bikkle:Bikkle", "envs.bikkle.render:frame"),
    "BikkleFlat-v0": Registered("envs.bikkle:BikkleFlat", "envs.bikkle.render:frame"),
    "BikkleImage-v0": Registered("envs.bikkle:BikkleImage", "envs.bikkle.render:frame"),
    "Maze-v0": Registered("envs.maze:Maze", "envs.maze.render:frame"),
    "MazePatch-v0": Registered("envs.maze:MazePatch", "envs.maze.render:frame"),
    "MemoryChain": Registered("envs.memory:MemoryChain"),
    "RepeatFirst": Registered("envs.memory:RepeatFirst"),
    "RepeatPrevious": Registered("envs.memory:RepeatPrevious"),
    "StatelessCartPole": Registered("envs.memory:StatelessCartPole"),
}


def named(path: str | None) -> Any:
    """What "module:name" stands for; None for None."""
    if path is None:
        return None
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def register_gymnax() -> None:
    """Makes `gymnax.make("Bikkle-v0", **fields of Bikkle)` work, and so for each of `ENVIRONMENTS`.

    Imports gymnax, and may be called again.
    """
    # gymnax pulls in plotting libraries and takes seconds to import.
    from envs.gymnax_adapter import register  # noqa: PLC0415

    for name, registered in ENVIRONMENTS.items():
        register(name, registered)


def register_gymnasium() -> None:
    """Makes `gymnasium.make("purerl/Bikkle-v0", params=..., **fields of Bikkle)` and `make_vec` work.

    Imports gymnasium, and may be called again.
    """
    import gymnasium  # noqa: PLC0415  slow, and wanted only here

    for name, registered in ENVIRONMENTS.items():
        if f"purerl/{name}" not in gymnasium.registry:
            gymnasium.register(
                id=f"purerl/{name}",
                entry_point="envs.gymnasium_adapter:make",
                vector_entry_point="envs.gymnasium_adapter:make_vec",
                kwargs=registered._asdict(),
            )
