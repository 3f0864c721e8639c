"""Text files of a run that were cut, edited or overwritten: put back and told, or refused in one line.

Two endings are right: the run ends with the bytes of one that was never harmed, or it is refused in one line
that names the file. Tracebacks and differences that nobody is told of are wrong.
"""

import json
import random
import shutil

import pytest
from fake_experiment import Config, build

from purerl.host.errors import UserError
from purerl.run import cli, directory
from purerl.sweep.training import SCHEMA_VERSION, SWEEP_FILE, read_sweep, write_sweep

OPTIONS = ("--num-seeds", "2", "--checkpoint-every-chunks", "5", "--total-steps", "96")
# 96 steps / (2 updates x 4 environments) = 12 chunks; checkpoints after 5, 10 and 12, of which 10 and 12 stay
LINES = (directory.METRICS_FILE, directory.TIMING_FILE)
FILES = (*LINES, directory.SUMMARY_FILE, directory.CONFIG_FILE)


@pytest.fixture(scope="module")
def runs_made(tmp_path_factory):
    """A whole run, and the same one as it was after its tenth chunk."""
    room = tmp_path_factory.mktemp("runs")
    with pytest.raises(SystemExit) as stop:
        cli.main(Config, build, argv=[*OPTIONS, "--run-dir", str(room / "whole")])
    assert stop.value.code == 0
    shutil.copytree(room / "whole", room / "cut")
    shutil.rmtree(room / "cut" / directory.CHECKPOINTS / "chunk-00000012")
    (room / "cut" / directory.SUMMARY_FILE).unlink()
    return room


def half_a_line(content, chance):
    return content[: chance.randrange(1, len(content) - 1)]


def a_flipped_byte(content, chance):
    at = chance.randrange(len(content))
    return content[:at] + bytes([content[at] ^ (1 << chance.randrange(8))]) + content[at + 1 :]


def another_digit(content, chance):
    at = chance.choice([at for at, byte in enumerate(content) if chr(byte).isdigit()])
    return content[:at] + bytes([48 + (content[at] - 48 + chance.randrange(1, 10)) % 10]) + content[at + 1 :]


def a_missing_line(content, chance):
    lines = content.splitlines(keepends=True)
    del lines[chance.randrange(len(lines))]
    return b"".join(lines)


def two_lines_swapped(content, chance):
    lines = content.splitlines(keepends=True)
    at = chance.randrange(len(lines) - 1)
    lines[at : at + 2] = lines[at : at + 2][::-1]
    return b"".join(lines)


def a_line_twice(content, chance):
    lines = content.splitlines(keepends=True)
    at = chance.randrange(len(lines))
    return b"".join([*lines[:at], lines[at], *lines[at:]])


def a_value_replaced(content, chance):
    """One value anywhere in one of the objects becomes something of another kind."""
    lines = content.splitlines() if content.count(b'{"chunk"') else [content]
    at = chance.randrange(len(lines))
    found = json.loads(lines[at])
    places = list(containers(found))
    place, key = chance.choice(places)
    place[key] = chance.choice(
        [None, [], {}, "x", -1, 10**30, True, {"$float": "x"}, {"$tuple": 3}, {"$path": 7}, {"$path": "\0"},
         {"$array": 1}, {"$array": [1], "dtype": "x", "shape": [1]}, {"$what": 1}]
    )  # fmt: skip
    lines[at] = json.dumps(found).encode()
    return b"\n".join(lines) + b"\n"


