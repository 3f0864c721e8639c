"""Measures of PPO on CartPole, of compiling and of starting: `python -m benchmarks.ppo`.

`rejax`, `seeds` and `compilation` run rejax by turns with ours, which wants, first,
`sh benchmarks/peers/make.sh rejax`.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.beside import Samples, against, by_turns, run_rejax
from benchmarks.rows import ROOT, Row, rates, run_script, seconds_of, stepper, surroundings, take
from purerl.algorithms.ppo import PPOConfig
from purerl.compile.program import Program
from purerl.run.directory import METRICS_FILE

sys.path.insert(0, str(ROOT / "experiments"))
import ppo

SCRIPT, BIKKLE_SCRIPT = "experiments/ppo.py", "experiments/ppo_bikkle.py"
SMALL = PPOConfig(
    num_envs=4,
    num_steps=128,
    num_epochs=4,
    num_minibatches=4,
    microbatch_size=0,
    normalize_rewards=False,
    learning_rate=2.5e-4,
    final_learning_rate=2.5e-4,
)
"""PureJaxRL's sizes, MLP 64-64; rewards are as they come, as with the peer."""
LARGE = SMALL.replace(num_envs=512, num_steps=32)
STEPS = {SMALL: 102_400, LARGE: 491_520}
"""Environment steps in one sample: whole updates."""
RECORDED = {SMALL: (271_000.0, 2.4), LARGE: (333_000.0, 2.9)}
"""Steps per second of rejax on two cores of an AMD EPYC, and seconds of compilation."""
SEEDS_RECORDED = 328_000.0
"""PureJaxRL's sixteen seeds there."""


def sizes(config: PPOConfig) -> str:
    """Environments times steps, as rows name them."""
    return f"{config.num_envs} x {config.num_steps}"


def compiled(config: PPOConfig, **options: Any) -> Program:
    """Five samples of CartPole, as `experiments/ppo.py` compiles them."""
    experiment = ppo.build(ppo.Config(ppo=config))
    settings = {"num_devices": experiment.num_devices, "total_steps": 5 * STEPS[config], "target_chunks": 5}
    return experiment.build_program(**settings | options)


def rates_of(program: Program, num_seeds: int = 1) -> Callable[[], Samples]:
    """A call that runs the next two chunks for the clock, and one before them."""
    call = stepper(program)
    work = num_seeds * program.steps_per_chunk
    return lambda: {"steps_per_second": rates(work, seconds_of(call, 2))}


def peer(config: PPOConfig, *options: str) -> Samples:
    """rejax at the same sizes."""
    settings = {
        name: getattr(config, name) for name in ("num_envs", "num_steps", "num_epochs", "num_minibatches")
    }
    settings |= {"learning_rate": 2.5e-4, "max_grad_norm": 0.5, "agent_kwargs": {"activation": "tanh"}}
    return run_rejax("ppo", "CartPole-v1", settings, "--steps", str(STEPS[config]), *options)


def rejax() -> list[Row]:
    """Steps per second at two sizes, on one device and on as many as the command takes; rejax by turns."""
    command, rows = "python -m benchmarks.ppo --only rejax", []
    for config, (recorded, _) in RECORDED.items():
        programs = {
            program.num_devices: program for program in (compiled(config, num_devices=1), compiled(config))
        }
        calls: dict[Any, Callable[[], Samples]] = {count: rates_of(each) for count, each in programs.items()}
        found = by_turns(calls | {"rejax": partial(peer, config)})
        rate = {name: samples.get("steps_per_second", []) for name, samples in found.items()}
        for count in programs:
            name = f"CartPole {sizes(config)} on {count} device{'s' * (count > 1)}, against rejax"
            rows.append(against(name, rate[count], rate["rejax"], recorded, (1.1, 1.4), command))
    return rows


def seeds() -> list[Row]:
    """Steps per second of sixteen seeds in total, however they are laid out, and rejax's by turns."""
    command = "python -m benchmarks.ppo --only seeds"
    layouts: dict[str, dict[str, Any]] = {
        "looped": {"num_devices": 1},
        "mapped": {"num_devices": 1, "width": 16},
        "dealt out to devices": {"shard": "seeds"},
    }
    ours = {name: rates_of(compiled(SMALL, num_seeds=16, **layout), 16) for name, layout in layouts.items()}
    found = by_turns(ours | {"rejax": partial(peer, SMALL, "--seeds", "16", "--samples", "1")})
    rate = {name: samples.get("steps_per_second", []) for name, samples in found.items()}
    return [
        against(f"16 seeds {name}, total", rate[name], rate["rejax"], SEEDS_RECORDED, (1.1, 1.5), command)
        for name in layouts
    ]


