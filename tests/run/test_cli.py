"""The command line: a readable help, and one line for every mistake."""

import inspect
import json
import re
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import jax
import ppo_bikkle
import pytest
import tyro
from fake_experiment import build

from purerl.host import limits
from purerl.host.errors import UserError
from purerl.run import directory, help_texts, mistakes
from purerl.run.arguments import parse, parse_alone

MISTAKES = {
    "--algorithm.learnin-rate 3": (
        "unknown option --algorithm.learnin-rate; did you mean --algorithm.learning-rate?"
    ),
    "--learning-rate 3": "unknown option --learning-rate; did you mean --algorithm.learning-rate?",
    "--zzz": "unknown option --zzz; --help lists all options",
    "--algorithm.foo=3": "unknown option --algorithm.foo; --help lists all options",
    "--env.limit x": "--env.limit takes a number or None, not 'x'",
    "extra": "'extra' is not an option; options begin with --",
    "--seed x": "--seed takes a whole number, not 'x'",
    "--seed": "--seed takes 1 value",
    "--seed -1": "--seed is -1; it must be at least 0",
    "--num-seeds 0": "--num-seeds is 0; it must be at least 1",
    "--total-steps 1.5": "--total-steps takes a whole number, not '1.5'",
    "--total-steps inf": "--total-steps takes a whole number, not 'inf'",
    "--total-steps 161": "--total-steps 161 is not divisible by 8",
    "--algorithm.num-envs 1.5": "--algorithm.num-envs takes a whole number, not '1.5'",
    "--algorithm.learning-rate much": "--algorithm.learning-rate takes a number, not 'much'",
    "--algorithm.learning-rate -1": "--algorithm.learning-rate is -1.0; it must be at least 0",
    "--env.gains 1": "--env.gains takes 2 values",
    "--env.gains 1 -2": "--env.gains is -2.0; it must be at least 0",
    "--env.gains 1 --seed 3": "--env.gains takes 2 values",
    "--env.limit=-1": "--env.limit is -1.0; it must be above 0",
    "--num_seeds x": "--num-seeds takes a whole number, not 'x'",
    "--seed=": "--seed takes a whole number, not ''",
    "--seed 1 -- extra": "'extra' is not an option; options begin with --",
    "--keep-best true": "'true' is not an option; --keep-best takes no value",
    "-seed 3": "'-seed' is not an option; options begin with --",
    "--env.gains 1 x": "--env.gains takes 2 numbers, not '1 x'",
    "--env.gains 1 2 3": "'3' is not an option; --env.gains takes fewer values",
    "--network foo": "--network takes mlp | attention, not 'foo'",
    "--track foo": "--track takes none | wandb | tensorboard, not 'foo'",
    "--resume absent": "--resume absent: the directory does not exist; name the directory of an earlier run",
    "--eval-only absent": (
        "--eval-only absent: the directory does not exist; name the directory of an earlier run"
    ),
    "--resume . --seed 4": (
        "--seed cannot be given with --resume: the run keeps its own configuration; "
        "leave it out, or start a new run"
    ),
    "--resume . --eval-only .": (
        "--resume and --eval-only exclude each other; a resumed run is evaluated at its end"
    ),
    "--run-dir /dev/null": (
        "--run-dir /dev/null is not empty; name a new directory, or use --resume /dev/null"
    ),
    "--run-dir /proc/new": "--run-dir /proc/new cannot be made: No such file or directory",
}


