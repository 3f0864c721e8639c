"""Names of the user's are printed as they are, and commands can be pasted into a shell."""

import ast
import io
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from fake_experiment import build
from rich.console import Console

from purerl.host import printing
from purerl.run import directory
from purerl.view import progress

ROOT = Path(__file__).parent.parent.parent
NAMES = ["lr=[1e-3]_[bold]x", "[/a]", "my run (1)", ":smile: $HOME `x`", "it's", "two  blanks", "[red]"]


@pytest.mark.parametrize("name", NAMES)
def test_a_directory_of_any_name_is_printed_as_it_is_and_its_command_can_be_pasted(tmp_path, command, name):
    run_dir = tmp_path / name

    def stopped_build(config):
        def compile_slowly(**sizes):
            raise KeyboardInterrupt

        return build(config)._replace(build_program=compile_slowly)

    code, _, error = command("--total-steps", "16", "--run-dir", run_dir, build=stopped_build)
    assert code == 130
    pasted = shlex.split(error.partition("go on with: ")[2])
    assert pasted == ["python", sys.argv[0], "--resume", str(run_dir)]
    echo = ["sh", "-c", "printf '%s\\n' " + shlex.join(pasted)]
    shell = subprocess.run(echo, capture_output=True, text=True, check=True)
    assert shell.stdout.splitlines()[-1] == str(run_dir)
    code, output, error = command("--resume", run_dir)
    assert (code, error) == (0, "")
    assert f"fake: saved in {run_dir}\n" in output
    code, _, error = command("--run-dir", run_dir)
    assert (code, error.count("\n")) == (2, 1)
    assert f"--run-dir {run_dir} is not empty" in error
    assert json.loads((run_dir / directory.SUMMARY_FILE).read_text())["env_steps"] == 16


def test_a_name_that_looks_like_an_option_is_given_as_a_path():
    assert printing.command("python", "a.py", "--resume", Path("-x y")) == "python a.py --resume './-x y'"


@pytest.mark.parametrize("terminal", [True, False])
def test_markup_in_the_name_of_an_experiment_reaches_the_display_as_it_is(terminal):
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=100)
    with progress.display(console, total_steps=100, env_steps=0, label="ppo-[/a][bold]") as show:
        show(progress.Status(100, 1.0, 1.0, 1.0, ["[/red]"], ["[/b] is :smile:"], "[/c]"))
    text = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", stream.getvalue())
    for name in ("ppo-[/a][bold]", "[/red]", "[/b] is :smile:", "[/c]"):
        assert name in text


def calls(tree, name):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and name in (
            getattr(node.func, "attr", None),
            getattr(node.func, "id", None),
        ):
            yield node


@pytest.mark.parametrize(
    "file",
    sorted([*(ROOT / "purerl").rglob("*.py"), *(ROOT / "experiments").glob("*.py")]),
    ids=lambda file: str(file.relative_to(ROOT)),
)
def test_nothing_prints_a_string_to_a_console_that_could_take_it_for_markup(file):
    """Sentences go through `printing.say`; only tables, made by a function, are printed directly."""
    tree = ast.parse(file.read_text())
    for call in calls(tree, "print"):
        if isinstance(call.func, ast.Attribute) and call.args and file.name != "printing.py":
            assert isinstance(call.args[0], ast.Call), f"{file}:{call.lineno}"
    for call in calls(tree, "Console"):
        assert {"markup", "emoji"} <= {word.arg for word in call.keywords}, f"{file}:{call.lineno}"
