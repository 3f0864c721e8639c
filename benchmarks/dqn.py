"""Measures of DQN and PQN: `python -m benchmarks.dqn`, about half an hour on two cores.

`--only purejaxrl capacity` runs the quick ones. `rejax` wants `sh benchmarks/peers/make.sh rejax` first.
"""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import gymnax
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.beside import against, by_turns, run_rejax
from benchmarks.rows import Row, rates, run_script, seconds_by_turns, seconds_of, stepper, take
from purerl.algorithms.dqn import DQNConfig, make_dqn
from purerl.compile.program import Program, build_program
from purerl.functional.statistics import bootstrap_interval, interquartile_mean
from purerl.networks import QNetworkConfig, make_q_network

PUREJAXRL = DQNConfig(
    num_envs=10,
    num_gradient_steps=1,
    batch_size=128,
    buffer_size=10_000,
    warmup_steps=10_000,
    double=False,
    learning_rate=2.5e-4,
    target_every=50,
    huber_delta=float("inf"),
)
"""PureJaxRL's sizes: a gradient step for every ten steps of the environment, MLP 120-84."""
REJAX = DQNConfig(
    num_envs=10,
    num_gradient_steps=5,
    batch_size=100,
    buffer_size=50_000,
    warmup_steps=5_000,
    learning_rate=1e-3,
    target_every=100,
)
"""rejax's sizes: five gradient steps for every ten steps of the environment, MLP 64-64."""
REJAX_NET = QNetworkConfig(width=64, num_layers=2, head_width=0, activation="silu")
REJAX_SETTINGS = {
    "num_envs": 10,
    "num_epochs": 5,
    "batch_size": 100,
    "buffer_size": 50_000,
    "fill_buffer": 5_000,
    "learning_rate": 1e-3,
}
"""The same in rejax's words; its target network moves a little at each step."""


def compiled(config: DQNConfig, net: QNetworkConfig, total_steps: int, **options: Any) -> Program:
    """DQN on CartPole, in five chunks."""
    env, params = gymnax.make("CartPole-v1")
    network = make_q_network(env, params, "mlp", net)
    config = config.replace(env_params=params)
    settings = {"seed": 0, "num_seeds": 1, "total_steps": total_steps, "target_chunks": 5} | options
    return build_program(partial(make_dqn, env, network), config, **settings)


def purejaxrl() -> list[Row]:
    """Updates per second over the rate of the largest matrix product in them, both taken by turns."""
    command = "python -m benchmarks.dqn --only purejaxrl"
    program = compiled(PUREJAXRL, QNetworkConfig(), 500_000)
    product = jax.jit(lambda a, b: a @ b)
    a, b = jnp.ones((128, 120)), jnp.ones((120, 84))
    repeats = 2000

    def products():  # results are dropped, so that their memory is used again
        for _ in range(repeats):
            result = product(a, b)
        return result

    seconds = seconds_by_turns({"train": stepper(program), "product": products}, 15)
    steps = rates(program.steps_per_chunk, seconds["train"])
    gigaflops = 2 * 128 * 120 * 84 * repeats / median(seconds["product"]) / 1e9
    updates = [each / 10 / gigaflops for each in steps]
    return [
        Row.of("DQN CartPole, PureJaxRL's sizes", steps, "steps/s", command=command),
        Row.of("updates per GFLOP of a 128 x 120 x 84 product", updates, "", 71, 78, 95, command),
        Row("compilation of it", program.compile_seconds, "s", command=command, lower_is_better=True),
    ]


def rejax() -> list[Row]:
    """Steps per second at rejax's sizes, and rejax by turns; both once learning has begun."""
    command = "python -m benchmarks.dqn --only rejax"
    call = stepper(program := compiled(REJAX, REJAX_NET, 100_000))
    calls = {
        "ours": lambda: {"steps_per_second": rates(program.steps_per_chunk, seconds_of(call, 2))},
        "rejax": lambda: run_rejax("dqn", "CartPole-v1", REJAX_SETTINGS, "--steps", "20000"),
    }
    ours, theirs = (samples.get("steps_per_second", []) for samples in by_turns(calls).values())
    return [against("DQN CartPole, rejax's sizes", ours, theirs, 7_000, (2.5, 5.0), command)]


def capacity() -> list[Row]:
    """Time of training with a replay of 10^6 over that with one of 10^4."""
    command = "python -m benchmarks.dqn --only capacity"
    programs = {
        str(size): compiled(PUREJAXRL.replace(buffer_size=size), QNetworkConfig(), 200_000)
        for size in (10_000, 1_000_000)
    }
    seconds = seconds_by_turns({name: stepper(program) for name, program in programs.items()}, 5)
    ratio = [large / small for small, large in zip(*seconds.values(), strict=True)]
    return [
        Row.of(
            "step time, capacity 10^6 over 10^4", ratio, "", None, 1.1, 1.02, command, lower_is_better=True
        )
    ]


