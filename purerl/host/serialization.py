"""Configurations as JSON and back, exactly: floats, infinities, tuples, paths and arrays included.

What JSON has no word for is written as an object with one `$` key, so that the file explains itself:
`{"$float": "inf"}`, `{"$tuple": [...]}`, `{"$path": "..."}`, `{"$array": [...], "dtype": ..., "shape": ...}`.
"""

import contextlib
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

from purerl.host.errors import UserError

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
        return _checked(_decode_items(saved, hint, where), hint, where)
    _check_scalar(saved, hint, where)
    return _checked(saved, hint, where)


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
    if any(key.startswith("$") for key in saved):
        return _checked(_decode_special(saved, hint, where), hint, where)
    config_class = _dataclass_for(saved, hint)
    if config_class is None:
        return _checked(
            {key: decode(item, Any, _join(where, key)) for key, item in saved.items()}, hint, where
        )
    return _decode_dataclass(saved, config_class, where)


def _decode_special(saved: dict[str, Json], hint: Any, where: str) -> Any:
    """What JSON has no word for.

    Raises:
        UserError: it is not what `encode` writes.
    """
    match saved:
        case {"$float": "inf" | "-inf" | "nan" as text} if len(saved) == 1:
            return float(text)
        case {"$tuple": list(items)} if len(saved) == 1:
            return tuple(_decode_items(items, _tuple_in(hint), where))
        case {"$path": str(text)} if len(saved) == 1 and "\0" not in text:
            return Path(text)
        case {"$array": list(items), "dtype": str(dtype), "shape": list(shape)} if len(saved) == 3:
            with contextlib.suppress(TypeError, ValueError, OverflowError, AttributeError):
                values = [decode(item, Any, where) for item in items]
                array = np.array(values, dtype=jax.numpy.dtype(dtype)).reshape(shape)
                if encode(array) == saved:
                    return array
    shown = json.dumps(saved)
    raise UserError(f"the saved configuration has {where} = {shown[:60]}, which is not what was written")


def _tuple_in(hint: Any) -> Any:
    """Of several types in a union, the tuple."""
    return next((kind for kind in _alternatives(hint) if typing.get_origin(kind) is tuple), hint)


def _checked(value: Any, hint: Any, where: str) -> Any:
    if not fits(value, hint):
        wanted = getattr(hint, "__name__", str(hint)) if typing.get_origin(hint) is None else str(hint)
        raise UserError(f"the saved configuration has {where} = {value!r}; it must be of type {wanted}")
    return value


def fits(value: Any, hint: Any) -> bool:  # noqa: PLR0911  a case each
    """Whether a value is of the type that an annotation names; where it names none that is known, it is."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return fits(value, inner[0])
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, kind) for kind in inner)
    if origin is typing.Literal:
        return any(type(value) is type(choice) and value == choice for choice in inner)
    if hint is None or hint is type(None):
        return value is None
    if hint in _SCALARS:
        accepted = isinstance(value, (*_SCALARS[hint][0], np.ndarray))
        return accepted and not (isinstance(value, bool) and hint is not bool)
    if origin is tuple:
        kinds = (inner[0],) * len(value) if isinstance(value, tuple) and Ellipsis in inner else inner
        return isinstance(value, tuple) and len(value) == len(kinds) and all(map(fits, value, kinds))
    if origin in (list, dict):
        return isinstance(value, origin)
    if isinstance(hint, type) and issubclass(hint, PurePath):
        return isinstance(value, PurePath)
    return isinstance(value, hint) if dataclasses.is_dataclass(hint) and isinstance(hint, type) else True


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
    members = dataclasses.fields(config_class)  # type: ignore[arg-type]
    return config_class(**{each.name: _decode_field(saved, each, hints, where) for each in members})


def _decode_field(
    saved: dict[str, Json], field: dataclasses.Field[Any], hints: dict[str, Any], where: str
) -> Any:
    """The value of a field. One that is its default may be of another type than its annotation says."""
    value, where = saved[field.name], _join(where, field.name)
    try:
        return decode(value, hints[field.name], where)
    except UserError:
        with contextlib.suppress(TypeError):
            if json.dumps(encode(field.default)) == json.dumps(value):
                return field.default
        raise


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