@pytest.mark.parametrize("arguments", MISTAKES)
def test_a_mistake_is_one_line_that_says_what_would_be_right(arguments, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, output, error = command(*arguments.split())
    assert (code, output, error) == (2, "", f"error: {MISTAKES[arguments]}\n")
    assert list(tmp_path.iterdir()) == []


def test_a_run_directory_with_something_in_it_is_refused(command, tmp_path):
    (tmp_path / "notes").touch()
    code, _, error = command("--run-dir", tmp_path)
    assert (code, error.count("\n")) == (2, 1)
    assert f"{tmp_path} is not empty" in error


def test_a_directory_that_is_no_run_cannot_be_resumed(command, tmp_path):
    code, _, error = command("--resume", tmp_path)
    assert code == 2
    assert "has no config.json" in error


def test_a_configuration_with_other_keys_is_refused_by_name(command, tmp_path):
    assert command("--run-dir", tmp_path / "run")[0] == 0
    file = tmp_path / "run" / directory.CONFIG_FILE
    saved = json.loads(file.read_text())
    saved["config"]["algorithm"]["momentum"] = saved["config"]["algorithm"].pop("width")
    file.write_text(json.dumps(saved))
    code, _, error = command("--resume", tmp_path / "run")
    assert (code, error.count("\n")) == (2, 1)
    assert "unknown algorithm.momentum; missing algorithm.width" in error


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [("seed", "x", "a whole number"), ("network", "foo", "'mlp'"), ("algorithm", 3, "an object")],
)
def test_a_configuration_with_wrong_values_is_refused_by_name(command, tmp_path, name, value, wanted):
    assert command("--run-dir", tmp_path / "run")[0] == 0
    file = tmp_path / "run" / directory.CONFIG_FILE
    saved = json.loads(file.read_text())
    saved["config"][name] = value
    file.write_text(json.dumps(saved))
    code, _, error = command("--resume", tmp_path / "run")
    assert (code, error.count("\n")) == (2, 1)
    assert f"{name} = {value!r}" in error and wanted in error


@pytest.mark.parametrize("width", [80, 120])
def test_the_help_names_every_option_with_its_default_and_fits_the_terminal(command, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys, "argv", ["experiments/fake.py"])
    code, output, error = command("--help")
    assert (code, error) == (0, "")
    for option in ("--seed", "--resume DIR", "--eval-only DIR", "--track {none,wandb,tensorboard}"):
        assert option in output
    for option in ("--algorithm.learning-rate FLOAT", "--env.gains FLOAT FLOAT", "--keep-going-on-nan"):
        assert option in output
    text = " ".join(re.sub("[│─╭╮╰╯-]{2,}|│", " ", output).split())
    assert "Speed of the wind, in meters a second. (default: 1.5)" in text
    assert max(map(len, output.splitlines())) <= width


def test_the_help_shows_the_range_of_every_option_that_has_one(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(SystemExit):
        parse(ppo_bikkle.Config, ["--help"])
    text = " ".join(re.sub("[│─╭╮╰╯]", " ", capsys.readouterr().out).split())
    ranges = {name: allowed.words() for name, _, allowed in limits.values_of(ppo_bikkle.Config()) if allowed}
    assert len(ranges) > 30
    for name, words in ranges.items():
        option = "--" + name.replace("_", "-")
        help_text = text.split(f"{option} ")[1].split(" --")[0]
        assert re.search(rf"\({re.escape(words)}(; default: [^()]+)?\)", help_text) or not words, help_text


def test_a_docstring_over_several_lines_is_one_paragraph_of_the_help(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = [line.strip("│ ") for line in command("--help")[1].splitlines()]
    option, end = "--env.limit FLOAT|None", "(above\N{NO-BREAK SPACE}0)"
    first = next(index for index, line in enumerate(lines) if line.startswith(option))
    last = next(index for index in range(first, len(lines)) if lines[index].endswith(end))
    paragraph = [lines[first].removeprefix(option).strip(), *lines[first + 1 : last + 1]]
    text = inspect.cleandoc("""
        Highest speed, in meters a second, that the motors may reach with the wind behind them and both gains
        at their largest. No limit where it is not given.
    """).replace("\n", " ")
    assert paragraph == textwrap.wrap(f"{text} {end}", width=max(map(len, paragraph)))
    assert not [line for line in lines if "default: None" in line]


@dataclass(frozen=True)
class Order:
    """With every kind of option."""

    dish: Annotated[str, tyro.conf.Positional]
    """What to eat."""
    count: int = 1
    where: Path = Path("here")
    name: str | None = None
    hot: bool | None = None
    size: Literal["small", "large"] | None = None
    prices: dict[str, float] = field(default_factory=dict)
    pair: tuple[int, float] | None = None
    counts: tuple[int, ...] = ()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("", "DISH is missing; --help says what it is"),
        ("soup salad", "'salad' is not an option; options begin with --"),
        ("soup --count", "--count takes 1 value"),
        ("soup --count 1.5", "--count takes a whole number, not '1.5'"),
        ("soup --count --name x", "--count takes 1 value"),
        ("soup --hot maybe", "--hot takes True or False or None, not 'maybe'"),
        ("soup --size huge", "--size takes small | large or None, not 'huge'"),
        ("soup --prices tea", "--prices takes names and values by turns, not 'tea'"),
        ("soup --prices tea hot", "--prices takes names and values by turns, not 'tea hot'"),
        ("soup --counts 1 x", "--counts takes whole numbers, not '1 x'"),
        ("soup --pric tea 2", "unknown option --pric; did you mean --prices?"),
        ("soup --no-hot", "unknown option --no-hot; did you mean"),
    ],
)
def test_every_kind_of_option_says_what_it_takes(arguments, says):
    with pytest.raises(UserError) as refusal:
        mistakes.check(arguments.split(), Order)
    assert str(refusal.value).startswith(says)