def containers(value):
    """All places (container, key) below a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield value, key
        if isinstance(inner, dict | list):
            yield from containers(inner)


WORDS = {
    "null": b"null\n",
    "an empty object": b"{}\n",
    "an empty list": b"[]\n",
    "zero bytes": bytes(300),
    "nothing": b"",
    "no text": bytes(range(256)),
    "nested deeply": b"[" * 100_000 + b"]" * 100_000,
    "not a number": b'{"chunk": NaN}\n',
    "a huge number": b"1" * 5000 + b"\n",
    "a name twice": b'{"schema": 2, "schema": 2}\n',
}
HARMS = {
    **{name: lambda content, chance, words=words: words for name, words in WORDS.items()},
    "half a line": half_a_line,
    "CRLF": lambda content, chance: content.replace(b"\n", b"\r\n"),
    "a blank line": lambda content, chance: b"\n" + content,
    "a byte order mark": lambda content, chance: b"\xef\xbb\xbf" + content,
    "a flipped byte": a_flipped_byte,
    "another digit": another_digit,
    "a missing line": a_missing_line,
    "two lines swapped": two_lines_swapped,
    "a line twice": a_line_twice,
    "a value replaced": a_value_replaced,
}
CHANCES = {"a flipped byte": 6, "another digit": 4, "a value replaced": 8, "half a line": 2}
CASES = [
    (name, harm, number) for name in FILES for harm in HARMS for number in range(CHANCES.get(harm, 1))
]  # 4 files x (6 + 4 + 8 + 2 + 16 others) = 144
assert len(CASES) == 144


def harmed(run_dir, name, harm, number):
    """Harms a file; whether what it holds is another."""
    file = run_dir / name
    before = file.read_bytes()
    after = HARMS[harm](before, random.Random(f"{name} {harm} {number}"))
    file.write_bytes(after)
    return before != after


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """They take most of the time, and read what has been checked by then."""
    nothing = lambda *arguments: None  # noqa: E731
    monkeypatch.setattr("purerl.view.plots.plot_curves", nothing)
    monkeypatch.setattr("purerl.view.plots.plot_levels", nothing)
    monkeypatch.setattr("purerl.view.diagnosis.plot_diagnostics", nothing)


def is_refused(result, name):
    """Whether it was refused; if so, in one line that names the file, or the value in the configuration."""
    code, output, error = result
    assert "Traceback" not in output + error
    if code == 0:
        assert error == ""
        return False
    assert (code, error.count("\n")) == (2, 1), error
    assert name in error or "saved configuration" in error, error
    return True


def parts(run_dir):
    """What of a run must not differ: metrics, the times up to the checkpoint, evaluation."""
    metrics, times = ((run_dir / name).read_bytes().splitlines(keepends=True) for name in LINES)
    return metrics, times[:10], json.loads((run_dir / directory.SUMMARY_FILE).read_text())["eval"]


@pytest.mark.parametrize("name", [*LINES, directory.CONFIG_FILE])
def test_a_run_with_a_harmed_text_file_ends_as_the_whole_one_or_is_refused(
    tmp_path, runs_made, command, name
):
    whole, ended = parts(runs_made / "whole"), 0
    for case in (case for case in CASES if case[0] == name):
        run_dir = tmp_path / "run"
        shutil.copytree(runs_made / "cut", run_dir)
        is_other = harmed(run_dir, *case)
        result = command("--resume", run_dir)
        try:
            if not is_refused(result, name):
                assert parts(run_dir) == whole
                ended += 1
        except Exception as wrong:
            raise AssertionError(f"{case}: {result}") from wrong
        shutil.rmtree(run_dir)
        assert is_other or case[1] in ("CRLF", "two lines swapped", "a line twice"), case
    # What the checkpoint has a copy of is always put back.
    assert name not in LINES or ended == len(CASES) // len(FILES)


@pytest.mark.parametrize("name", [directory.SUMMARY_FILE, directory.CONFIG_FILE])
def test_an_evaluation_beside_a_harmed_text_file_is_right_or_refused(tmp_path, runs_made, command, name):
    before = json.loads((runs_made / "whole" / directory.SUMMARY_FILE).read_text())
    for case in (case for case in CASES if case[0] == name):
        run_dir = tmp_path / "run"
        shutil.copytree(runs_made / "whole", run_dir)
        harmed(run_dir, *case)
        result = command("--eval-only", run_dir)
        try:
            if not is_refused(result, name):
                after = json.loads((run_dir / directory.SUMMARY_FILE).read_text())
                told = f"warning: {run_dir / name}" in result[1]
                lost = {"sha256", "compile_seconds", "num_devices", "wall_seconds", "device", "machine"}
                lost = lost if told else set()
                assert {key: after[key] for key in set(before) - lost} == {
                    key: before[key] for key in set(before) - lost
                }
        except Exception as wrong:
            raise AssertionError(f"{case}: {result}") from wrong
        shutil.rmtree(run_dir)


@pytest.mark.parametrize("harm", HARMS)
def test_what_a_sweep_began_with_is_refused_in_one_line_where_it_was_harmed(tmp_path, harm):
    file = tmp_path / SWEEP_FILE
    content = {"schema": SCHEMA_VERSION, "swept": {"rate": "log:1:2"}, "layout": {"width": 1, "sizes": [2]}}
    write_sweep(file, content)
    assert read_sweep(tmp_path) == content
    whole = file.read_bytes()
    for number in range(5):
        file.write_bytes(HARMS[harm](whole, random.Random(number)))
        if harm == "CRLF" or file.read_bytes() == whole or harm == "a blank line":
            assert read_sweep(tmp_path) == content  # the same JSON
            continue
        with pytest.raises(UserError, match=SWEEP_FILE) as refused:
            read_sweep(tmp_path)
        assert "\n" not in str(refused.value)
