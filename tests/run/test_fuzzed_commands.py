"""Whatever is asked for, a command begins to compile or says in one line why not: there are no tracebacks.

PURERL_FUZZED_COMMANDS sets how many command lines are tried, and PURERL_FUZZ_SEED which.
"""

import contextlib
import importlib
import io
import os
import sys
import traceback

import pytest
from fake_experiment import Config as FakeConfig
from fake_experiment import build as build_fake
from fuzzing import EXPERIMENTS, WORDS, Fuzzer

from benchmarks import __main__ as benchmarks
from purerl.host import limits
from purerl.report import __main__ as report
from purerl.run import cli
from purerl.sweep.command import load_experiment

COUNT = int(os.environ.get("PURERL_FUZZED_COMMANDS", "300"))
SEED = int(os.environ.get("PURERL_FUZZ_SEED", "0"))
sweep, population = (importlib.import_module(f"purerl.{name}.__main__") for name in ("sweep", "population"))


class Compiling(Exception):
    """Here compilation would begin, or a measurement."""


def begin(*_, **__):
    raise Compiling


@pytest.fixture
def whole_run(tmp_path):
    """A run that has come to its end."""
    with contextlib.redirect_stdout(io.StringIO()), pytest.raises(SystemExit):
        cli.main(FakeConfig, build_fake, ["--run-dir", str(tmp_path / "whole"), "--total-steps", "16"])
    return tmp_path / "whole"


@pytest.fixture
def held_up(whole_run, monkeypatch, tmp_path):
    """Nothing is compiled, nothing is written outside of an empty directory."""
    for place in (
        "purerl.run.cli.session.train",
        "purerl.run.cli.session.evaluate",
        "purerl.sweep.training.buckets",
        "purerl.sweep.training.resume",
        "purerl.population.training.leaves_of",
        "benchmarks.__main__.subprocess.run",
    ):
        monkeypatch.setattr(place, begin)
    room = tmp_path / "room"
    room.mkdir()
    monkeypatch.chdir(room)
    return room


def outcome(work):
    """(exit code, standard error) of a command; (None, "") where it would begin to compile."""
    output, error = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(error):
            work()
    except Compiling:
        return None, ""
    except SystemExit as stop:
        return stop.code, error.getvalue()
    except BaseException:
        return "traceback", traceback.format_exc()
    return 0, error.getvalue()


def commands(fuzzer, run_dirs, monkeypatch):
    """Endless command lines, each with what executes it."""
    loaded = [(file, *load_experiment(file)) for file in EXPERIMENTS]
    targets = [*loaded, *loaded, "sweep", "sweep", "population", "report", "benchmarks"]

    def main(entry, argv):
        monkeypatch.setattr(sys, "argv", ["command", *argv])
        cli.answer(entry)

    while True:
        target = fuzzer.random.choice(targets)
        if target in ("sweep", "population"):
            module = sweep if target == "sweep" else population
            file, config_class, _ = fuzzer.random.choice(loaded)
            argv = [str(file), *fuzzer.line(config_class, run_dirs), *fuzzer.space(config_class)]
            argv += fuzzer.line(module.Options, run_dirs)
            argv = [fuzzer.random.choice(WORDS), *argv[1:]] if fuzzer.random.random() < 0.05 else argv
            yield [target, *argv], lambda module=module, argv=argv: main(module._main, argv)
        elif target == "report":
            named = [
                str(fuzzer.random.choice((*run_dirs, *WORDS))) for _ in range(fuzzer.random.randrange(3))
            ]
            argv = [*named, *fuzzer.line(report.Request, run_dirs)]
            yield [target, *argv], lambda argv=argv: main(report._main, argv)
        elif target == "benchmarks":
            command = fuzzer.random.choice(("list", "run", "compare", "x"))
            options = {"run": benchmarks.Run, "x": benchmarks.Run, "list": benchmarks.List}.get(command)
            named = [fuzzer.random.choice(("maze", "dqn.capacity", *WORDS)) for _ in range(2)]
            argv = [command, *named, *(fuzzer.line(options, run_dirs) if options else [])]
            yield [target, *argv], lambda argv=argv: main(benchmarks._main, argv)
        else:
            argv = fuzzer.line(target[1], run_dirs)
            execute = lambda target=target, argv=argv: cli.main(*target[1:], argv, "An experiment.")  # noqa: E731
            yield [target[0].name, *argv], execute


def test_no_command_line_ends_in_a_traceback(held_up, whole_run, tmp_path, monkeypatch):
    empty = tmp_path / "empty"
    empty.mkdir()
    bad, begun = [], 0
    lines = commands(Fuzzer(SEED), (whole_run, empty, "absent"), monkeypatch)
    for _ in range(COUNT):
        argv, work = next(lines)
        code, error = outcome(work)
        begun += code is None
        one_line = error.startswith("error: ") and error.count("\n") == 1
        one_line &= "the command line cannot be read" not in error  # what only tyro refuses has no good words
        if code not in (None, 0) and not (code in (1, 2) and one_line):
            bad.append(f"{[limits.shown(word) for word in argv]} ended with {code}: {error[-1500:]}")
    assert not bad, f"{len(bad)} of {COUNT}: " + "\n".join(bad)
    assert begun > COUNT // 10  # or the lines are all refused at their first word
