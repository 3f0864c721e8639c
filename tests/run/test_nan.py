"""A NaN stops the run by name, or leaves one seed behind."""

import json

import numpy as np
import pytest

from purerl.report.reading import read_runs
from purerl.run import directory, loop
from purerl.types import Mean


def lines(run_dir):
    return [json.loads(line) for line in (run_dir / directory.METRICS_FILE).read_text().splitlines()]


def test_a_nan_stops_the_run_and_names_quantity_seed_and_last_good_checkpoint(command, tmp_path):
    # Update 17 is the second of chunk 9; checkpoints are written every 2 chunks.
    code, _, error = command("--run-dir", tmp_path / "run", "--seed", 4, "--nan-at-update", 17)
    assert (code, error.count("\n")) == (1, 1)
    assert "not finite in chunk 9: policy_loss of seed 4" in error
    assert "checkpoints/chunk-00000008" in error
    assert sorted(path.name for path in (tmp_path / "run" / directory.CHECKPOINTS).iterdir()) == [
        "chunk-00000006",
        "chunk-00000008",
    ]
    *before, last = lines(tmp_path / "run")
    assert [line["chunk"] for line in before] == list(range(1, 9))
    assert (last["chunk"], last["failed_seeds"]) == (9, [4])
    assert all(values == [None] for values in last["metrics"].values())
    (found,), _ = read_runs([tmp_path / "run"])
    assert found.failed.tolist() == [True] and found.finished


def test_healthy_seeds_go_on_by_option_and_are_not_changed(command, tmp_path):
    options = ("--num-seeds", 2, "--seed", 4)
    assert command("--run-dir", tmp_path / "healthy", *options)[0] == 0
    broken = tmp_path / "broken"
    nan = ("--nan-at-update", 17, "--keep-going-on-nan")
    code, output, _ = command("--run-dir", broken, *options, *nan)
    assert code == 0
    assert "seed 4 is not finite and was left behind" in output
    assert json.loads((broken / directory.SUMMARY_FILE).read_text())["failed_seeds"] == [4]
    for good, bad in zip(lines(tmp_path / "healthy"), lines(broken), strict=True):
        failed = bad["chunk"] >= 9
        assert bad["failed_seeds"] == ([4] if failed else [])
        for name, values in good["metrics"].items():
            assert bad["metrics"][name] == ([None, *values[1:]] if failed else values)


def test_a_stopped_run_goes_on_without_its_broken_seed(command, tmp_path):
    run_dir = tmp_path / "run"
    assert command("--run-dir", run_dir, "--num-seeds", 2, "--nan-at-update", 17)[0] == 1
    assert command("--resume", run_dir, "--keep-going-on-nan")[0] == 0
    assert command("--resume", run_dir)[0] == 0
    assert json.loads((run_dir / directory.SUMMARY_FILE).read_text())["failed_seeds"] == [0]


def test_a_single_seed_has_nothing_to_go_on_with(command, tmp_path):
    options = ("--nan-at-update", 17, "--keep-going-on-nan")
    code, _, error = command("--run-dir", tmp_path / "run", *options)
    assert code == 1
    assert "policy_loss of seed 0" in error


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_loss_is_named_before_what_follows_from_it(bad):
    healthy = Mean(total=np.array([1.0, 2.0]), weight=np.ones(2))
    broken = Mean(total=np.array([1.0, bad]), weight=np.ones(2))
    totals = {"approx_kl": broken, "policy_loss": broken, "entropy": healthy, "value_loss": broken}
    assert loop.bad_metrics(totals) == {1: "policy_loss"}


def test_parameters_are_checked_even_where_the_metrics_are_finite():
    learner = {"a": np.ones((3, 2), np.float32), "b": np.ones((3, 1), np.float32), "count": np.ones(3, int)}
    learner["b"][2] = np.nan
    assert loop.bad_leaves(learner) == {2: "learner['b']"}


def test_a_mean_without_weight_is_no_value_and_not_a_fault():
    totals = {"episode_return": Mean(total=np.array([0.0, 6.0]), weight=np.array([0.0, 2.0]))}
    assert loop.bad_metrics(totals) == {}
    np.testing.assert_array_equal(loop.means(totals, without=())["episode_return"], [np.nan, 3.0])
