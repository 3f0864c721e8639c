"""Sweeps from the command line to the table: what is drawn, laid out, written, resumed and refused."""

import csv
import json
from pathlib import Path

import jax
import numpy as np
import pytest
import tracking_experiment
from rich.console import Console
from tracking_experiment import Config, build

from purerl.host import errors
from purerl.host.errors import UserError
from purerl.run import checkpoint, directory
from purerl.sweep import Choice, LogUniform, SweepOptions, Uniform, resume, sweep
from purerl.sweep.command import read_command
from purerl.sweep.probe import Width, members_in_memory
from purerl.sweep.settings import buckets, make_members, rows
from purerl.sweep.space import draw, parse_values

SCRIPT = str(Path(tracking_experiment.__file__))
RATES = {"tracker.rate": LogUniform(1e-3, 1e-1)}
QUIET = Console(quiet=True)


def members_of(settings, config=None):
    return make_members(config or Config(), build, settings)


def member_files(run_dir, name=directory.METRICS_FILE):
    """Contents by number of the member."""
    return {path.name[-4:]: (path / name).read_bytes() for path in sorted((run_dir / "members").iterdir())}


def run_sweep(run_dir, space=None, config=None, **options):
    given = {"num_members": 5, "width": 1} | options
    config = (config or Config(num_seeds=2)).__class__(
        **((config or Config(num_seeds=2)).__dict__ | {"run_dir": run_dir})
    )
    return sweep(config, build, space or RATES, SweepOptions(**given), QUIET)


def test_what_is_drawn_stays_in_its_range_and_fills_it():
    space = {"a": LogUniform(1e-4, 1e-1), "b": Uniform(-1.0, 1.0), "c": Choice(("x", "y", "z"))}
    for sampler in ("random", "sobol"):
        drawn = draw(space, sampler, 64, seed=3)
        shares = [np.log(setting["a"] / 1e-4) / np.log(1e3) for setting in drawn]
        assert min(shares) >= 0 and max(shares) <= 1
        assert all(-1 <= setting["b"] <= 1 for setting in drawn)
        assert {setting["c"] for setting in drawn} == {"x", "y", "z"}
        assert drawn == draw(space, sampler, 64, seed=3) != draw(space, sampler, 64, seed=4)
        if sampler == "sobol":  # of 64 points of a net, every sixteenth of the range holds exactly four
            np.testing.assert_array_equal(np.histogram(shares, 16, (0, 1))[0], 4)


def test_a_grid_has_every_combination_with_the_ends():
    space = {"a": parse_values("a", "log:1e-4:1e-2:3"), "b": parse_values("b", "0.9,0.99")}
    found = [(setting["a"], setting["b"]) for setting in draw(space, "auto", 0, seed=0)]
    expected = [(a, b) for a in (1e-4, 1e-3, 1e-2) for b in ("0.9", "0.99")]
    np.testing.assert_allclose([a for a, _ in found], [a for a, _ in expected], rtol=1e-12)
    assert [b for _, b in found] == [b for _, b in expected]


def test_members_that_differ_in_data_share_a_program_and_others_do_not():
    config = Config(num_seeds=3, seed=7)
    members = members_of(
        [
            {"tracker.rate": rate, "tracker.width": width, "scale": scale}
            for rate, width, scale in ((0.1, 1, 1.0), (0.2, 2, 1.0), (0.3, 1, 1.0), (0.4, 1, 2.0))
        ],
        config,
    )
    together = buckets(members)
    assert [[member.number for member in bucket] for bucket in together] == [[0, 2], [1], [3]]
    found = rows(together[0], together[0])
    assert found.seeds == [7, 8, 9] * 2
    np.testing.assert_allclose(found.varied["rate"], [0.1] * 3 + [0.3] * 3)
    assert set(found.varied) == {"rate"}


def test_members_of_one_text_share_a_program_though_their_option_is_no_leaf():
    # `seconds` would be an option that the program never sees; here the scale is the same number twice.
    members = members_of([{"scale": 1.0, "tracker.rate": 0.1}, {"scale": 1, "tracker.rate": 0.1}])
    assert len(buckets(members)) == 1


