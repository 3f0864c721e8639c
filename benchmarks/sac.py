"""Measures of SAC: `python -m benchmarks.sac`; `--help` lists them all.

`--only pendulum_64 pendulum_256` are the quick ones.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rows import ROOT, Row, rates, run_script, seconds_of, stepper, take
from purerl.algorithms.sac_config import SACConfig
from purerl.networks.soft_actor_critic import SoftNetworkConfig
from purerl.statistics import interquartile_mean

sys.path.insert(0, str(ROOT / "experiments"))
import sac

SCRIPT, BIKKLE_SCRIPT = "experiments/sac.py", "experiments/sac_bikkle.py"
REJAX_64, SB3_256, SBX_256 = 2040.0, 171.0, 380.0
"""Environment steps per second of peers on two cores of an AMD EPYC, one gradient step for each."""
ONE_BY_ONE = SACConfig(
    num_envs=1, num_iterations=500, num_gradient_steps=1, batch_size=256, capacity=100_000, warmup_steps=500
)
"""One environment, one gradient step for each of its steps."""
TWO_BY_TWO = ONE_BY_ONE.replace(num_envs=2, num_iterations=250, num_gradient_steps=2)
"""As many gradient steps for each environment step, over two devices."""


def training_rates(config: SACConfig, width: int, num_chunks: int) -> list[float]:
    """Environment steps per second on Pendulum once learning has begun, of one chunk after another."""
    options = sac.Config(sac=config, net=SoftNetworkConfig(width=width, head_width=0))
    experiment = sac.build(options)
    program = experiment.build_program(
        seed=0,
        num_seeds=1,
        total_steps=num_chunks * experiment.algorithm.steps_per_update(config),
        num_devices=experiment.num_devices,
        target_chunks=num_chunks,
    )
    call = stepper(program)
    call()  # this chunk is random, and the next one warms up
    return rates(program.steps_per_chunk, seconds_of(call, num_chunks - 2))


def pendulum(width: int, num_chunks: int, baselines: dict[str, tuple[float, float, float]]) -> list[Row]:
    """Rates with one environment on one device, and with two over two; baseline, floor and aim by peer."""
    command = f"python -m benchmarks.sac --only pendulum_{width}"
    found = {
        "1 environment": training_rates(ONE_BY_ONE, width, num_chunks),
        "2 environments": training_rates(TWO_BY_TWO, width, num_chunks),
    }
    return [
        Row.of(f"Pendulum {width}-{width}, {name}, against {peer}", rate, "steps/s", *limits, command)
        for name, rate in found.items()
        for peer, limits in baselines.items()
    ]


def pendulum_64() -> list[Row]:
    """The sizes of rejax: 64-64, batch 256."""
    return pendulum(64, 12, {"rejax": (REJAX_64, 1.3 * REJAX_64, 2.0 * REJAX_64)})


def pendulum_256() -> list[Row]:
    """The sizes of stable-baselines3: 256-256, batch 256."""
    peers = {
        "stable-baselines3": (SB3_256, 2.4 * SB3_256, 3.0 * SB3_256),
        "sbx": (SBX_256, 1.1 * SBX_256, 1.4 * SBX_256),
    }
    return pendulum(256, 8, peers)


def pendulum_return() -> list[Row]:
    """Interquartile mean over ten seeds of 20,000 steps."""
    options = ("--env", "Pendulum-v1", "--num-seeds", "10", "--total-steps", "20000")
    command = f"python {SCRIPT} {' '.join(options)}"
    with tempfile.TemporaryDirectory() as room:
        summary, _ = run_script(SCRIPT, Path(room), "pendulum", *options)
    per_seed = np.array(summary["eval"]["default"]["per_seed"])
    value = float(interquartile_mean(per_seed))
    return [
        Row(
            "Pendulum, 20,000 steps, interquartile mean of 10 seeds",
            value,
            "return",
            -157,
            -165,
            -150,
            command,
        )
    ]


def bikkle() -> list[Row]:
    """The arena with both kinds of action: return on the record protocol, and the time that it took."""
    rows = []
    for action in ("xy", "angle"):
        options = ("--env.action", action)
        command = f"python {BIKKLE_SCRIPT} {' '.join(options)}"
        with tempfile.TemporaryDirectory() as room:
            summary, wall = run_script(BIKKLE_SCRIPT, Path(room), action, *options)
        record: dict[str, Any] = summary["eval"]["record"]
        rows += [
            Row(f"Bikkle {action}, record, {gaze} gaze", record[gaze]["mean"], "return", *limits, command)
            for gaze, limits in {"target": (25.94, 23.0, 26.0), "none": (11.29, None, None)}.items()
        ]
        rows.append(
            Row(f"Bikkle {action}, wall time", wall, "s", None, 600, None, command, lower_is_better=True)
        )
    return rows


MEASURES: dict[str, Callable[[], list[Row]]] = {
    "pendulum_64": pendulum_64,
    "pendulum_256": pendulum_256,
    "pendulum_return": pendulum_return,
    "bikkle": bikkle,
}


if __name__ == "__main__":
    take("sac", MEASURES, str(__doc__))
