"""A report over run directories that someone else made: text stays text, and only plain files are read."""

import ast
import copy
import json
import os
import random
from html import unescape
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from test_report import GIF, rising, write_run

from purerl.report import tables, write_report
from purerl.report.comparing import compare
from purerl.report.reading import read_runs
from purerl.view import figures
from purerl.view.plots import plot_curves

ROOT = Path(__file__).parent.parent.parent
NAMES = (
    r"$\undefined$",
    "$x$",
    r"a\$b",
    "<script>alert(1)</script>",
    '" onload="x',
    "&amp;",
    "!a",
    "[bold]",
    "{}",
)


def rewrite(file, change):
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def told_of(skipped, name):
    return [reason for path, reason in skipped if path.name == name]


def test_names_are_text_in_pictures_and_on_the_page(tmp_path):
    for index, name in enumerate(NAMES):
        run = write_run(
            tmp_path / name.replace("/", "|"), rising(1.0 + index), experiment=name, env=r"$\world$"
        )
        lines = (run / "metrics.jsonl").read_text().replace("entropy", r"$\\gone")
        (run / "metrics.jsonl").write_text(lines)
        (run / "episode.gif").write_bytes(GIF)
    assert not write_report(sorted(tmp_path.iterdir()), tmp_path / "out", metric=r"$\gone")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<script" not in page and '" onload' not in page
    for name in NAMES:
        assert f"<td>{name}</td>" in page or f">{name}<" in unescape(page)
    assert '<td class="warning">a</td>' not in page


@pytest.mark.parametrize("name", [r"$\undefined$", "$x$", "$", "$$", r"\$x\$", "😀", "a" * 10_000])
def test_a_picture_shows_each_name_as_it_is(tmp_path, name):
    figure = Figure()
    axes = figure.subplots()
    axes.plot([1, 2], [1, 2], label=name)
    figures.style(axes, name)
    axes.set_yticks([1, 2], [name, name])
    axes.text(1, 1, name)
    axes.legend()
    figures.save(figure, tmp_path / "picture.png")
    shown = [text for text in figure.findobj(Text) if text.get_text()[:100] == name[:100]]
    assert len(shown) >= 5  # the title, both ticks, the text, the legend
    assert not any(text.get_parse_math() for text in shown)


def test_curves_of_a_metric_with_mathematics_in_its_name_are_drawn(tmp_path):
    lines = [{"env_steps": 10, "metrics": {"episode_return": [1.0], r"$\undefined$": [2.0]}}]
    plot_curves(tmp_path / "curves.png", lines)
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_every_picture_is_saved_by_the_one_that_keeps_text_as_it_is():
    found = []
    for folder in ("purerl", "experiments", "benchmarks", "envs"):
        for file in (ROOT / folder).rglob("*.py"):
            calls = (
                node.attr for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Attribute)
            )
            if {"print_png", "savefig", "print_figure"} & set(calls):
                found.append(str(file.relative_to(ROOT)))
    assert found == ["purerl/view/figures.py"]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda file, secret: file.symlink_to(secret), "is a link, and no plain file"),
        (lambda file, secret: file.symlink_to(file.parent / "absent"), "is a link, and no plain file"),
        (lambda file, secret: file.mkdir(), "is a directory, and no plain file"),
        (lambda file, secret: os.mkfifo(file), "is a pipe, and no plain file"),
        (
            lambda file, secret: file.write_bytes(GIF[:-1] + bytes(9 << 20) + b";"),
            "has 9 MiB, too much for a page",
        ),
    ],
    ids=["link", "dangling", "folder", "pipe", "large"],
)
@pytest.mark.parametrize(
    "name", ["episode.gif", "config.json", "summary.json", "metrics.jsonl", "timing.jsonl"]
)
def test_only_plain_files_of_the_run_are_read(tmp_path, name, make, reason):
    run = write_run(tmp_path / "run", rising(1.0, 2.0))
    secret = tmp_path / "secret"
    (run / name).rename(secret) if (run / name).exists() else secret.write_bytes(GIF)
    make(run / name, secret)
    found, skipped = read_runs([run])
    if name == "episode.gif":
        assert found[0].film is None
    elif "MiB" in reason:
        return  # the others may be larger than a film
    assert told_of(skipped, name)[0].startswith(reason)
    assert bool(found) == (name != "metrics.jsonl")