def first_compilation(config: PPOConfig) -> Samples:
    """Compilation of the command in a fresh process, with an empty cache."""
    total_steps = 100 * config.num_envs * config.num_steps  # two updates a chunk, so that the loop is one
    options = ["--total-steps", str(total_steps), "--eval-episodes", "1", "--ppo.no-normalize-rewards"]
    for name in ("num_envs", "num_steps", "num_epochs", "num_minibatches", "microbatch_size"):
        options += [f"--ppo.{name.replace('_', '-')}", str(getattr(config, name))]
    with tempfile.TemporaryDirectory() as room:
        summary, _ = run_script(SCRIPT, Path(room), "run", *options)
    return {"compile_seconds": [summary["compile_seconds"]]}


def compilation() -> list[Row]:
    """Seconds that compilation takes in a fresh process, and rejax's by turns."""
    rows = []
    for config, (_, recorded) in RECORDED.items():
        theirs = partial(peer, config, "--samples", "0")
        found = by_turns({"ours": partial(first_compilation, config), "rejax": theirs})
        ours, theirs = (samples.get("compile_seconds", []) for samples in found.values())
        name, command = f"compilation, {sizes(config)}", "python -m benchmarks.ppo --only compilation"
        about = {"unit": "s", "lower_is_better": True}
        rows.append(against(name, ours, theirs, recorded, (1.0, 0.7), command, **about))
    return rows


def seconds_to_first_update(script: str, room: Path, *options: str) -> float:
    """From the start of a process until the metrics of its first update are on disk; it is ended there."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=room) as run_dir:
        command = [sys.executable, str(ROOT / script), "--run-dir", run_dir, *options]
        metrics = Path(run_dir) / METRICS_FILE
        with subprocess.Popen(command, env=surroundings(room), stdout=subprocess.DEVNULL) as process:
            while process.poll() is None and not (metrics.exists() and metrics.stat().st_size):
                time.sleep(0.005)
            seconds, ended = time.perf_counter() - started, process.poll()
            process.kill()
    if ended is not None:
        raise RuntimeError(f"{script} ended before its first update, with exit code {ended}")
    return seconds


def second_start() -> list[Row]:
    """Seconds from the start of a process to the end of its first update, with a filled compilation cache."""
    rows = []
    for script, update in {SCRIPT: 2048, BIKKLE_SCRIPT: 16_384}.items():
        options = ("--total-steps", str(50 * update))  # a chunk is one update
        with tempfile.TemporaryDirectory() as room:
            measure = partial(seconds_to_first_update, script, Path(room), *options)
            samples = [measure() for _ in range(4)][1:]
        name = f"second start to the first update, {Path(script).stem}"
        command = "python -m benchmarks.ppo --only second_start"
        rows.append(Row.of(name, samples, "s", None, 6, 3.5, command, lower_is_better=True))
    return rows


def imports() -> list[Row]:
    """Seconds that imports take in a fresh process: ours, and jax with flax alone."""
    command = "python -m benchmarks.ppo --only imports"
    needed = "import purerl.run.cli, purerl.algorithms.ppo, purerl.networks, purerl.compile.program"
    statements = {"purerl": "import purerl", "all": needed, "jax": "import jax, flax.linen"}

    def seconds(statement: str) -> Samples:
        call = partial(subprocess.run, [sys.executable, "-c", statement], check=True, cwd=ROOT)
        return {"seconds": seconds_of(call, 1)}

    found = by_turns({name: partial(seconds, statement) for name, statement in statements.items()})
    bare, everything, baseline = (samples["seconds"] for samples in found.values())
    about = {"command": command, "floor": 2.5, "aim": 1.6, "lower_is_better": True}
    return [
        Row.of("import purerl", bare, "s", **about),
        Row.of("imports of PPO, against jax and flax", everything, "s", median(baseline), **about),
    ]


MEASURES: dict[str, Callable[[], list[Row]]] = {
    "rejax": rejax,
    "seeds": seeds,
    "compilation": compilation,
    "second_start": second_start,
    "imports": imports,
}

if __name__ == "__main__":
    take("ppo", MEASURES, str(__doc__))
