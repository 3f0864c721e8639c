"""Measures of SAC: `python -m benchmarks.sac`; `--help` lists them all.

`--only pendulum_64 pendulum_256` are the quick ones. They run peers by turns with ours, which wants, first,
`sh benchmarks/peers/make.sh NAME`, NAME one of rejax, stable-baselines3 and sbx.
"""

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.beside import Samples, against, by_turns, run_peer, run_rejax
from benchmarks.rows import ROOT, Row, rates, run_script, seconds_of, stepper, take
from purerl.algorithms.sac import SACConfig
from purerl.functional.statistics import interquartile_mean
from purerl.networks.soft_actor_critic import SoftNetworkConfig

sys.path.insert(0, str(ROOT / "experiments"))
import sac

SCRIPT, BIKKLE_SCRIPT = "experiments/sac.py", "experiments/sac_bikkle.py"
ONE_BY_ONE = SACConfig(
    num_envs=1, num_steps=500, num_gradient_steps=1, batch_size=256, buffer_size=100_000, warmup_steps=500
)
"""One environment, one gradient step for each of its steps."""
TWO_BY_TWO = ONE_BY_ONE.replace(num_envs=2, num_steps=250, num_gradient_steps=2)
"""As many gradient steps for each environment step, over two devices."""
REJAX_SETTINGS = {"num_envs": 1, "batch_size": 256, "buffer_size": 10_000, "fill_buffer": 500}
"""rejax's own sizes; its replay is smaller than ours, and the smaller it is, the faster."""


class Peer(NamedTuple):
    """What ours is compared with.

    Attributes:
        measure: runs it.
        recorded: its steps per second on two cores of an AMD EPYC, where it is not installed.
        factors: floor and aim, as multiples of its rate.
    """

    measure: Callable[[], Samples]
    recorded: float
    factors: tuple[float, float]


REJAX = Peer(partial(run_rejax, "sac", "Pendulum-v1", REJAX_SETTINGS, "--steps", "5000"), 2040.0, (1.3, 2.0))
SB3 = Peer(partial(run_peer, "stable-baselines3", "run_sac.py", "stable_baselines3"), 171.0, (2.4, 3.0))
SBX = Peer(partial(run_peer, "sbx", "run_sac.py", "sbx"), 380.0, (1.1, 1.4))


def training_rates(config: SACConfig, width: int) -> Callable[[], Samples]:
    """Environment steps per second on Pendulum once learning has begun, of one chunk after another."""
    options = sac.Config(sac=config, net=SoftNetworkConfig(width=width, head_width=0))
    experiment = sac.build(options)
    program = experiment.build_program(
        seed=0,
        num_seeds=1,
        total_steps=12 * experiment.algorithm.steps_per_update(config),
        num_devices=experiment.num_devices,
        target_chunks=12,
    )
    call = stepper(program)
    call()  # this chunk is random
    return lambda: {"steps_per_second": rates(program.steps_per_chunk, seconds_of(call, 3))}


def pendulum(width: int, peers: dict[str, Peer]) -> list[Row]:
    """Rates with one environment on one device, and with two over two, by turns with those of peers."""
    command = f"python -m benchmarks.sac --only pendulum_{width}"
    ours = {
        "1 environment": training_rates(ONE_BY_ONE, width),
        "2 environments": training_rates(TWO_BY_TWO, width),
    }
    found = by_turns(ours | {name: peer.measure for name, peer in peers.items()})
    rate = {name: samples.get("steps_per_second", []) for name, samples in found.items()}
    rows = []
    for name in ours:
        for rival, (_, recorded, factors) in peers.items():
            title = f"Pendulum {width}-{width}, {name}, against {rival}"
            rows.append(against(title, rate[name], rate[rival], recorded, factors, command))
    return rows


def pendulum_64() -> list[Row]:
    """The sizes of rejax: 64-64, batch 256."""
    return pendulum(64, {"rejax": REJAX})


def pendulum_256() -> list[Row]:
    """The sizes of stable-baselines3: 256-256, batch 256."""
    return pendulum(256, {"stable-baselines3": SB3, "sbx": SBX})


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


def bikkle(action: str) -> list[Row]:
    """The arena with one kind of action: return on the record protocol, and the time that it took."""
    options = ("--env.action", action)
    command = f"python {BIKKLE_SCRIPT} {' '.join(options)}"
    with tempfile.TemporaryDirectory() as room:
        summary, wall = run_script(BIKKLE_SCRIPT, Path(room), action, *options)
    record: dict[str, Any] = summary["eval"]["record"]
    limits = {"target": (25.94, 23.0, 26.0), "none": (11.29, None, None)}
    rows = [
        Row(f"Bikkle {action}, record, {gaze} gaze", record[gaze]["mean"], "return", *numbers, command)
        for gaze, numbers in limits.items()
    ]
    about = {"floor": 600.0, "command": command, "lower_is_better": True}
    return [*rows, Row(f"Bikkle {action}, wall time", wall, "s", **about)]


MEASURES: dict[str, Callable[[], list[Row]]] = {
    "pendulum_64": pendulum_64,
    "pendulum_256": pendulum_256,
    "pendulum_return": pendulum_return,
    "bikkle_xy": partial(bikkle, "xy"),
    "bikkle_angle": partial(bikkle, "angle"),
}


if __name__ == "__main__":
    take("sac", MEASURES, str(__doc__))
