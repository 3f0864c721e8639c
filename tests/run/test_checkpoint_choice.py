"""Any checkpoint that was kept can be evaluated and gone on from, and nothing of the run is lost by that."""

import json
import shutil

import pytest
from fake_experiment import Config, build

from purerl.host.errors import UserError
from purerl.run import cli, directory, session

OPTIONS = ("--checkpoint-every-chunks", "5", "--keep-checkpoints", "4", "--num-seeds", "2")
# 160 steps / (2 updates x 4 environments) = 20 chunks: checkpoints after 5, 10, 15 and 20


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "whole"
    with pytest.raises(SystemExit) as stop:
        cli.main(Config, build, argv=[*OPTIONS, "--run-dir", str(run_dir)])
    assert stop.value.code == 0
    return run_dir


@pytest.fixture
def run_dir(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    return tmp_path / "run"


def summary_in(folder):
    return json.loads((folder / directory.SUMMARY_FILE).read_text())


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("by_path", [True, False])
def test_an_earlier_checkpoint_is_evaluated_in_a_folder_of_its_own(run_dir, command, by_path):
    before = contents(run_dir)
    request = (
        [run_dir / directory.CHECKPOINTS / "chunk-00000010"] if by_path else [run_dir, "--checkpoint", "10"]
    )
    code, output, error = command("--eval-only", *request)
    assert (code, error) == (0, "")
    folder = run_dir / "at-chunk-00000010"
    found = summary_in(folder)
    # 10 chunks x 2 updates x 4 environments = 80 steps; the fake evaluation tells how many updates were made
    assert (found["env_steps"], found["eval"]["nested"]["steps"]) == (80, [20, 20])
    assert f"saved in {folder}" in output
    after = contents(run_dir)
    assert {name: after[name] for name in before} == before


def test_a_run_goes_on_from_an_earlier_checkpoint_and_what_came_after_it_is_put_aside(
    run_dir, whole, command
):
    code, output, error = command("--resume", run_dir, "--checkpoint", "10")
    assert (code, error) == (0, "")
    aside = run_dir / "after-chunk-00000010-1"
    assert f"going on from chunk 10; what came after it (2 checkpoints) is now in {aside}" in output
    names = {path.name for path in aside.iterdir()}
    assert names == {"metrics.jsonl", "timing.jsonl", "summary.json", "chunk-00000015", "chunk-00000020"}
    assert (aside / directory.METRICS_FILE).read_bytes() == (whole / directory.METRICS_FILE).read_bytes()
    assert (run_dir / directory.METRICS_FILE).read_bytes() == (whole / directory.METRICS_FILE).read_bytes()
    assert summary_in(run_dir)["eval"] == summary_in(whole)["eval"]
    kept = sorted(path.name for path in (run_dir / directory.CHECKPOINTS).iterdir())
    assert kept == [f"chunk-000000{chunk}" for chunk in ("05", "10", "15", "20")]


def test_the_best_checkpoint_is_kept_and_found(tmp_path, command):
    run_dir = tmp_path / "best"
    options = ("--checkpoint-every-chunks", "1", "--keep-checkpoints", "1", "--keep-best", "--seed", "3")
    assert command(*options, "--run-dir", run_dir)[0] == 0
    lines = [json.loads(line) for line in (run_dir / directory.METRICS_FILE).read_text().splitlines()]
    returns = [line["metrics"]["episode_return"][0] for line in lines]
    best = 1 + max(range(20), key=returns.__getitem__)
    assert best < 20  # a random walk of this seed
    kept = sorted(path.name for path in (run_dir / directory.CHECKPOINTS).iterdir())
    assert kept == [f"chunk-{best:08d}", "chunk-00000020"]
    code, output, _ = command("--eval-only", run_dir, "--checkpoint", "best")
    assert code == 0 and f"after chunk {best}" in output


def test_the_score_is_the_mean_over_chunks_and_seeds_that_have_a_value():
    lines = [{"metrics": {"episode_return": row}} for row in ([1.0, None], [3.0, 8.0], [None, None])]
    assert session.score_of(lines, "episode_return") == 4.0  # (1 + 3 + 8) / 3
    assert session.score_of(lines[2:], "episode_return") is None
    assert session.score_of(lines, "another") is None


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--resume", "RUN", "--checkpoint", "7"), "there is no checkpoint of chunk 7 in"),
        (("--resume", "RUN", "--checkpoint", "7"), "--checkpoint takes last, best or one of 5, 10, 15, 20"),
        (("--resume", "RUN", "--checkpoint", "seven"), "--checkpoint takes last, best or a number of chunks"),
        (
            ("--checkpoint", "7"),
            "--checkpoint says which one of an earlier run; give --resume or --eval-only",
        ),
        (("--eval-only", "RUN/checkpoints/chunk-00000010", "--checkpoint", "5"), "of chunk 10, not 5"),
        (("--eval-only", "RUN/checkpoints/chunk-00000011"), "there is no checkpoint of chunk 11 in"),
    ],
)
def test_what_is_not_there_is_refused_in_one_line(whole, command, arguments, sentence):
    code, output, error = command(*(argument.replace("RUN", str(whole)) for argument in arguments))
    assert (code, output, error.count("\n")) == (2, "", 1)
    assert sentence in error