def test_groups_are_as_equal_as_can_be_and_fit_into_memory(monkeypatch):
    width = Width(width=2, bytes_of_state=100, bytes_of_work=50, seconds={})
    # 0.7 * 2500 - 2 * 50 = 1650 bytes for states; two copies of two seeds take 400 each: 4 members.
    monkeypatch.setattr("purerl.sweep.probe.available_memory", lambda: 2500)
    assert members_in_memory(width, num_members=9, num_seeds=2, chosen=0) == 3
    assert members_in_memory(width, num_members=4, num_seeds=2, chosen=0) == 4
    assert members_in_memory(width, num_members=9, num_seeds=2, chosen=5) == 5


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("whole") / "sweep"
    return run_dir, run_sweep(run_dir, width=0)


def test_a_sweep_leaves_what_it_promises_and_finds_the_best(whole):
    run_dir, scores = whole
    names = {path.name for path in run_dir.iterdir()}
    assert names == {
        "sweep.json", "members", "groups", "results.csv", "results.json", "curves.png", "parallel.png"
    }  # fmt: skip
    layout = json.loads((run_dir / "sweep.json").read_text())["layout"]
    assert layout["width"] in (1, 4, 10)
    assert layout["seconds_of_an_update_by_width"]
    table = list(csv.DictReader((run_dir / "results.csv").open()))
    means = [float(row["interquartile_mean"]) for row in table]
    assert means == sorted(means, reverse=True) and len(means) == 5
    # What a rate gains in all is the sum of a bell over the moving optimum: most in the middle of the range.
    known = {row["member"]: sum(gains(float(row["tracker.rate"]))) for row in table}
    assert max(known, key=known.get) in [row["member"] for row in table[:2]]
    assert [score.mean[0] for score in scores] == means
    for member in (run_dir / "members").iterdir():
        assert {path.name for path in member.iterdir()} == {
            "config.json", "metrics.jsonl", "timing.jsonl", "summary.json"
        }  # fmt: skip
        lines = (member / "metrics.jsonl").read_text().splitlines()
        assert len(lines) == 50
        assert len(json.loads(lines[0])["metrics"]["episode_return"]) == 2


def gains(rate):
    return [float(tracking_experiment.gain(rate, t / 100)) for t in range(100)]


