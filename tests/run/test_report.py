"""A report on whole, unfinished, damaged and mixed runs, and its numbers worked by hand."""

import json
import subprocess
import sys

import numpy as np
import pytest

from purerl.host.errors import UserError
from purerl.report import write_report
from purerl.report.comparing import compare
from purerl.report.reading import read_runs
from purerl.report.scores import final_scores, time_to

GIF = b"GIF89a" + bytes(20) + b";"


def write_run(
    directory, curves, *, rate=0.1, seed=0, experiment="ppo-world", env="World-v0",
    episodes=None, failed=None, score=None, **changes,
):  # fmt: skip
    """A run directory; curves and episodes [C][S], 10 steps and 2 seconds a chunk; failed: seed and chunk."""
    directory.mkdir(parents=True)
    num_seeds = len(curves[0])
    config = {"seed": seed, "num_seeds": num_seeds, "total_steps": 10 * len(curves), "env": env}
    config |= {"run_dir": {"$path": str(directory)}, "ppo": {"learning_rate": rate}} | changes
    (directory / "config.json").write_text(json.dumps({"experiment": experiment, "config": config}))
    lines = [
        {
            "chunk": chunk,
            "env_steps": 10 * chunk,
            "failed_seeds": [failed[0]] if failed and chunk >= failed[1] else [],
            "metrics": {"entropy": values, "episode_return": values},
        }
        for chunk, values in enumerate(curves, 1)
    ]
    for line, counts in zip(lines, episodes or (), strict=False):
        line["episodes"] = counts
    (directory / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    times = [{"chunk": chunk, "seconds": 2.0} for chunk in range(1, len(curves) + 1)]
    (directory / "timing.jsonl").write_text("".join(json.dumps(line) + "\n" for line in times))
    summary = {"seeds": list(range(seed, seed + num_seeds)), "jax": "1.2.3", "device": "abacus"}
    summary["eval"] = {"default": {"per_seed": curves[-1], "mean": 0.0}}
    summary |= {"score": {"per_seed": score}} if score else {}
    (directory / "summary.json").write_text(json.dumps(summary))
    return directory


def rising(*ends, num_chunks=20):
    """Curves that rise linearly from one step to their ends."""
    return [[end * chunk / num_chunks for end in ends] for chunk in range(1, num_chunks + 1)]


def reasons(skipped):
    return {path.name: reason for path, reason in skipped}


def test_runs_that_differ_only_in_seeds_are_one_group_and_worlds_are_apart(tmp_path):
    write_run(tmp_path / "a", rising(1.0, 2.0), seed=0)
    write_run(tmp_path / "b", rising(3.0), seed=2, track="wandb")
    write_run(tmp_path / "c", rising(9.0), rate=0.2)
    write_run(tmp_path / "d", rising(5.0), env="Other-v0")
    found, skipped = read_runs(sorted(tmp_path.iterdir()))
    tasks, _ = compare(found, None)
    assert not skipped
    assert [task.name for task in tasks] == ["World-v0", "Other-v0"]
    assert [group.label for group in tasks[0].groups] == ["learning_rate 0.2", "learning_rate 0.1"]
    assert tasks[0].groups[1].values.shape == (20, 3)
    assert tasks[0].options == {"ppo.learning_rate": ["0.2", "0.1"]}


def test_scores_and_times_are_those_worked_by_hand(tmp_path):
    # The curve ends at 1, 2, 4 and 8; over the last tenth, chunks 19 and 20 of 20, the mean is 39/40 of that.
    # Interquartile mean: (2 + 4) / 2 * 39 / 40. A level of 2 is reached by seeds at never, 20, 10, 5 chunks.
    write_run(tmp_path / "a", rising(1.0, 2.0, 4.0, 8.0))
    (task,), _ = compare(read_runs([tmp_path / "a"])[0], None)
    (score,) = final_scores(task)
    np.testing.assert_allclose(score.mean[0], 3 * 39 / 40)
    (reached,) = time_to(task, 2.0)
    np.testing.assert_array_equal(reached.steps, [np.inf, 200, 100, 50])
    np.testing.assert_array_equal(reached.seconds, [np.inf, 40, 20, 10])
    assert reached.median_steps[0] == 150
    assert reached.median_steps[2] == np.inf


def test_a_seed_that_failed_has_the_lowest_score_and_one_that_has_not_ended_has_none(tmp_path):
    failed = [[value, None if chunk > 10 else value] for chunk, (value, _) in enumerate(rising(4.0, 4.0), 1)]
    write_run(tmp_path / "a", failed, failed=(1, 11))
    write_run(tmp_path / "b", rising(1.0, 1.0), rate=0.2)
    write_run(tmp_path / "c", rising(2.0)[:12], rate=0.3, total_steps=200)
    (task,), _ = compare(read_runs(sorted(tmp_path.iterdir()))[0], None)
    scores = {score.label: score for score in final_scores(task)}
    np.testing.assert_allclose(scores["learning_rate 0.1"].per_seed, [4 * 39 / 40, 39 / 40])
    assert scores["learning_rate 0.1"].num_failed == 1
    assert scores["learning_rate 0.3"].per_seed.size == 0
    assert scores["learning_rate 0.3"].num_unfinished == 1


def test_a_seed_whose_episodes_are_longer_than_a_chunk_has_not_failed(tmp_path):
    # 20 chunks, a tenth is two. Seed 0 ends an episode every third chunk, the last in 18, seed 1 in 19; seed
    # 2 has never ended one, and seed 3 has failed in chunk 20.
    curves = [
        [500.0 if chunk % 3 == 0 else None, 400.0 if chunk == 19 else 0.0 if chunk < 10 else None,
         None, 7.0 if chunk < 20 else None]
        for chunk in range(1, 21)
    ]  # fmt: skip
    write_run(tmp_path / "a", curves, failed=(3, 20))
    write_run(tmp_path / "b", rising(4.0), rate=0.2)
    found = read_runs(sorted(tmp_path.iterdir()))[0]
    (task,), _ = compare(found, None)
    scores = {score.label: score for score in final_scores(task)}
    long, short = scores["learning_rate 0.1"], scores["learning_rate 0.2"]
    np.testing.assert_allclose(long.per_seed, [500.0, 400.0, 4 * 39 / 40])
    assert (long.num_failed, long.num_unscored, long.num_unfinished) == (1, 1, 0)
    assert (short.num_failed, short.num_unscored) == (0, 0)
    assert [run.failed.tolist() for run in found] == [[False, False, False, True], [False]]
    assert task.groups[0].label == "learning_rate 0.1"  # the better one is first


def test_every_episode_of_the_last_tenth_counts_alike(tmp_path):
    # In the last two chunks of 20, nine short episodes of mean 10 and one long one of 20: 11, not 15.
    curves = [[10.0]] * 19 + [[20.0]]
    write_run(tmp_path / "a", curves, episodes=[[9.0]] * 19 + [[1.0]])
    (task,), _ = compare(read_runs([tmp_path / "a"])[0], None)
    np.testing.assert_allclose(final_scores(task)[0].per_seed, [(9 * 10 + 20) / 10])
    # Entropy is a mean over steps, as many in every chunk.
    (task,), _ = compare(read_runs([tmp_path / "a"])[0], "entropy")
    np.testing.assert_allclose(final_scores(task)[0].per_seed, [15.0])


def test_a_seed_without_a_count_of_episodes_leaves_the_weights_of_the_others(tmp_path):
    # Four episodes of mean 10 and 36 of 20 in the last two chunks: 19, not 15. The other seed has failed.
    curves = [[10.0, 1.0]] * 18 + [[10.0, None], [20.0, None]]
    episodes = [[9.0, 9.0]] * 18 + [[4.0, None], [36.0, None]]
    write_run(tmp_path / "a", curves, episodes=episodes, failed=(1, 19))
    (task,), _ = compare(read_runs([tmp_path / "a"])[0], None)
    np.testing.assert_allclose(final_scores(task)[0].per_seed[0], (4 * 10 + 36 * 20) / 40)  # 19


def test_scores_are_of_the_evaluation_where_all_have_one_and_of_training_where_they_have_not(tmp_path):
    write_run(tmp_path / "a", rising(1.0, 2.0), score=[30.0, 50.0])
    write_run(tmp_path / "b", rising(9.0), rate=0.2, score=[20.0])
    found = read_runs(sorted(tmp_path.iterdir()))[0]
    (task,), _ = compare(found, None)
    assert (task.scored_by, task.groups[0].label) == ("evaluation", "learning_rate 0.1")
    assert [score.per_seed.tolist() for score in final_scores(task)] == [[30.0, 50.0], [20.0]]
    for other in (compare(found, None, "training"), compare(found, "episode_return")):
        (task,), _ = other
        assert (task.scored_by, task.groups[0].label) == ("training", "learning_rate 0.2")
        np.testing.assert_allclose(final_scores(task)[0].per_seed, [9 * 39 / 40])
    write_run(tmp_path / "c", rising(5.0), rate=0.3)  # was never evaluated
    (task,), _ = compare(read_runs(sorted(tmp_path.iterdir()))[0], None)
    assert task.scored_by == "training"


def test_a_seed_that_failed_is_the_lowest_though_it_was_evaluated(tmp_path):
    write_run(tmp_path / "a", rising(4.0, 4.0), failed=(1, 15), score=[40.0, 90.0])
    write_run(tmp_path / "b", rising(1.0), rate=0.2, score=[30.0])
    assert not write_report([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    numbers = json.loads((tmp_path / "out" / "report.json").read_text())["World-v0"]
    assert numbers["scored_by"] == "evaluation"
    score = numbers["final_scores"]["learning_rate 0.1"]
    assert (score["per_seed"], score["num_failed"]) == ([40.0, 30.0], 1)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "1 failed" in page and "failed: seed 1" in page


def test_what_is_missing_or_damaged_is_named_and_the_rest_is_used(tmp_path):
    whole = write_run(tmp_path / "whole", rising(1.0, 2.0))
    (whole / "episode.gif").write_bytes(GIF)
    torn = write_run(tmp_path / "torn", rising(2.0), seed=5)
    with (torn / "metrics.jsonl").open("a") as stream:
        stream.write('{"chunk": 21, "env_st')
    (torn / "timing.jsonl").write_text("\0\0\0")
    (torn / "episode.gif").write_bytes(GIF[:-4])
    (torn / "summary.json").unlink()
    lost = write_run(tmp_path / "lost", rising(3.0))
    (lost / "config.json").write_text("[]")
    empty = write_run(tmp_path / "empty", rising(3.0))
    (empty / "metrics.jsonl").write_text('{"chunk": 1}\n7\n')
    other = write_run(tmp_path / "other", rising(3.0), seed=7)
    (other / "metrics.jsonl").write_text(
        (other / "metrics.jsonl").read_text().replace("episode_return", "something")
    )
    again = write_run(tmp_path / "again", rising(1.0, 2.0))
    file = tmp_path / "file"
    file.touch()
    directories = [whole, torn, lost, empty, other, again, file, tmp_path / "nowhere", whole]
    skipped = write_report(directories, tmp_path / "out")
    told = [f"{path.relative_to(tmp_path)}: {reason}" for path, reason in skipped]
    expected = [
        "torn/metrics.jsonl: line 21 of 21 damaged",
        "torn/timing.jsonl: line 1 of 1 damaged",
        "torn/episode.gif: is damaged",
        "torn/summary.json: is missing",
        "lost/config.json: is damaged",
        "empty/metrics.jsonl: lines 1, 2 of 2 damaged",
        "empty: there is no whole line",
        "again: seed 0 is in",
        "again: seed 1 is in",
        "file: is not a directory",
        "nowhere: does not exist",
        "whole: named twice",
    ]
    for sentence in expected:
        assert sum(text.startswith(sentence) for text in told) == 1, (sentence, told)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "data:image/gif;base64" in page and "data:image/png;base64" in page
    assert 'src="data:' in page and "http" not in page
    for path, reason in skipped:
        assert path.name in page and reason.partition(":")[0].partition("'")[0] in page
    numbers = json.loads((tmp_path / "out" / "report.json").read_text())
    assert numbers["World-v0"]["metric"] == "entropy"  # the only one that all have


def test_nothing_to_report_on_is_one_line_and_exit_code_2(tmp_path):
    with pytest.raises(UserError, match="nowhere: does not exist"):
        write_report([tmp_path / "nowhere"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    command = [sys.executable, "-m", "purerl.report", "--thresold", "3"]
    stop = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (stop.returncode, stop.stderr.count("\n")) == (2, 1)
    assert "did you mean --threshold" in stop.stderr


def test_a_sweep_stands_for_its_members(tmp_path):
    for index, rate in enumerate((0.1, 0.2, 0.3)):
        write_run(tmp_path / "sweep" / "members" / f"{index:03d}", rising(1.0, rate), rate=rate)
    assert not write_report([tmp_path / "sweep"], tmp_path / "out", threshold=0.5)
    numbers = json.loads((tmp_path / "out" / "report.json").read_text())["World-v0"]
    assert len(numbers["final_scores"]) == 3
    assert numbers["threshold"] == 0.5
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "report.html", "report.json", "world-v0-curves.png", "world-v0-scores.png",
        "world-v0-improvement.png", "world-v0-time.png",
    }  # fmt: skip