def test_a_value_out_of_its_range_in_the_configuration_is_refused_as_on_the_command_line(run_dir, command):
    file = run_dir / directory.CONFIG_FILE
    file.write_text(file.read_text().replace('"keep_checkpoints": 4', '"keep_checkpoints": 0'))
    before = contents(run_dir)
    code, _, error = command("--resume", run_dir)
    assert (code, error.count("\n")) == (2, 1)
    assert f"{file}: --keep-checkpoints is 0; it must be at least 1; put the old value back" in error
    assert contents(run_dir) == before


def test_host_options_in_the_configuration_may_be_changed_by_hand(run_dir, command):
    file = run_dir / directory.CONFIG_FILE
    file.write_text(file.read_text().replace('"keep_checkpoints": 4', '"keep_checkpoints": 3'))
    assert command("--resume", run_dir)[0] == 0


def test_an_option_that_decides_what_is_learnt_may_not_even_before_the_first_checkpoint(run_dir, command):
    shutil.rmtree(run_dir / directory.CHECKPOINTS)
    file = run_dir / directory.CONFIG_FILE
    file.write_text(file.read_text().replace('"learning_rate": 0.01', '"learning_rate": 0.02'))
    code, _, error = command("--resume", run_dir)
    assert (code, error.count("\n")) == (2, 1)
    assert f"{file} is not what the run began with" in error


def test_a_folder_in_the_place_of_each_file_is_put_aside(run_dir, whole, command):
    for name in (directory.METRICS_FILE, directory.TIMING_FILE, directory.SUMMARY_FILE):
        (run_dir / name).unlink()
        (run_dir / name).mkdir()
    code, output, error = command("--resume", run_dir)
    assert (code, error) == (0, "")
    assert output.count("what was there is now") == 3
    assert (run_dir / directory.METRICS_FILE).read_bytes() == (whole / directory.METRICS_FILE).read_bytes()
    assert summary_in(run_dir)["eval"] == summary_in(whole)["eval"]


def test_a_damaged_line_is_named_and_the_damaged_file_stays(run_dir, whole, command):
    file = run_dir / directory.METRICS_FILE
    lines = file.read_bytes().split(b"\n")
    file.write_bytes(b"\r\n".join(lines))
    code, output, _ = command("--resume", run_dir)
    assert code == 0
    assert f"warning: {file}, line 1, is not what was written; its 20 lines were put back" in output
    assert (run_dir / "metrics.jsonl.damaged-1").read_bytes() == b"\r\n".join(lines)
    assert file.read_bytes() == (whole / directory.METRICS_FILE).read_bytes()


def test_a_run_of_another_experiment_is_not_gone_on_with(run_dir, command):
    other = lambda config: build(config)._replace(name="other")  # noqa: E731
    code, _, error = command("--resume", run_dir, build=other)
    assert code == 2 and "is of the experiment 'fake', and this is 'other'" in error


def test_the_configuration_of_an_earlier_version_is_refused_by_its_number(run_dir):
    file = run_dir / directory.CONFIG_FILE
    file.write_text(json.dumps({"schema": 1, "config": {}}))
    with pytest.raises(UserError, match="has format 1, this PureRL reads format 3; go on with the version"):
        directory.read_config(run_dir, Config, "--resume")