def seeds() -> list[Row]:
    """Steps per second of eight seeds in total, however they are laid out, against one."""
    command = "python -m benchmarks.dqn --only seeds"
    programs = {
        "one": compiled(PUREJAXRL, QNetworkConfig(), 100_000),
        "looped": compiled(PUREJAXRL, QNetworkConfig(), 100_000, num_seeds=8, width=1),
        "mapped": compiled(PUREJAXRL, QNetworkConfig(), 100_000, num_seeds=8, width=8),
        "dealt out to devices": compiled(PUREJAXRL, QNetworkConfig(), 100_000, num_seeds=8, shard="seeds"),
    }
    seconds = seconds_by_turns({name: stepper(program) for name, program in programs.items()}, 5)
    found = {
        name: rates(program.steps_per_chunk * (1 if name == "one" else 8), seconds[name])
        for name, program in programs.items()
    }
    one = median(found.pop("one"))
    return [
        Row.of(f"8 seeds {name}, total", value, "steps/s", one, one, 1.3 * one, command)
        for name, value in found.items()
    ]


def cartpole() -> list[Row]:
    """Ten seeds of the default command."""
    options = ("--num-seeds", "10")
    command = "python experiments/dqn.py --num-seeds 10"
    with tempfile.TemporaryDirectory() as room:
        summary, wall = run_script("experiments/dqn.py", Path(room), "run", *options)
    cell = summary["eval"]["default"]
    middle = float(interquartile_mean(np.asarray(cell["per_seed"])))
    return [
        Row("CartPole, 10 seeds, interquartile mean", middle, "return", None, 475, 495, command),
        Row("CartPole, 10 seeds, worst", min(cell["per_seed"]), "return", command=command),
        Row("CartPole, 10 seeds, wall time", wall, "s", command=command, lower_is_better=True),
    ]


def prioritized() -> list[Row]:
    """Ten seeds with prioritized replay; against another commit, take both checkouts by turns."""
    options = ("--dqn.prioritized", "--num-seeds", "10")
    command = " ".join(["python experiments/dqn.py", *options])
    with tempfile.TemporaryDirectory() as room:
        summary, wall = run_script("experiments/dqn.py", Path(room), "run", *options)
    returns = np.asarray(summary["eval"]["default"]["per_seed"])
    low, high = map(float, bootstrap_interval(returns))
    middle = float(interquartile_mean(returns))
    name = "CartPole, prioritized, 10 seeds"
    return [
        Row(f"{name}, interquartile mean", middle, "return", command=command, interval=(low, high)),
        Row(f"{name}, wall time", wall, "s", command=command, lower_is_better=True),
    ]


def maze(algorithm: str) -> list[Row]:
    """One of both learners in mazes; that with a replay needs more steps."""
    options = ("--algorithm", algorithm) + (("--total-steps", "8e6") if algorithm == "dqn" else ())
    command = " ".join(["python experiments/dqn_maze.py", *options])
    with tempfile.TemporaryDirectory() as room:
        summary, wall = run_script("experiments/dqn_maze.py", Path(room), "run", *options)
    solved = 100 * summary["eval"]["size_9"]["solve_rate"]
    about = {"command": command, "lower_is_better": True}
    return [
        Row(f"9 x 9 mazes, {algorithm}, solved", solved, "%", None, 90, 99, command),
        Row(f"9 x 9 mazes, {algorithm}, wall", wall, "s", None, 600, None, **about),
    ]


def breakout() -> list[Row]:
    """PQN on a small picture."""
    options = (
        "--env",
        "Breakout-MinAtar",
        "--algorithm",
        "pqn",
        "--network",
        "image",
        "--total-steps",
        "1e6",
    )
    command = " ".join(["python experiments/dqn.py", *options])
    with tempfile.TemporaryDirectory() as room:
        summary, wall = run_script("experiments/dqn.py", Path(room), "run", *options)
    return [
        Row(
            "MinAtar Breakout, PQN, 1M steps",
            summary["eval"]["default"]["mean"],
            "return",
            None,
            8,
            15,
            command,
        ),
        Row("MinAtar Breakout, PQN, wall time", wall, "s", None, 180, 60, command, lower_is_better=True),
    ]


MEASURES: dict[str, Callable[[], list[Row]]] = {
    "purejaxrl": purejaxrl,
    "rejax": rejax,
    "capacity": capacity,
    "seeds": seeds,
    "cartpole": cartpole,
    "prioritized": prioritized,
    "maze_pqn": partial(maze, "pqn"),
    "maze_dqn": partial(maze, "dqn"),
    "breakout": breakout,
}

if __name__ == "__main__":
    take("dqn", MEASURES, str(__doc__))
