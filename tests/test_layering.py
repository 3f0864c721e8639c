"""Who may import whom, read from the imports themselves."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOST = {
    "arguments", "building", "checkpoint", "cli", "cores", "device_choice", "doctor", "errors", "figures",
    "files", "hosts", "interrupt", "limits", "lock", "logging", "loop", "manifest", "options", "plots",
    "population", "printing", "repair", "report", "resume", "runs", "runtime", "serialization", "session",
    "sweep", "textfiles",
}  # fmt: skip
LIBRARIES_OF_THE_HOST = {"time", "rich", "wandb", "tensorboardX", "matplotlib", "orbax", "imageio", "PIL"}


def imports(file):
    """Full names of the modules that a file imports, with the names taken from them."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_host(file):
    return file.relative_to(ROOT / "purerl").parts[0].removesuffix(".py") in HOST


FILES = sorted((ROOT / "purerl").rglob("*.py"))
CORE = [file for file in FILES if not is_host(file)]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_purerl_never_imports_environments_or_experiments(file):
    assert not [name for name in imports(file) if name.split(".")[0] in ("envs", "experiments", "gymnax")]


@pytest.mark.parametrize("file", CORE, ids=lambda file: str(file.relative_to(ROOT)))
def test_the_core_touches_no_clock_no_file_and_no_screen(file):
    if file.name == "train.py":  # it reports how long compilation took
        return
    names = list(imports(file))
    assert not [name for name in names if name.split(".")[0] in LIBRARIES_OF_THE_HOST]
    assert not [
        name for name in names if name.startswith("purerl.") and name.split(".")[1] in HOST - {"runtime"}
    ]


@pytest.mark.parametrize("file", CORE, ids=lambda file: str(file.relative_to(ROOT)))
def test_flax_linen_lives_in_networks_alone(file):
    uses_linen = any(name.startswith("flax.linen") for name in imports(file))
    assert not uses_linen or "networks" in file.parts


@pytest.mark.parametrize(
    "file", sorted((ROOT / "envs").rglob("*.py")), ids=lambda file: str(file.relative_to(ROOT))
)
def test_environments_need_only_types_and_spaces(file):
    allowed = ("purerl.types", "purerl.spaces")
    assert all(name.startswith(allowed) for name in imports(file) if name.split(".")[0] == "purerl")
