"""The maze experiment: what a run leaves, level replay across a crash, answers to wrong requests."""

import json
import shutil

import jax
import numpy as np
import ppo_maze
import pytest

from envs.experiments import maze, maze_report
from envs.maze.named import NAMED
from purerl.run import checkpoint, cli, directory

TINY = [
    "--total-steps=1024", "--num-seeds=2", "--eval-mazes=6", "--net.width=8", "--net.channels=4",
    "--net.num-iterations=4", "--net.head-width=8", "--ppo.num-envs=16", "--ppo.num-steps=8",
    "--ppo.num-epochs=1", "--ppo.num-minibatches=2",
]  # fmt: skip
STATISTICS = {"solve_rate", "optimality", "mazes", "per_seed"}


def command(*options):
    """Runs the script's main; returns its exit code."""
    with pytest.raises(SystemExit) as stop:
        cli.main(ppo_maze.Config, ppo_maze.build, argv=[str(option) for option in options])
    return stop.value.code


def test_a_run_leaves_what_it_promises(tmp_path, capsys):
    assert command("--run-dir", tmp_path / "run", "--network=recurrent", *TINY) == 0
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert left >= {"summary.json", "curves.png", "levels.png", "level_sheet.png", "episode.gif"}
    results = json.loads((tmp_path / "run" / "summary.json").read_text())["eval"]
    assert set(results) == {"size_9", "size_15", "named", *NAMED}
    for name, cell in results.items():
        assert set(cell) >= STATISTICS
        assert cell["mazes"] == (1 if name in NAMED else len(NAMED) if name == "named" else 6)
        np.testing.assert_allclose(cell["solve_rate"], np.mean(cell["per_seed"]))
    assert set(results["size_9"]) == STATISTICS | {"by_difficulty", "by_path_length", "worst_mazes"}
    assert "SixteenRooms" in capsys.readouterr().out


def test_a_crash_changes_nothing_with_level_replay_in_the_state(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    options = [
        "--network=mlp",
        "--curriculum.name=accel",
        "--checkpoint-every-chunks=1",
        "--keep-checkpoints=99",
    ]
    assert command("--run-dir", whole, *options, *TINY) == 0
    # The directory as a crash after the third chunk would have left it.
    shutil.copytree(whole, cut)
    (cut / "summary.json").unlink()
    saved = sorted((cut / directory.CHECKPOINTS).iterdir(), key=lambda path: path.name)
    for path in saved[3:]:
        shutil.rmtree(path)
    assert command("--resume", cut) == 0
    one, other = leaves(whole, cut)
    assert len(one) == len(other) > 40
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (whole / directory.METRICS_FILE).read_bytes() == (cut / directory.METRICS_FILE).read_bytes()


def leaves(*run_dirs):
    """Every array of the newest checkpoint of each run; they have one configuration."""
    config = directory.read_config(run_dirs[0], ppo_maze.Config, "--resume")
    experiment = ppo_maze.build(config)
    shape = experiment.build_program(
        seed=config.seed,
        num_seeds=config.num_seeds,
        total_steps=config.total_steps,
        num_devices=experiment.num_devices,
    ).state_shape
    newest = [checkpoint.latest(run_dir / directory.CHECKPOINTS, pytest.fail) for run_dir in run_dirs]
    return [jax.tree.leaves(checkpoint.snapshot(checkpoint.restore(saved, shape))) for saved in newest]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--env.size=8"], "--env.size is 8; it must be odd and at least 5; try 9"),
        (["--env.size=3"], "--env.size is 3; it must be at least 5"),
        (["--env.distance=1.5"], "distance"),
        (["--env.observation=patch", "--env.patch-size=31"], "--env.patch-size 31 is larger than useful"),
        (["--env.observation=patch", "--network=recurrent"], "recurrent"),
        (["--curriculum.name=plr", "--curriculum.candidate-share=0"], "leaves 0 of"),
        (["--curriculum.name=plr", "--curriculum.score=learnability"], "episodes_per_score"),
        (["--env.novelty=0.9"], "try novelty = 0.5"),
        (["--curriculum.name=lottery"], "--curriculum.name takes"),
        (["--eval-mazes=0"], "--eval-mazes is 0; it must be at least 1"),
    ],
)
def test_a_wrong_request_is_one_line_and_exit_code_2(options, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command(*options) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert sentence in error
    assert not list(tmp_path.iterdir())


def test_the_film_shows_the_episodes_that_the_figures_count(tmp_path, monkeypatch):
    config = ppo_maze.Config(network="mlp", eval_mazes=40)
    experiment = ppo_maze.build(config)
    worlds = experiment.evaluate.func.__self__
    states = jax.eval_shape(experiment.algorithm.init, jax.random.key(0), experiment.algorithm_config)
    draw = np.random.default_rng(0)
    learner = jax.tree.map(lambda leaf: draw.normal(size=leaf.shape).astype(leaf.dtype), states.learner)
    filmed = []
    monkeypatch.setattr(maze_report, "render_episodes", lambda states, params: filmed.append(states))
    monkeypatch.setattr(maze_report, "save_gif", lambda *_: None)
    maze_report.film(worlds, experiment.algorithm.policy, learner, tmp_path / "episode.gif")
    (shown,) = filmed
    layouts = maze.suite(worlds.env, 9, 1.0, 40)
    longest = np.argsort(-np.asarray(layouts.shortest), kind="stable")[: 4 * maze_report.NUM_FILMED : 4]
    learners = jax.tree.map(lambda leaf: leaf[None], learner)
    policy = experiment.algorithm.policy
    counted = maze.play_layouts(worlds.env, policy, learners, layouts, jax.random.key(0))
    ends = np.asarray((shown.agent[-1] == shown.goal[-1]).all(-1))
    np.testing.assert_array_equal(ends, counted.solved[0, longest])
    np.testing.assert_array_equal(shown.time[-1], counted.length[0, longest])


def test_each_seed_of_a_score_draws_mazes_of_its_own_apart_from_the_suite(monkeypatch):
    played = []

    def play(env, policy, learners, layouts, key):
        played.append({walls.tobytes() for walls in np.asarray(layouts.walls)})
        return maze.Episodes(*np.zeros((3, 1, len(layouts.shortest))))

    monkeypatch.setattr(maze, "play_layouts", play)
    experiment = ppo_maze.build(ppo_maze.Config(network="mlp", eval_mazes=30))
    worlds = experiment.evaluate.func.__self__
    for seed in (0, 0, 5):
        worlds.score(experiment.algorithm, None, seed, 30)
    again, first, other = played
    assert again == first
    # Some 450 mazes of this size are held out: of 30, each other draw has two on average, and not half.
    suite = {walls.tobytes() for walls in np.asarray(maze.suite(worlds.env, 9, 1.0, 30).walls)}
    assert max(len(first & other), len(first & suite), len(other & suite)) < 15
