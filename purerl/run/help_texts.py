"""What `--help` says of an option: the docstring of its field, its range, and its default."""

import ast
import dataclasses
import inspect
import itertools
import shutil
import sys
import textwrap
import typing
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro

from purerl.ranges import Range, ranges_of
from purerl.run.mistakes import default_of, stripped

registry = tyro.constructors.ConstructorRegistry()
"""Hand it to `tyro.cli`."""
ASKED = {"-h", "--help"}
_LONGEST_KEPT = 40
"""Letters of range and default that stay together in a line of the help."""


@registry.struct_rule
def _dataclass(info: tyro.constructors.StructTypeInfo) -> tyro.constructors.StructConstructorSpec | None:
    if not dataclasses.is_dataclass(info.type):
        return None
    hints, documented = typing.get_type_hints(info.type, include_extras=True), docstrings(info.type)
    ranges = ranges_of(info.type)
    fields = [
        tyro.constructors.StructFieldSpec(
            name=field.name,
            type=Annotated[  # type: ignore[arg-type]
                hints[field.name],
                tyro.conf.arg(
                    help_behavior_hint=partial(_range_and_default, ranges.get(field.name, Range())),
                    metavar=_metavar(hints[field.name]),
                ),
            ],
            default=default_of(field, info.default),
            helptext=documented.get(field.name),
        )
        for field in dataclasses.fields(info.type)
    ]
    return tyro.constructors.StructConstructorSpec(instantiate=info.type, fields=tuple(fields))


def _range_and_default(allowed: Range, default: str) -> str:
    """Behind the help of an option: "(at least 1; default: 512)".

    None is no value, and the help says what happens without one.
    """
    said = [allowed.words(), "" if default in ("None", "") else f"default: {default}"]
    text = "; ".join(filter(None, said))
    kept = text.replace(" ", "\N{NO-BREAK SPACE}") if len(text) < _LONGEST_KEPT else text
    return f"({kept})" if text else ""


def _metavar(hint: Any) -> str | None:
    """What stands for the values of an option that may be None or takes several; None: as tyro has it."""
    if any(getattr(marker, "metavar", None) for marker in getattr(hint, "__metadata__", ())):
        return None
    parts = [stripped(part) for part in typing.get_args(stripped(hint))]
    names = [_name(part) for part in parts if part is not type(None)]
    if typing.get_origin(stripped(hint)) is dict:
        return f"{' '.join(map(str, names))} ..."
    if type(None) in parts:
        return f"{names[0]}|None" if len(names) == 1 and names[0] else None
    return _name(stripped(hint)) if Ellipsis in parts else None


def _name(hint: Any) -> str | None:
    """ "INT", "FLOAT FLOAT", "INT ..."; None for what is one of several words."""
    if typing.get_origin(hint) is not tuple:
        return hint.__name__.upper() if hint in (int, float, str, Path) else None
    parts = ["..." if part is Ellipsis else _name(stripped(part)) for part in typing.get_args(hint)]
    return " ".join(filter(None, parts)) if None not in parts else None


def describe(tokens: list[str], description: str) -> None:
    """Print what a command is for where `--help` is asked for."""
    if ASKED & set(tokens):
        print(_wrapped(inspect.cleandoc(description)), end="\n\n")


def _wrapped(text: str) -> str:
    """Paragraphs broken at the width of the terminal; indented ones, which are commands, as they are."""
    width = min(shutil.get_terminal_size().columns, 100)
    paragraphs = [part if part.startswith(" ") else textwrap.fill(part, width) for part in text.split("\n\n")]
    return "\n\n".join(paragraphs)


def program() -> str | None:
    """How a command is called that is run as a module; None for the file of a script, as tyro has it."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return f"python -m {spec.parent}" if spec and Path(sys.argv[0]).name == "__main__.py" else None


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
