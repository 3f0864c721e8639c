"""What a command reads first: the file of an experiment, paths, shells, values of a sweep."""

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from fake_experiment import Config, build

from purerl.host.errors import UserError
from purerl.run import arguments, cli
from purerl.run.experiment import RunOptions
from purerl.sweep import SweepOptions, Uniform, sweep
from purerl.sweep.__main__ import Options
from purerl.sweep.command import check_resumed, load_experiment, read_command
from purerl.sweep.settings import typed
from purerl.sweep.space import draw, parse_values

FILES = {
    "import nothing_of_that_name\n": "cannot be loaded: ModuleNotFoundError in line 1: No module named",
    "x = 1\nx = = 2\n": "cannot be loaded: SyntaxError in line 2: invalid syntax",
    "def f():\n    raise ValueError('a\\nb')\n\nf()\n": "cannot be loaded: ValueError in line 2: a b",
    "import sys\nsys.exit(3)\n": "cannot be loaded: SystemExit in line 2: 3",
    "x = '\0'\n": "cannot be loaded: SyntaxError",
    "x = 1\n": "is no experiment: it has no Config on top of RunOptions, or no build",
    "Config, build = int, print\n": "is no experiment: it has no Config on top of RunOptions, or no build",
}


@pytest.mark.parametrize("text", FILES)
def test_a_file_that_is_no_experiment_is_one_line(tmp_path, text):
    file = tmp_path / "json.py"  # the name of a module that is there already
    file.write_text(text)
    before = sys.modules["json"]
    with pytest.raises(UserError) as refusal:
        load_experiment(file)
    assert str(refusal.value).startswith(f"{file} {FILES[text]}")
    assert "\n" not in str(refusal.value)
    assert sys.modules["json"] is before


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("a\0b", "has characters that cannot be printed"),
        ("a\nb", "has characters that cannot be printed"),
        ("a" * 256, "has a name of 256 bytes"),
        ("é" * 128, "has a name of 256 bytes"),
        ("a/" * 2500, "the text has 4999 letters; 4095 are the most"),
        ("\udcff", "is not UTF-8"),
    ],
)
@pytest.mark.parametrize("option", ["--run-dir", "--resume", "--eval-only"])
def test_a_path_that_no_file_has_is_refused_by_its_option(command, option, path, says):
    code, _, error = command(option, path)
    assert (code, error.count("\n")) == (2, 1)
    assert error.startswith(f"error: {option} ") and says in error and len(error) < 250


def test_completion_is_for_shells_that_there_are(command):
    code, _, error = command("--tyro-print-completion", "csh")
    assert (code, error) == (2, "error: --tyro-print-completion takes one of bash, zsh, tcsh, not 'csh'\n")
    code, output, _ = command("--tyro-print-completion", "bash")
    assert not code and "--algorithm.learning-rate" in output


@pytest.mark.parametrize("text", [",", "1,", "", "0.9 --seed 3", "--help,1", "-h,1"])
def test_a_list_with_an_empty_place_or_an_option_in_it_is_no_list(text):
    with pytest.raises(UserError, match=r"--sweep\.ppo\.gamma takes VALUE,VALUE,\.\.\."):
        parse_values("ppo.gamma", text)


def test_a_sweep_has_no_more_members_than_can_be():
    with pytest.raises(UserError, match="has 1000000000000 points; 100000 are the most"):
        parse_values("a", "log:1:2:1000000000000")
    space = {name: Uniform(0.0, 1.0, 1000) for name in "ab"}
    with pytest.raises(UserError, match="the grid has 1000000 points; 100000 are the most"):
        draw(space, "grid", 0, 0)
    with pytest.raises(UserError, match="--num-members is 1000000000000; it must be at most 100000"):
        draw(space, "sobol", 10**12, 0)
    many = {str(number): Uniform(0.0, 1.0) for number in range(21_202)}  # one more than there are
    with pytest.raises(UserError, match="21202 options are swept; a Sobol sequence has 21201 dimensions"):
        draw(many, "sobol", 2, 0)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"sample_seed": -1}, "--sample-seed is -1; it must be at least 0"),
        ({"num_members": -1}, "--num-members is -1; it must be at least 0"),
        ({"width": -1}, "--width is -1; it must be at least 0"),
        ({"group_size": -1}, "--group-size is -1; it must be at least 0"),
    ],
)
def test_options_of_a_sweep_have_bounds(options, says):
    with pytest.raises(UserError, match=says):
        sweep(Config(), build, {"algorithm.learning_rate": Uniform(0.0, 1.0)}, SweepOptions(**options))


@pytest.mark.parametrize("name", ["seed", "num-seeds", "total-steps", "run-dir", "resume"])
def test_what_all_members_share_is_not_swept(name):
    with pytest.raises(UserError, match="is the same for all members"):
        typed({name: parse_values(name, "1,2")}, Config)


def test_a_resumed_sweep_takes_no_option_of_the_sweep():
    script = str(Path(__file__).parent / "fake_experiment.py")
    command = read_command(Options, "", [script, "--resume", "somewhere", "--num-members", "5"])
    with pytest.raises(UserError, match="--resume takes no other option"):
        check_resumed(command)


@dataclass(frozen=True)
class Choosing(RunOptions):
    """With a choice that leaves options without effect."""

    kind: str = "a"
    """Which."""
    of_b: int = 0
    """Read where kind is b."""

    def unread(self):
        return {"of_b": f"--kind {self.kind}"} if self.kind != "b" else {}


def test_an_option_without_effect_is_refused():
    assert arguments.parse(Choosing, ["--kind", "b", "--of-b", "1"]).config.of_b == 1
    with pytest.raises(UserError, match="--of-b has no effect with --kind a; leave one of them out"):
        arguments.parse(Choosing, ["--of-b", "1"])


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (PermissionError(13, "Permission denied", "/x"), "/x: Permission denied"),
        (MemoryError(), "there is not enough memory; make the experiment smaller, or its groups"),
    ],
)
def test_a_machine_that_refuses_is_one_line(capsys, error, says):
    def work():
        raise error

    with pytest.raises(SystemExit) as stop:
        cli.answer(work)
    assert stop.value.code == 1
    assert capsys.readouterr().err == f"error: {says}\n"
