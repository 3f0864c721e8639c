"""Measures of the Bikkle experiment: `python -m benchmarks.bikkle`, about ten minutes on two cores.

`--only stepping original compile` runs the quick ones; `--help` lists all.
"""

import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import numpy as np

from benchmarks.rows import ROOT, Row, as_array, on_all_devices, rates, run_script, seconds_of, stepper, take
from envs.bikkle import PROTOCOLS, Bikkle
from envs.bikkle import scripted as controllers
from envs.bikkle.protocols import protocol_params
from purerl.algorithms.ppo import PPOConfig, make_ppo
from purerl.compile.program import build_program, usable_devices
from purerl.networks import NetworkConfig, make_actor_critic
from purerl.rollout.evaluate import summarize
from purerl.rollout.levels import make_pool
from purerl.rollout.unroll import draw_chance, init_actor, step_environments

SCRIPT = "experiments/ppo_bikkle.py"
CONTROLLERS = ROOT / "envs" / "bikkle" / "controller_returns.json"
FLOORS = {
    ("record", "target"): (25.0, 26.5, 25.94),
    ("record", "uniform"): (22.5, 26.0, 19.38),
    ("record", "none"): (24.0, 26.0, 11.29),
    ("continuing_4", "target"): (23.3, 25.0, 22.7),
    ("continuing_4", "none"): (21.5, 22.5, 22.2),
    ("continuing_16", "target"): (21.0, 26.0, None),
    ("continuing_16", "none"): (20.0, 23.0, None),
}
"""Floor, aim, and what the original (record) or a first sketch (continuing_4) reached."""
FIRST_TOUCH_FLOORS = {"target": (3.7, 4.0, 3.60), "none": (2.5, 2.7, 2.56)}


def stepping() -> list[Row]:
    """The bare arena: 1,024 environments, 4 pellets, tokens, random actions, resets from a pool."""
    num_envs, num_steps = 1024, 1000
    env = Bikkle(max_pellets=4)
    params = as_array(PROTOCOLS["continuing_4"].params)
    local = num_envs // jax.local_device_count()

    def run(keys):
        age_key, pool_key, run_key = jax.random.split(keys[0], 3)
        pool = make_pool(env, params, pool_key, local)
        actor = init_actor(params, pool, age_key, local, stagger=True)

        def step(actor, key):
            act_key, step_key = jax.random.split(key)
            action = jax.random.uniform(act_key, (local, 2), minval=-1.0, maxval=1.0)
            actor, result, _ = step_environments(
                env, params, actor, pool, action, draw_chance(step_key, local)
            )
            return actor, result.reward.sum() + sum(leaf.sum() for leaf in jax.tree.leaves(actor.observation))

        return jax.lax.scan(step, actor, jax.random.split(run_key, num_steps))[1].sum()[None]

    rate = rates(num_envs * num_steps, seconds_of(on_all_devices(run)))
    command = "python -m benchmarks.bikkle --only stepping"
    return [Row.of("arena stepping", rate, "steps/s", 9200, 1e6, 4e6, command)]


def original_network() -> list[Row]:
    """Training at the original's network and sizes: 2,048 samples, 10 epochs x 32 minibatches of 64."""
    net = NetworkConfig(
        width=16,
        num_heads=4,
        num_self_layers=2,
        num_summary_layers=0,
        feed_forward=64,
        activation="gelu",
        shared_encoder=False,
    )
    ppo = PPOConfig(num_envs=64, num_steps=32, num_epochs=10, num_minibatches=32, learning_rate=3e-4)
    rate, seconds = training_rates(4, net, ppo, total_steps=2048 * 40)
    command = "python -m benchmarks.bikkle --only original"
    return [
        Row.of(
            "training, the original's network and epochs", rate, "steps/s", 348, 12 * 348, 40 * 348, command
        ),
        Row("compilation of it", seconds, "s", None, 8, 4, command, lower_is_better=True),
    ]


def training_rates(
    max_pellets: int, net: NetworkConfig, ppo: PPOConfig, total_steps: int
) -> tuple[list[float], float]:
    """Environment steps per second of each chunk but the first, and the seconds of compilation."""
    env = Bikkle(max_pellets)
    params = PROTOCOLS["continuing_4"].params
    network = make_actor_critic(env, params, "attention", net)
    ppo = ppo.replace(env_params=params)
    make = partial(make_ppo, env, network)
    build = partial(build_program, make, ppo, num_devices=usable_devices(make(), ppo))
    program = build(seed=0, num_seeds=1, total_steps=total_steps, target_chunks=8)
    seconds = seconds_of(stepper(program), program.num_chunks - 1)
    return rates(program.steps_per_chunk, seconds), program.compile_seconds