@pytest.mark.parametrize(
    "arguments",
    [
        "soup",
        "--count -3 soup --name None",
        "soup --counts --where ..",
        "soup --hot True --size large --pair 1 1e9 --counts 1 2 3",
        "soup --prices tea 2 coffee 3 --pair None --name=--count",
        "-- --soup",
    ],
)
def test_what_has_no_mistake_is_read(arguments):
    order = parse_alone(Order, "Order.", arguments.split())
    assert order == tyro.cli(Order, args=arguments.split())


def test_what_tyro_alone_refuses_is_one_line_as_well(monkeypatch):
    monkeypatch.setattr(mistakes, "check", lambda *_: None)
    with pytest.raises(UserError, match="the command line cannot be read"):
        parse_alone(Order, "Order.", ["soup", "--count", "x"])


def test_fields_of_a_class_without_source_have_no_help_and_still_work():
    scope = {}
    exec("import dataclasses\n@dataclasses.dataclass\nclass Typed:\n    x: int = 3\n", scope)
    assert help_texts.docstrings(scope["Typed"]) == {}
    assert tyro.cli(scope["Typed"], args=["--x", "4"], registry=help_texts.registry).x == 4


def test_a_run_leaves_all_its_files_and_a_complete_summary(command, tmp_path):
    run_dir = tmp_path / "run"
    code, output, error = command("--run-dir", run_dir, "--num-seeds", 2, "--total-steps", "1.6e2")
    assert (code, error) == (0, "")
    assert "fake: 160/160 steps" in output
    names = {path.name for path in run_dir.iterdir()}
    assert names == {
        "config.json",
        "metrics.jsonl",
        "timing.jsonl",
        "summary.json",
        "checkpoints",
        "curves.png",
        "diagnostics.png",
    }
    summary = json.loads((run_dir / directory.SUMMARY_FILE).read_text())
    wanted = (
        "env_steps num_seeds compile_seconds train_seconds steps_per_second jax jaxlib python device eval"
    )
    assert set(wanted.split()) <= set(summary)
    # 160 steps a seed / (2 updates * 4 environments) = 20 chunks
    assert (summary["env_steps"], summary["num_seeds"], summary["updates"]) == (160, 2, 40)
    assert summary["steps_per_second"] == pytest.approx(160 * 2 / summary["train_seconds"])
    lines = (run_dir / directory.METRICS_FILE).read_text().splitlines()
    assert len(lines) == 20
    assert [len(values) for values in json.loads(lines[0])["metrics"].values()] == [2] * 5


def test_without_a_name_the_run_goes_to_runs_with_its_seed(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command("--seed", 7, "--total-steps", 16)[0] == 0
    (run_dir,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"fake-\d{8}-\d{6}-seed7", run_dir.name)


def test_the_report_gets_the_whole_final_state_after_training_and_after_evaluation(command, tmp_path):
    states = []

    def build_with_report(config):
        return build(config)._replace(report=lambda run_dir, state, summary, console: states.append(state))

    options = ("--num-seeds", 2, "--total-steps", 16)
    assert command("--run-dir", tmp_path / "run", *options, build=build_with_report)[0] == 0
    assert command("--eval-only", tmp_path / "run", build=build_with_report)[0] == 0
    trained, restored = states
    # 16 steps a seed / 4 environments = 4 updates; two seeds, 4 environments with 2 coordinates each
    assert trained.num_updates.tolist() == [4, 4]
    assert trained.actor["position"].shape == (2, 4, 2)
    for one, other in zip(jax.tree.leaves(trained), jax.tree.leaves(restored), strict=True):
        assert (one == other).all()
