"""Whether an environment keeps the author contract, asked before anything is compiled."""

from collections.abc import Callable, Mapping
from typing import Any

import jax

from purerl.types import INFO, PyTree

METHODS = ("reset_env", "step_env", "is_truncated", "observation_space", "action_space")


def check_environment(env: Any, params: PyTree) -> None:
    """Traces a reset and a step of one environment, without running them.

    Args:
        env: an environment of the gymnax contract.
        params: its parameters.

    Raises:
        ValueError: one line that says which part of the contract is broken, and how.
    """
    name = getattr(env, "name", type(env).__name__)
    for method in METHODS:
        if not callable(getattr(env, method, None)):
            raise ValueError(f"{name} has no method {method}; see purerl.types.Environment for the contract")
    key, space = jax.random.key(0), env.action_space(params)
    check_actions(name, space)
    started = _trace(name, "reset_env", env.reset_env, key, params)
    _check_count(name, "reset_env", started, ("observation", "state"))
    observation, state = started
    action = jax.ShapeDtypeStruct(space.shape, jax.dtypes.canonicalize_dtype(space.dtype))
    stepped = _trace(name, "step_env", env.step_env, key, state, action, params)
    _check_count(name, "step_env", stepped, ("observation", "state", "reward", "terminated", "info"))
    after, after_state, reward, terminated, info = stepped
    _check_same(name, "observation", observation, after)
    _check_same(name, "state", state, after_state)
    if not isinstance(info, Mapping):
        raise ValueError(f"{name}: info of step_env is a {type(info).__name__}, not a dict")
    if getattr(env, "observe_state", None) is not None:
        again = _trace(name, "observe_state", env.observe_state, state, params)
        _check_same(name, "observation", observation, again, "observe_state")
    truncated = _trace(name, "is_truncated", env.is_truncated, state, params)
    told = {key: info[key] for key in INFO if key in info}
    scalars = {"reward": reward, "terminated": terminated, "is_truncated": truncated} | told
    for part, value in scalars.items():
        shape = getattr(value, "shape", None)
        if shape != ():
            seen = f"of shape {shape}" if shape is not None else f"a {type(value).__name__}"
            raise ValueError(f"{name}: {part} is {seen}; it has to be one number for each environment")


def check_actions(name: str, space: Any) -> None:
    """Raises ValueError, with one line, where a policy cannot choose from a space of actions."""
    kind = type(space).__name__
    is_choice = hasattr(space, "n") and getattr(space, "shape", ()) == ()
    if is_choice and getattr(space, "start", 0):
        raise ValueError(f"{name}: actions that begin at {space.start} are not handled; number them from 0")
    if not is_choice and (hasattr(space, "n") or not hasattr(space, "low")):
        raise ValueError(
            f"{name}: actions of the kind {kind} are not handled; offer one Discrete choice (of all "
            "combinations, where there are few) or one Box of numbers"
        )


def _trace(name: str, method: str, function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return jax.eval_shape(function, *arguments)
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise ValueError(f"{name}: {method} fails with {type(error).__name__}: {first}") from error


def _check_count(name: str, method: str, found: Any, parts: tuple[str, ...]) -> None:
    if not isinstance(found, tuple) or len(found) != len(parts):
        count = f"{len(found)} values" if isinstance(found, tuple) else f"a {type(found).__name__}"
        raise ValueError(f"{name}: {method} returns {count}; it has to return {', '.join(parts)}")


def _check_same(name: str, part: str, before: PyTree, after: PyTree, method: str = "step_env") -> None:
    """Whether what a reset gives can stand in the place of what another method gives."""
    first_form, form = str(jax.tree.structure(before)), str(jax.tree.structure(after))
    if form != first_form:
        raise ValueError(
            f"{name}: the {part} of {method} has another structure than that of reset_env: "
            f"{form}, not {first_form}"
        )
    pairs = zip(jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(after), strict=True)
    for (path, first), then in pairs:
        if (first.shape, first.dtype) != (then.shape, then.dtype):
            where = jax.tree_util.keystr(path)
            raise ValueError(
                f"{name}: the {part}{where} is {_describe(first)} after reset_env and {_describe(then)} "
                f"after {method}; give it one shape and dtype"
            )


def _describe(leaf: Any) -> str:
    return f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"