@pytest.fixture(scope="module")
def grouped(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("grouped") / "sweep"
    run_sweep(run_dir, group_size=2)
    return run_dir


def test_seeds_dealt_to_cores_are_swept_one_after_another(tmp_path):
    if len(jax.devices()) < 2:
        pytest.skip("one device only")
    config = Config(num_seeds=2, shard="seeds")
    with pytest.raises(UserError, match="leave --width 4 out"):
        run_sweep(tmp_path / "mapped", config=config, width=4)
    found = run_sweep(tmp_path / "looped", config=config, width=0)
    assert len(found) == 5
    assert json.loads((tmp_path / "looped" / "sweep.json").read_text())["layout"]["width"] == 1


def test_grouping_changes_neither_what_is_drawn_nor_what_is_learned(whole, grouped):
    parts, together = member_files(grouped), member_files(whole[0])
    assert set(parts) == set(together)
    for number, content in parts.items():
        for line, other in zip(content.splitlines(), together[number].splitlines(), strict=True):
            values, others = json.loads(line), json.loads(other)
            np.testing.assert_allclose(
                values["metrics"]["episode_return"], others["metrics"]["episode_return"], rtol=1e-5, atol=1e-6
            )


class Killed(BaseException):
    pass


@pytest.mark.parametrize("num_saves", [1, 13])
def test_a_killed_sweep_ends_with_the_same_bits_when_it_is_resumed(grouped, tmp_path, monkeypatch, num_saves):
    save, count = checkpoint.save, 0

    def save_until_killed(*arguments, **named):
        nonlocal count
        count += 1
        if count > num_saves:
            raise Killed
        return save(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", save_until_killed)
        with pytest.raises(Killed):
            run_sweep(tmp_path / "sweep", group_size=2)
    assert not (tmp_path / "sweep" / "results.csv").exists()
    resume(tmp_path / "sweep", Config, build, QUIET)
    assert member_files(grouped) == member_files(tmp_path / "sweep")
    assert (grouped / "results.csv").read_text() == (tmp_path / "sweep" / "results.csv").read_text()
    for group in ("0001", "0002", "0003"):
        one, other = (
            checkpoint.latest(run_dir / "groups" / group, pytest.fail)
            for run_dir in (grouped, tmp_path / "sweep")
        )
        arrays = [checkpoint._read_arrays(found.path / "arrays", leaves(found)) for found in (one, other)]
        for left, right in zip(*arrays, strict=True):
            np.testing.assert_array_equal(left, right)


def leaves(saved):
    return [np.zeros(leaf["shape"] or (1,)) for leaf in saved.manifest["leaves"]]


def test_a_member_that_fails_is_left_behind_and_comes_last(tmp_path):
    space = {"tracker.bonus": Choice((0.0, 1e38, 0.5))}
    scores = run_sweep(tmp_path / "sweep", space, num_members=0)
    assert [score.label.partition(":")[0] for score in scores] == ["2", "0", "1"]
    assert scores[-1].num_failed == 2
    summary = next((tmp_path / "sweep" / "members").glob("*-0001")) / "summary.json"
    assert json.loads(summary.read_text())["failed_seeds"] == [0, 1]


def test_every_member_may_fail(tmp_path):
    scores = run_sweep(tmp_path / "sweep", {"tracker.bonus": Choice((1e38, 2e38))}, Config(), num_members=0)
    assert [score.num_failed for score in scores] == [1, 1]


def scored(config, calls=None):
    """The experiment with an evaluation that is the opposite of what training told."""

    def score(learners, seed, num_episodes):
        if calls is not None:
            calls.append((len(learners["skill"]), seed, num_episodes))
        return -learners["skill"].mean(1)

    return build(config)._replace(score=score)


def test_members_are_scored_by_a_greedy_evaluation_in_one_call_or_by_returns_where_that_is_asked_for(
    tmp_path,
):
    calls = []
    config = Config(num_seeds=2, seed=3, run_dir=tmp_path / "sweep")
    by_evaluation = sweep(
        config, lambda config: scored(config, calls), RATES, SweepOptions(num_members=3), QUIET
    )
    assert calls == [(6, 3, 100)]
    results = json.loads((tmp_path / "sweep" / "results.json").read_text())
    assert results["scored_by"] == "evaluation"
    assert all(score.mean[0] < 0 for score in by_evaluation)
    config = Config(num_seeds=2, seed=3, run_dir=tmp_path / "other")
    options = SweepOptions(num_members=3, score_episodes=0)
    by_training = sweep(config, lambda config: scored(config, calls), RATES, options, QUIET)
    assert len(calls) == 1
    assert json.loads((tmp_path / "other" / "results.json").read_text())["scored_by"] == "training"
    assert all(score.mean[0] > 0 for score in by_training)
    for scores in (by_training, by_evaluation):  # best first
        means = [score.mean[0] for score in scores]
        assert means == sorted(means, reverse=True)


def test_members_of_several_worlds_are_evaluated_apart(tmp_path):
    calls = []
    space = {"scale": Choice((1.0, 2.0)), "tracker.rate": Choice((0.01, 0.02))}
    config = Config(run_dir=tmp_path / "sweep")
    sweep(config, lambda config: scored(config, calls), space, SweepOptions(), QUIET)
    assert [rows for rows, *_ in calls] == [2, 2]  # two rates in each of two worlds


@pytest.mark.parametrize("length", [3, 7, 40])
def test_episodes_longer_than_a_chunk_are_no_failure(tmp_path, length):
    # Two updates a chunk, 100 updates: the last episode of 7 updates ends with update 98, before the last
    # chunk; of 40, with update 80, before the last tenth.
    config = Config(tracker=Config().tracker.replace(episode_length=length, noise=0.0))
    scores = run_sweep(tmp_path / "sweep", config=config, num_members=3)
    last = json.loads(member_files(tmp_path / "sweep")["0000"].splitlines()[-1])
    assert (last["metrics"]["episode_return"] == [None]) == (length != 3) and last["failed_seeds"] == []
    for score in scores:
        assert (score.num_failed, score.num_unscored) == (0, 0)
        assert np.isfinite(score.per_seed).all()
    table = list(csv.DictReader((tmp_path / "sweep" / "results.csv").open()))
    told = {row["member"]: row for row in table}
    for number, text in member_files(tmp_path / "sweep").items():
        returns = [json.loads(line)["metrics"]["episode_return"][0] for line in text.splitlines()]
        last_told = [value for value in returns[-5:] if value is not None] or [
            next(value for value in returns[::-1] if value is not None)
        ]
        row = told[str(int(number))]
        np.testing.assert_allclose(float(row["interquartile_mean"]), np.mean(last_told), rtol=1e-6)
        assert row["failed"] == "0"


def test_the_failed_seeds_of_members_and_the_failed_of_the_table_are_the_same(tmp_path):
    space = {"tracker.bonus": Choice((0.0, 1e38, 0.5))}
    config = Config(num_seeds=2, tracker=Config().tracker.replace(episode_length=40))
    run_sweep(tmp_path / "sweep", space, config, num_members=0)
    summaries = member_files(tmp_path / "sweep", "summary.json")
    failed = {str(int(number)): len(json.loads(text)["failed_seeds"]) for number, text in summaries.items()}
    table = csv.DictReader((tmp_path / "sweep" / "results.csv").open())
    assert {row["member"]: int(row["failed"]) for row in table} == failed == {"0": 0, "1": 2, "2": 0}


def test_wandb_follows_each_member_as_a_run_of_its_own(tmp_path, monkeypatch):
    opened, written = [], []

    def open_sink(kind, run_dir, config, env_steps):
        opened.append((kind, run_dir.name, config["tracker"]["rate"]))
        sink = lambda env_steps, values: written.append((run_dir.name, env_steps))  # noqa: E731
        return type("Sink", (), {"write": staticmethod(sink), "close": staticmethod(lambda: None)})

    monkeypatch.setattr("purerl.view.sinks.open_sink", open_sink)
    run_sweep(tmp_path / "sweep", config=Config(track="wandb"), num_members=2)
    assert [kind for kind, *_ in opened] == ["wandb"] * 2
    assert len({name for _, name, _ in opened}) == len({rate for *_, rate in opened}) == 2
    assert len(written) == 2 * 50


def test_the_command_line_is_that_of_the_experiment_with_what_is_swept():
    command = read_command(
        SweepOptions,
        "",
        [SCRIPT, "--num-seeds", "4", "--sweep.tracker.rate", "log:1e-3:1e-1", "--num-members=8",
         "--sweep.tracker.width=1,2", "--tracker.noise", "0.5"],
    )  # fmt: skip
    assert command.space == {"tracker.rate": LogUniform(1e-3, 1e-1), "tracker.width": Choice(("1", "2"))}
    assert (command.config.num_seeds, command.config.tracker.noise) == (4, 0.5)
    assert command.options.num_members == 8


@pytest.mark.parametrize(
    ("space", "options", "sentence"),
    [
        ({}, {}, "there is nothing to sweep"),
        ({"tracker.rat": Choice(("1",))}, {}, "did you mean --tracker.rate"),
        ({"tracker.width": Choice(("few",))}, {}, "takes a whole number, not 'few'"),
        ({"tracker.rate": LogUniform(0.0, 1.0)}, {}, "must be above 0"),
        ({"tracker.rate": Uniform(2.0, 1.0)}, {}, "the second must be larger"),
        ({"tracker.rate": Uniform(0.1, 1.0)}, {"num_members": 0}, "--num-members says how many"),
        ({"tracker.rate": Choice((0.1,))}, {"sampler": "grid"}, "leave --num-members out"),
        ({"tracker.rate": Uniform(-1.0, 1.0)}, {}, "rate -"),
    ],
)
def test_a_wrong_sweep_is_one_line_before_anything_is_written(tmp_path, space, options, sentence):
    with pytest.raises(UserError) as error:
        sweep(
            Config(run_dir=tmp_path / "sweep"),
            build,
            space,
            SweepOptions(**{"num_members": 3} | options),
            QUIET,
        )
    assert sentence in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "sweep").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--num-members=2"], "the first argument is the file of an experiment"),
        (["no.py"], "does not exist"),
        ([errors.__file__], "is no experiment"),
        ([SCRIPT, "--sweep.tracker.rate"], "takes log:LOW:HIGH"),
        ([SCRIPT, "--sweep.tracker.rate", "log:1"], "takes log:LOW:HIGH"),
        ([SCRIPT, "--num-membrs=2"], "did you mean --num-members"),
    ],
)
def test_a_wrong_command_is_one_line(arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        read_command(SweepOptions, "", arguments)
