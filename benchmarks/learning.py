"""Learning curves of the algorithms' pages: `python -m benchmarks.learning`, about ten minutes on two cores.

A line is the interquartile mean over seeds, the band its 95 % bootstrap interval (Agarwal et al. 2021,
arXiv:2108.13264), drawn over environment steps as `python -m purerl.report` draws them. Figures go to
`docs/images/`.
"""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.rows import ROOT, Row, run_script, take
from purerl.functional.statistics import bootstrap_interval, interquartile_mean
from purerl.report.comparing import compare
from purerl.report.pictures import draw_curves
from purerl.report.reading import read_runs

FIXED = ("--sac.initial-temperature", "0.2", "--sac.temperature-learning-rate", "0")
PICTURES = ROOT / "docs" / "images"


class Curves(NamedTuple):
    """One figure.

    Attributes:
        script: that trains.
        options: of all runs.
        variants: further options of each run, by name.
    """

    script: str
    options: tuple[str, ...]
    variants: dict[str, tuple[str, ...]]


FIGURES = {
    "dqn_cartpole": Curves(
        "experiments/dqn.py",
        ("--num-seeds", "10"),
        {"default": (), "Huber loss": ("--dqn.huber-delta", "1"), "n = 1": ("--dqn.num-return-steps", "1")},
    ),
    "pqn_breakout": Curves(
        "experiments/dqn.py",
        ("--env", "Breakout-MinAtar", "--algorithm", "pqn", "--network", "image", "--num-seeds", "5"),
        {"1M steps": ("--total-steps", "1e6")},
    ),
    "sac_pendulum": Curves(
        "experiments/sac.py",
        ("--env", "Pendulum-v1", "--num-seeds", "10", "--total-steps", "20000"),
        {"default": (), "temperature 0.2, fixed": FIXED},
    ),
}


def draw(name: str, curves: Curves) -> list[Row]:
    """Trains every variant, draws them, and tells what each reached."""
    rows = []
    with tempfile.TemporaryDirectory() as room:
        for number, (variant, further) in enumerate(curves.variants.items()):
            options = (*curves.options, *further)
            summary, _ = run_script(curves.script, Path(room), str(number), *options)
            per_seed = np.array(summary["eval"]["default"]["per_seed"])
            rows.append(
                Row(
                    f"{name.replace('_', ' ')}, {variant}, interquartile mean of {per_seed.size} seeds",
                    float(interquartile_mean(per_seed)),
                    "return",
                    command=f"python {curves.script} {' '.join(options)}",
                    interval=bootstrap_interval(per_seed),
                )
            )
        runs, _ = read_runs([Path(room) / str(number) for number in range(len(curves.variants))])
        (task, *_), _ = compare(runs, "episode_return")
        groups = [group._replace(seconds=np.full_like(group.seconds, np.nan)) for group in task.groups]
        draw_curves(PICTURES / f"{name}.png", task._replace(groups=tuple(groups)), np.nan)
    return rows


MEASURES: dict[str, Callable[[], list[Row]]] = {
    name: partial(draw, name, curves) for name, curves in FIGURES.items()
}

if __name__ == "__main__":
    take("learning", MEASURES, str(__doc__))