def default_command() -> list[Row]:
    """The experiment as a user runs it, without compiled programs in the cache."""
    command = f"python {SCRIPT}"
    with tempfile.TemporaryDirectory() as room:
        summary, wall = run_script(SCRIPT, Path(room), "run")
    rows = [
        Row("default command, wall time", wall, "s", None, 180, 90, command, lower_is_better=True),
        Row("default command, training", summary["steps_per_second"], "steps/s", None, None, None, command),
    ]
    return rows + return_rows(summary["eval"], command)


def cache() -> list[Row]:
    """Compilation of the training program in a first and in a second run of the same command."""
    options = ("--total-steps", "2e5", "--eval-episodes", "16")
    command = f"python {SCRIPT} {' '.join(options)}"
    with tempfile.TemporaryDirectory() as room:
        summaries = [run_script(SCRIPT, Path(room), name, *options)[0] for name in ("one", "two")]
    seconds = [summary["compile_seconds"] for summary in summaries]
    return [
        Row("compilation, first run", seconds[0], "s", None, 8, 4, command, lower_is_better=True),
        Row(
            "compilation, second run", seconds[1], "s", seconds[0], None, None, command, lower_is_better=True
        ),
    ]


def return_rows(results: dict, command: str) -> list[Row]:
    """The returns of one policy on every protocol that has a floor."""
    rows = []
    for (protocol, gaze), (floor, aim, baseline) in FLOORS.items():
        value = results[protocol][gaze]["mean"]
        rows.append(Row(f"{protocol}, {gaze} gaze", value, "return", baseline, floor, aim, command))
    return rows


def five_seeds() -> list[Row]:
    """How many of five seeds reach every floor, and the lowest return of a seed in each cell."""
    command = f"python {SCRIPT} --num-seeds 5"
    with tempfile.TemporaryDirectory() as room:
        summary, _ = run_script(SCRIPT, Path(room), "seeds", "--num-seeds", "5")
    per_seed = {cell: summary["eval"][cell[0]][cell[1]]["per_seed"] for cell in FLOORS}
    reached = [all(per_seed[cell][seed] >= FLOORS[cell][0] for cell in FLOORS) for seed in range(5)]
    rows = [Row("seeds that reach every floor", sum(reached), "of 5", None, 5, 5, command)]
    for (protocol, gaze), (floor, aim, baseline) in FLOORS.items():
        worst = min(per_seed[protocol, gaze])
        rows.append(
            Row(f"{protocol}, {gaze} gaze, worst of 5 seeds", worst, "return", baseline, floor, aim, command)
        )
    return rows


def first_touch() -> list[Row]:
    """A policy trained where the episode ends at the first touch."""
    options = ("--protocol", "first_touch_4", "--ppo.gamma", "0.97", "--ppo.gae-lambda", "0.93")
    command = f"python {SCRIPT} {' '.join(options)}"
    with tempfile.TemporaryDirectory() as room:
        summary, _ = run_script(SCRIPT, Path(room), "touch", *options)
    cells = summary["eval"]["first_touch_4"]
    return [
        Row(
            f"trained on first_touch_4, {gaze} gaze",
            cells[gaze]["mean"],
            "return",
            baseline,
            floor,
            aim,
            command,
        )
        for gaze, (floor, aim, baseline) in FIRST_TOUCH_FLOORS.items()
    ]


def scripted() -> list[Row]:
    """What the scripted controllers reach on every protocol; also written beside the arena, for reports."""
    returns: dict[str, dict[str, dict]] = {}
    for protocol in ("record", "continuing_4", "continuing_16", "first_touch_4"):
        env, params = Bikkle(PROTOCOLS[protocol].max_pellets), protocol_params(protocol, "target")
        returns[protocol] = {}
        for name in ("random", "nearest_pink", "target_seeker", "best"):
            controller = getattr(controllers, name)
            found = controllers.evaluate_controller(controller, env, params, jax.random.key(0), 2000)
            cell = summarize(np.asarray(found)[None])
            returns[protocol][name] = {key: cell[key] for key in ("mean", "sem", "episodes")}
    command = "python -m benchmarks.bikkle --only scripted"
    CONTROLLERS.write_text(json.dumps({"command": command, "returns": returns}, indent=1) + "\n")
    return [
        Row(f"{protocol}, script {name}", cell["mean"], "return", None, None, None, command)
        for protocol, cells in returns.items()
        for name, cell in cells.items()
    ]


MEASURES: dict[str, Callable[[], list[Row]]] = {
    "stepping": stepping,
    "original": original_network,
    "scripted": scripted,
    "default": default_command,
    "cache": cache,
    "first_touch": first_touch,
    "seeds": five_seeds,
}


if __name__ == "__main__":
    take("bikkle", MEASURES, str(__doc__))
