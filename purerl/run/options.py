"""Dataclasses as command-line options: the docstring of a field is the help of its option."""

import ast
import dataclasses
import inspect
import itertools
import textwrap
import typing
from typing import Annotated, Any

import tyro

registry = tyro.constructors.ConstructorRegistry()
"""Hand it to `tyro.cli`."""


@registry.struct_rule
def _dataclass(info: tyro.constructors.StructTypeInfo) -> tyro.constructors.StructConstructorSpec | None:
    if not dataclasses.is_dataclass(info.type):
        return None
    hints, documented = typing.get_type_hints(info.type, include_extras=True), docstrings(info.type)
    fields = [
        tyro.constructors.StructFieldSpec(
            name=field.name,
            type=Annotated[hints[field.name], tyro.conf.arg(help_behavior_hint=_default)],  # type: ignore[arg-type]
            default=_default_of(field, info.default),
            helptext=documented.get(field.name),
        )
        for field in dataclasses.fields(info.type)
    ]
    return tyro.constructors.StructConstructorSpec(instantiate=info.type, fields=tuple(fields))


def docstrings(config_class: type) -> dict[str, str]:
    """What stands below each field of a dataclass and of its bases, with line breaks as blanks.

    Fields of a class without source, such as one that was typed into a prompt, have none.
    """
    found: dict[str, str] = {}
    for base in reversed(config_class.__mro__):
        try:
            source = inspect.getsource(base) if dataclasses.is_dataclass(base) else "class _: ..."
        except (OSError, TypeError):
            continue
        body = ast.parse(textwrap.dedent(source)).body[0].body  # type: ignore[attr-defined]
        for field, below in itertools.pairwise(body):
            text = _text(below)
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and text:
                found[field.target.id] = " ".join(text.split())
    return found


def _text(statement: ast.stmt) -> str | None:
    is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return statement.value.value if is_text and isinstance(statement.value.value, str) else None  # type: ignore[attr-defined]


def _default_of(field: dataclasses.Field[Any], parent: Any) -> Any:
    if hasattr(parent, field.name):
        return getattr(parent, field.name)
    if field.default is not dataclasses.MISSING:
        return field.default
    return tyro.MISSING if field.default_factory is dataclasses.MISSING else field.default_factory()


def _default(label: str) -> str:
    """Behind the help of an option; None is no value, and the help says what happens without one."""
    return "" if label == "None" else f"(default: {label})"
