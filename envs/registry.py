"""Any environment by its name: ours, gymnax's and Brax's, in a form that networks read."""

import dataclasses
import difflib
from typing import Any

from envs import ENVIRONMENTS, named
from envs.encoded import encoded
from purerl.contracts import check_actions


def make_environment(name: str) -> tuple[Any, Any]:
    """An environment and its default parameters, its observations such as networks read.

    Args:
        name: one of PureRL's ("Bikkle-v0", "Maze-v0"), of Brax ("brax/ant"; "brax/ant/mjx" on MuJoCo)
            or of gymnax ("CartPole-v1", "Breakout-MinAtar"); these two are imported only then.

    Raises:
        ValueError: one line, where there is none of that name, it cannot be made on this machine, or it
            offers observations or actions that are not handled.
    """
    env, params = _find(name)
    check_actions(name, env.action_space(params))
    return encoded(env, params), params


def _find(name: str) -> tuple[Any, Any]:
    if name in ENVIRONMENTS:
        env = named(ENVIRONMENTS[name].environment)()
        return env, env.default_params
    if name.startswith("brax/"):
        return _make_brax(name)
    import gymnax  # noqa: PLC0415  takes seconds

    if name not in gymnax.registered_envs:
        known = [*ENVIRONMENTS, *gymnax.registered_envs]
        close = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known
        raise ValueError(f"there is no environment {name!r}; try {' or '.join(close)}")
    try:
        return gymnax.make(name)
    except (OSError, ImportError) as error:  # some load files from elsewhere, or need more packages
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise ValueError(f"{name} cannot be made on this machine: {reason}") from error


def _make_brax(name: str) -> tuple[Any, Any]:
    try:
        from envs.brax_adapter import make  # noqa: PLC0415  optional, and takes seconds
    except ImportError as error:
        raise ValueError(f"{name} needs Brax, which is not installed; pip install brax") from error
    env = make(name)
    return env, env.default_params


def with_numbers(env: Any, params: Any, numbers: dict[str, float]) -> Any:
    """Parameters with some of their numbers replaced, each in the type that it has.

    Raises:
        ValueError: one line, where there is no number of that name, or the environment refuses one.
    """
    known = {
        field.name: getattr(params, field.name)
        for field in dataclasses.fields(params)
        if isinstance(getattr(params, field.name), bool | int | float)
    }
    for name in numbers:
        if name not in known:
            raise ValueError(f"{name!r} is no number of {env.name}; there are {', '.join(known)}")
    params = params.replace(**{name: type(known[name])(number) for name, number in numbers.items()})
    if hasattr(env, "check"):
        env.check(params)
    return params


def short_name(name: str) -> str:
    """A name that can be part of the name of a directory."""
    return name.lower().replace("/", "-")
