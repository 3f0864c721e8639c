"""Measures of training on mazes: `python -m benchmarks.maze_training`; `--help` lists them all."""

import dataclasses
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.rows import ROOT, Row, matmul_gflops, rates, run_script, seconds_by_turns, stepper, take
from purerl.compile.program import Program
from purerl.curriculum import CurriculumOptions
from purerl.networks import NetworkConfig

sys.path.insert(0, str(ROOT / "experiments"))
import ppo_maze

SCRIPT = "experiments/ppo_maze.py"
FILM = ROOT / "docs" / "images" / "maze.gif"
"""Of the run that the figures of the default command are from: picture and figures are renewed together."""
MLP = ("--network", "mlp", "--net.width", "256")
PATCH = (
    *("--env.observation", "patch", "--env.trace", "--env.num-positions", "16"),
    *(*MLP, "--total-steps", "6e6"),
)
SIZE_15 = ("--env.size", "15", "--total-steps", "3e6")
OF_RECORD = dataclasses.replace(
    ppo_maze.Config(),
    network="mlp",
    ppo=dataclasses.replace(
        ppo_maze.Config().ppo, num_epochs=3, num_minibatches=8, microbatch_size=0, learning_rate=1e-3
    ),
    net=NetworkConfig(width=256, num_layers=2, head_width=0),
)
"""The learner of the measure of record: two layers of 256, three epochs."""
FLOP_A_STEP = 2.4e6
"""Operations of that learner for one environment step: a pass to act, three epochs of learning."""
CURRICULA = ("random", "plr", "accel")


def compiled(config: ppo_maze.Config, total_steps: int = 2_000_000) -> Program:
    """The program of a run, in chunks of a few seconds."""
    experiment = ppo_maze.build(config)
    devices = experiment.num_devices
    return experiment.build_program(
        seed=config.seed, num_seeds=1, total_steps=total_steps, num_devices=devices, target_chunks=8
    )


def alternating_rates(programs: dict[str, Program], rounds: int = 6) -> dict[str, list[float]]:
    """Environment steps per second of each program, by turns."""
    seconds = seconds_by_turns({name: stepper(program) for name, program in programs.items()}, rounds)
    return {name: rates(programs[name].steps_per_chunk, each) for name, each in seconds.items()}


def training() -> list[Row]:
    """Training with an MLP of two layers of 256, three epochs, and what matrix products reach meanwhile."""
    command = "python -m benchmarks.maze_training --only training"
    before = matmul_gflops()
    program = compiled(OF_RECORD)
    found = alternating_rates({"mlp": program})["mlp"]
    ceiling = max(before, matmul_gflops())
    return [
        Row.of("training, MLP 256-256, 3 epochs", found, "steps/s", 133e3, 110e3, 150e3, command),
        Row("a matrix product of 2048^3, before or after", ceiling, "GFLOP/s", 463, command=command),
        Row(
            "the training's share of that",
            100 * median(found) * FLOP_A_STEP / ceiling / 1e9,
            "%",
            command=command,
        ),
        Row("compilation of it", program.compile_seconds, "s", command=command, lower_is_better=True),
    ]


def level_share() -> list[Row]:
    """Share of the training time that goes into levels: against a run that never refreshes them."""
    command = "python -m benchmarks.maze_training --only level_share"
    options = {name: CurriculumOptions(name=name) for name in ("fixed", *CURRICULA)}
    programs = {
        name: compiled(dataclasses.replace(OF_RECORD, curriculum=each), total_steps=500_000)
        for name, each in options.items()
    }
    found = alternating_rates(programs)
    shares = {
        name: [100 * (1 - own / fixed) for own, fixed in zip(found[name], found["fixed"], strict=True)]
        for name in CURRICULA
    }
    return [
        Row.of(
            f"share of training time spent on levels, {name}",
            shares[name],
            "%",
            None,
            10,
            3,
            command,
            lower_is_better=True,
        )
        for name in CURRICULA
    ]


def solving(
    options: tuple[str, ...], suite: str, label: str, floor: float, aim: float, film: Path | None = None
) -> list[Row]:
    """What a run of the experiment reaches on held-out mazes, and its wall time; `film` gets its film."""
    command = " ".join(["python", SCRIPT, *options])
    with tempfile.TemporaryDirectory() as room:
        summary, wall = run_script(SCRIPT, Path(room), "run", *options)
        if film is not None:
            shutil.copy(Path(room) / "run" / "episode.gif", film)
    cell = summary["eval"][suite]
    return [
        Row(f"{label}, solved", 100 * cell["solve_rate"], "%", None, floor, aim, command),
        Row(f"{label}, optimality", cell["optimality"], "", None, 0.98, 0.999, command),
        Row(f"{label}, wall time", wall, "s", command=command, lower_is_better=True),
        Row(f"{label}, training", summary["steps_per_second"], "steps/s", command=command),
    ]


MEASURES: dict[str, Callable[[], list[Row]]] = {
    "training": training,
    "level_share": level_share,
    "default": partial(solving, (), "size_9", "9 x 9, default command", 97, 99.9, FILM),
    "patch": partial(solving, PATCH, "size_9", "9 x 9, patch of 5 x 5 and positions", 90, 99),
    "size_15": partial(solving, SIZE_15, "size_15", "15 x 15", 60, 95),
}

if __name__ == "__main__":
    take("maze_training", MEASURES, str(__doc__))