def test_a_film_that_is_a_plain_file_is_embedded_and_one_behind_a_bad_one_too(tmp_path):
    run = write_run(tmp_path / "run", rising(1.0))
    (run / "a.gif").symlink_to("/dev/zero")
    (run / "b.gif").write_bytes(GIF)
    assert read_runs([run])[0][0].film == GIF


def test_members_of_a_sweep_that_are_links_are_not_followed(tmp_path):
    private = write_run(tmp_path / "private", rising(1.0))
    write_run(tmp_path / "sweep" / "members" / "one", rising(1.0))
    (tmp_path / "sweep" / "members" / "two").symlink_to(private)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "members").symlink_to(tmp_path)
    found, skipped = read_runs([tmp_path / "sweep", tmp_path / "other"])
    assert [run.path.name for run in found] == ["one"]
    assert [reason for _, reason in skipped] == ["is a link, which is not followed"] * 2


def test_a_summary_with_other_types_loses_those_entries_by_name(tmp_path):
    run = write_run(tmp_path / "run", rising(1.0, 2.0))
    wrong = {"seeds": "ab", "failed_seeds": [[1]], "alarms": [3], "machine": 7, "eval": {"per_seed": ["x"]}}
    rewrite(run / "summary.json", lambda content: content.update(wrong))
    (found,), skipped = read_runs([run])
    assert found.seeds == (0, 1)
    (reason,) = told_of(skipped, "summary.json")
    assert reason == "is damaged: seeds, failed_seeds, alarms, machine, eval left out"


STRANGE = (
    None, True, -1, 10**400, 1e308, float("nan"), float("inf"), "", "\ud800", "\x1b[2J", [], {}, [[]],
    {"$tuple": []}, {"$": {}}, "x" * 10_000,
)  # fmt: skip


def places(content, path=()):
    """Where something could stand in its place."""
    yield path
    items = (
        content.items()
        if isinstance(content, dict)
        else enumerate(content)
        if isinstance(content, list)
        else ()
    )
    for key, item in items:
        yield from places(item, (*path, key))


def with_strange_content(content, draw):
    changed = copy.deepcopy(content)
    *path, last = draw.choice(list(places(changed))[1:])
    inner = changed
    for key in path:
        inner = inner[key]
    inner[last] = draw.choice(STRANGE)
    return changed


@pytest.mark.parametrize("seed", range(60))
def test_whatever_stands_in_the_files_the_numbers_come_or_a_reason(tmp_path, seed):
    draw = random.Random(seed)
    run = write_run(tmp_path / "run", rising(1.0, 2.0, num_chunks=4))
    write_run(tmp_path / "other", rising(3.0, 2.0, num_chunks=4), rate=0.3)
    for _ in range(draw.randrange(1, 4)):
        file = run / draw.choice(("config.json", "summary.json", "metrics.jsonl", "timing.jsonl"))
        lines = file.read_text().splitlines()
        index = draw.randrange(len(lines))
        try:
            lines[index] = json.dumps(with_strange_content(json.loads(lines[index]), draw))
        except (ValueError, IndexError, TypeError):  # it is damaged already
            lines[index] = "[" * 100_000
        file.write_text("\n".join(lines) + "\n")
    found, skipped = read_runs([run, tmp_path / "other"])
    tasks, _ = compare(found, None)
    assert tasks
    page = "".join(
        tables.machines(found) + tables.skipped(skipped) + tables.options(task) + tables.evaluation(task)
        for task in tasks
    )
    for task in tasks:
        json.dumps(tables.numbers(task, 1.0)["options"])
    page.encode()
    assert "\x1b" not in page
