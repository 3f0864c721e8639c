"""The schedules of the hyperparameters that a population has found."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from purerl.sweep.space import LogUniform, Uniform
from purerl.view.figures import PALE, STRONG, save, steps_below, style


def ancestors(lineage: Sequence[Mapping[str, Any]], member: int) -> list[int]:
    """Who carried the learner that a member ends with, between each line of the lineage and the next."""
    found = [member]
    for line in reversed(lineage[1:]):
        found.append(line["parents"][found[-1]])
    return found[::-1]


def draw_schedules(
    path: Path,
    lineage: Sequence[Mapping[str, Any]],
    ranges: Mapping[str, Uniform],
    best: int,
    env_steps: int,
) -> None:
    """Draws each hyperparameter over environment steps: of all members, and along the line of the best one.

    Args:
        path: the PNG to write.
        lineage: lines of `lineage.jsonl`.
        ranges: of the hyperparameters, by option.
        best: the member whose ancestors are followed.
        env_steps: of the whole run.
    """
    figure = Figure(figsize=(8.5, 2.8 * len(ranges) + 0.3), dpi=120, layout="constrained")
    panels = figure.subplots(len(ranges), 1, squeeze=False)[:, 0]
    steps = np.array([line["env_steps"] for line in lineage] + [env_steps])
    carriers = ancestors(lineage, best)
    for axes, (name, bounds) in zip(panels, ranges.items(), strict=True):
        values = np.array([line["values"][name] for line in lineage])  # [selections, M]
        style(axes, name.rpartition(".")[2].replace("_", " "), large=True)
        if isinstance(bounds, LogUniform):
            axes.set_yscale("log")
        held = np.concatenate([values, values[-1:]])
        axes.step(steps, held, where="post", color=PALE, linewidth=0.7, alpha=0.45)
        along = values[np.arange(len(values)), carriers]
        axes.step(
            steps,
            [*along, along[-1]],
            where="post",
            color=STRONG,
            linewidth=2.2,
            label="the best and its ancestors",
        )
        axes.set_ylim(bounds.low, bounds.high)
        axes.set_xlim(0, env_steps)
        steps_below(axes, 6)
    panels[0].legend(frameon=False, fontsize=8, loc="upper right")
    panels[-1].set_xlabel("environment steps of each member", color=PALE, fontsize=9)
    save(figure, path)
