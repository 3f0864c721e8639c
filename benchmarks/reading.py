"""How much there is to read: `python -m benchmarks.reading [FILE]`, a second on one core.

For each algorithm: files and code lines of all that its factory, its configuration, `train` and a multilayer
perceptron lead to, name by name, as a reader would follow them; with a name, the lines of each definition.
Lines with code count: no docstrings, comments, blanks or imports. Names are followed as they are written,
through imports within this repository; a class counts with all of its methods.
"""

import ast
import io
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
COMMON = ("purerl.compile.program.train", "purerl.networks.layers.MLPEncoder")
ROOTS = {
    "ppo": ("purerl.algorithms.ppo.make_ppo", "purerl.algorithms.ppo.PPOConfig"),
    "dqn": ("purerl.algorithms.dqn.make_dqn", "purerl.algorithms.dqn.DQNConfig"),
    "sac": ("purerl.algorithms.sac.make_sac", "purerl.algorithms.sac.SACConfig"),
}
NETWORKS = {
    "ppo": "purerl.networks.actor_critic.ActorCritic",
    "dqn": "purerl.networks.q_network.QNetwork",
    "sac": "purerl.networks.soft_actor_critic.SoftActorCritic",
}
_SILENT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}


class Module(NamedTuple):
    """A source file, taken apart.

    Attributes:
        defined: definitions at its top level, by name.
        imported: full names of what it imports, by the name that it has here.
        code: numbers of the lines with code.
    """

    defined: dict[str, ast.stmt]
    imported: dict[str, str]
    code: frozenset[int]


@cache
def module(name: str) -> Module | None:
    """A module of this repository by its full name; None where there is none."""
    file = ROOT.joinpath(*name.split("."))
    file = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
    if not file.is_file():
        return None
    text = file.read_text()
    tree = ast.parse(text)
    defined: dict[str, ast.stmt] = {}
    imported: dict[str, str] = {}
    for node in tree.body:
        match node:
            case ast.FunctionDef() | ast.ClassDef():
                defined[node.name] = node
            case ast.Assign(targets=[ast.Name(id=target)]) | ast.AnnAssign(target=ast.Name(id=target)):
                defined[target] = node
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                imported |= {alias.asname or alias.name: alias.name for alias in node.names}
            case ast.ImportFrom(module=str(source)):
                imported |= {alias.asname or alias.name: f"{source}.{alias.name}" for alias in node.names}
    return Module(defined, imported, frozenset(_lines_with_code(text, tree)))


def _lines_with_code(text: str, tree: ast.Module) -> set[int]:
    silent: set[int] = set()
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node, ast.Import | ast.ImportFrom) or (is_text and isinstance(node.value.value, str)):
            silent.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    spoken: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _SILENT:
            spoken.update(range(token.start[0], token.end[0] + 1))
    return spoken - silent


def definition(name: str) -> tuple[str, str] | None:
    """The module and the name in it where something is defined, through whatever passes it on."""
    source, _, last = name.rpartition(".")
    found = module(source)
    if found is None:
        return None
    if last in found.defined:
        return source, last
    return definition(found.imported[last]) if last in found.imported else None


def leads_to(source: str, name: str) -> Iterator[str]:
    """Full names of what a definition uses."""
    here = module(source)
    assert here is not None
    for node in ast.walk(here.defined[name]):
        if isinstance(node, ast.Name):
            yield here.imported.get(node.id, f"{source}.{node.id}")
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{here.imported.get(node.value.id, '')}.{node.attr}"


def closure(names: tuple[str, ...]) -> dict[tuple[str, str], int]:
    """Code lines of each definition that some names lead to, by module and name."""
    found: dict[tuple[str, str], int] = {}
    waiting = list(names)
    while waiting:
        place = definition(waiting.pop())
        if place is None or place in found:
            continue
        here = module(place[0])
        assert here is not None
        node = here.defined[place[1]]
        decorators = [each.lineno for each in getattr(node, "decorator_list", ())]
        lines = range(min([node.lineno, *decorators]), (node.end_lineno or node.lineno) + 1)
        found[place] = len(here.code.intersection(lines))
        waiting += leads_to(*place)
    return found


def main(chosen: list[str]) -> None:
    """Prints files and code lines of each algorithm; of those that are chosen, every definition."""
    for algorithm, roots in ROOTS.items():
        found = closure((*roots, NETWORKS[algorithm], *COMMON))
        files = Counter[str]()
        for (source, _), lines in found.items():
            files[source] += lines
        if algorithm in chosen:
            for (source, name), lines in sorted(found.items()):
                print(f"{lines:5} {source}.{name}")
        if chosen:
            for source, lines in files.most_common():
                print(f"{lines:5} {source}")
        print(f"{algorithm}: {len(files)} files, {sum(files.values()):,} code lines")


if __name__ == "__main__":
    main(sys.argv[1:])
