"""Who may import whom: a table of rooms, held against the imports themselves."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = {
    "purerl.types": "",
    "purerl.ranges": "",
    "purerl.spaces": "types",
    "purerl.contracts": "types",
    "purerl.functional": "types",
    "purerl.compile": "types functional",
    "purerl.networks": "types ranges spaces functional compile",
    "purerl.rollout": "types spaces functional compile",
    "purerl.replay": "types functional",
    "purerl.curriculum": "types ranges",
    "purerl.algorithms": "types ranges spaces functional networks rollout replay",
    "purerl.host": "types ranges",
    "purerl.view": "compile host",
    "purerl.run": "types ranges functional compile host view",
    "purerl.experiment": "types ranges contracts compile networks rollout replay curriculum algorithms run",
    "purerl.report": "ranges functional host view run",
    "purerl.sweep": "types ranges compile host view run report",
    "purerl.population": "types ranges functional compile host view run sweep",
    "purerl.doctor": "spaces compile networks algorithms host run",
    "purerl": "compile",
    "envs": "types ranges spaces contracts curriculum",
    "envs.experiments": "types ranges spaces networks rollout host view run envs",
}
"""Each room stands on those of purerl, and on environments, that are named behind it alone; from the ground
up, so that nothing goes round."""
HOST = ("host", "view", "run", "experiment", "experiments", "report", "sweep", "population", "doctor")
LIBRARIES_OF_THE_HOST = {"time", "rich", "wandb", "tensorboardX", "matplotlib", "orbax", "imageio", "PIL"}


def imports(file):
    """Full names of the modules that a file imports, with the names taken from them."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(name):
    """The room of a module or of a name in it: "purerl.run" for "purerl.run.loop", "envs" for "envs.maze"."""
    first, _, rest = name.partition(".")
    inner = f"{first}.{rest.partition('.')[0]}"
    return inner if inner in ROOMS else first


def below(room):
    """Rooms that a room stands on."""
    return ["envs" if name == "envs" else f"purerl.{name}" for name in ROOMS[room].split()]


def name_of(file):
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = sorted(file for room in ("purerl", "envs") for file in (ROOT / room).rglob("*.py"))
CORE = [file for file in FILES if not set(HOST) & set(file.parts)]
SCRIPTS = sorted(file for folder in ("experiments", "examples") for file in (ROOT / folder).glob("*.py"))
by_name = pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))


@by_name
def test_a_room_imports_only_the_rooms_that_it_stands_on(file):
    own = room_of(name_of(file))
    allowed = {own, *below(own)}
    used = {room_of(name) for name in imports(file) if name.partition(".")[0] in ("purerl", "envs")}
    assert used <= allowed


def test_rooms_stand_on_rooms_below_them():
    names = list(ROOMS)
    for number, room in enumerate(names):
        assert all(names.index(each) < number for each in below(room)), room


@by_name
def test_the_package_never_imports_experiments_or_gymnax(file):
    if file.name in ("gymnax_adapter.py",):
        return
    assert not [name for name in imports(file) if name.split(".")[0] == "experiments"]
    if "purerl" in file.relative_to(ROOT).parts:
        assert not [name for name in imports(file) if name.split(".")[0] == "gymnax"]


@pytest.mark.parametrize("file", CORE, ids=lambda file: str(file.relative_to(ROOT)))
def test_the_core_touches_no_clock_and_no_screen(file):
    if file.name in ("program.py", "cores.py"):  # how long compilation took; how busy the processor is
        return
    used = {name.split(".")[0] for name in imports(file)}
    assert not used & LIBRARIES_OF_THE_HOST or "envs" in file.parts


@by_name
def test_flax_linen_lives_in_networks_alone(file):
    uses_linen = any(name.startswith("flax.linen") for name in imports(file))
    assert not uses_linen or "networks" in file.parts


def test_every_room_says_in_a_line_what_belongs_there():
    for room in (ROOT / "purerl").iterdir():
        if (room / "__init__.py").exists():
            assert ast.get_docstring(ast.parse((room / "__init__.py").read_text())), room


def test_few_modules_stand_in_the_hallway():
    assert len([file for file in (ROOT / "purerl").glob("*.py") if file.stem != "__init__"]) <= 6


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda file: file.name)
def test_a_script_is_whole_so_that_a_copy_of_it_runs_anywhere(file):
    beside = {other.stem for folder in ("experiments", "examples") for other in (ROOT / folder).glob("*.py")}
    assert not {name.partition(".")[0] for name in imports(file)} & beside
