"""Configurations as JSON and back, exactly: floats, infinities, tuples, paths and arrays included.

What JSON has no word for is written as an object with one `$` key, so that the file explains itself:
`{"$float": "inf"}`, `{"$tuple": [...]}`, `{"$path": "..."}`, `{"$array": [...], "dtype": ..., "shape": ...}`.
"""

import dataclasses
import hashlib
import json
import math
import types
import typing
from pathlib import Path, PurePath
from typing import Any, TypeVar

import jax
import numpy as np

from purerl.errors import UserError

T = TypeVar("T")
Json = Any

_SCALARS: dict[Any, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((float, int), "a number"),
    str: ((str,), "a string"),
}


def encode(value: Any) -> Json:
    """A dataclass, container, array or scalar as what `json.dumps` takes.

    Raises:
        TypeError: the value has no exact JSON form.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, PurePath):
        return {"$path": str(value)}
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        array = np.asarray(value)
        items = [encode(item) for item in array.ravel().tolist()]
        return {"$array": items, "dtype": array.dtype.name, "shape": list(array.shape)}
    return _encode_container(value)


def _encode_container(value: Any) -> Json:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return {"$tuple": [encode(item) for item in value]}
    if isinstance(value, list):
        return [encode(item) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) and key[:1] != "$" for key in value):
        return {key: encode(item) for key, item in value.items()}
    raise TypeError(f"a configuration cannot hold {type(value).__name__}: {value!r}")


def decode(saved: Json, hint: Any = Any, where: str = "") -> Any:
    """The value that `encode` wrote; `hint` is its type annotation, which names the dataclasses.

    Raises:
        UserError: a key is unknown or missing, or a value has another type.
    """
    if isinstance(saved, dict):
        return _decode_object(saved, hint, where)
    if isinstance(saved, list):
        return _decode_items(saved, hint, where)
    _check_scalar(saved, hint, where)
    return saved


def difference(saved: Json, present: Json, where: str = "") -> list[str]:
    """The places in which two encoded configurations differ, one sentence each."""
    if isinstance(saved, dict) and isinstance(present, dict):
        keys = [*saved, *(key for key in present if key not in saved)]
        absent = object()
        pairs = ((key, saved.get(key, absent), present.get(key, absent)) for key in keys)
        found = []
        for key, old, new in pairs:
            place = f"{where}.{key}" if where else key
            if old is absent or new is absent:
                found.append(f"{place} is only in the {'new' if old is absent else 'saved'} one")
            else:
                found.extend(difference(old, new, place))
        return found
    return [] if saved == present else [f"{where}: saved {json.dumps(saved)}, now {json.dumps(present)}"]


def digest(encoded: Json) -> str:
    """SHA-256 of an encoded configuration, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(encoded, sort_keys=True).encode()).hexdigest()


def _decode_object(saved: dict[str, Json], hint: Any, where: str) -> Any:
    if "$float" in saved:
        return float(saved["$float"])
    if "$tuple" in saved:
        return tuple(_decode_items(saved["$tuple"], hint, where))
    if "$path" in saved:
        return Path(saved["$path"])
    if "$array" in saved:
        items = [decode(item) for item in saved["$array"]]
        return np.array(items, dtype=jax.numpy.dtype(saved["dtype"])).reshape(saved["shape"])
    config_class = _dataclass_for(saved, hint)
    if config_class is None:
        return {key: decode(item, Any, _join(where, key)) for key, item in saved.items()}
    return _decode_dataclass(saved, config_class, where)


def _decode_items(saved: list[Json], hint: Any, where: str) -> list[Any]:
    inner = typing.get_args(hint)
    hints = (
        inner
        if len(inner) == len(saved) and Ellipsis not in inner
        else (inner[0] if inner else Any,) * len(saved)
    )
    pairs = enumerate(zip(saved, hints, strict=True))
    return [decode(item, item_hint, f"{where}[{index}]") for index, (item, item_hint) in pairs]


def _decode_dataclass(saved: dict[str, Json], config_class: type[T], where: str) -> T:
    names = [field.name for field in dataclasses.fields(config_class)]  # type: ignore[arg-type]
    unknown = [_join(where, key) for key in saved if key not in names]
    missing = [_join(where, name) for name in names if name not in saved]
    if unknown or missing:
        parts = [f"unknown {', '.join(unknown)}"] * bool(unknown)
        parts += [f"missing {', '.join(missing)}"] * bool(missing)
        raise UserError(f"the saved configuration does not fit {config_class.__name__}: {'; '.join(parts)}")
    hints = typing.get_type_hints(config_class)
    return config_class(**{name: decode(saved[name], hints[name], _join(where, name)) for name in names})


def _dataclass_for(saved: dict[str, Json], hint: Any) -> Any:
    """The dataclass that a hint names; of several in a union, the one with these fields."""
    candidates = [kind for kind in _alternatives(hint) if dataclasses.is_dataclass(kind)]
    for kind in candidates:
        if {field.name for field in dataclasses.fields(kind)} == set(saved):
            return kind
    return candidates[0] if candidates else None


def _alternatives(hint: Any) -> tuple[Any, ...]:
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return typing.get_args(hint) if is_union else (hint,)


def _check_scalar(value: Any, hint: Any, where: str) -> None:
    choices = typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()
    if choices and value not in choices:
        raise UserError(f"the saved configuration has {where} = {value!r}; it must be one of {choices}")
    if dataclasses.is_dataclass(hint):
        raise UserError(f"the saved configuration has {where} = {value!r}; it must be an object")
    if hint in _SCALARS:
        accepted, wanted = _SCALARS[hint]
        if not isinstance(value, accepted) or (isinstance(value, bool) and hint is not bool):
            raise UserError(f"the saved configuration has {where} = {value!r}; it must be {wanted}")


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
