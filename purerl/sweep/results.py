"""What a sweep has found: a table of the members, best first, and pictures."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from purerl.host import files, printing
from purerl.host.errors import TrainingError, one_line
from purerl.report.comparing import Task, group_of, what_scores
from purerl.report.pictures import draw_curves
from purerl.report.reading import read_runs
from purerl.report.scores import Score, final_scores
from purerl.run.directory import CONFIG_FILE
from purerl.sweep.parallel import draw_parallel
from purerl.sweep.settings import Member
from purerl.sweep.space import in_words, label

_ROWS = 10
_TITLES = {
    "evaluation": "greedy evaluation after training",
    "training": "{} over the last tenth of training",
}


def write_results(
    run_dir: Path,
    members: Sequence[Member],
    directories: Sequence[Path],
    names: Sequence[str],
    console: Console,
) -> list[Score]:
    """Writes `results.csv`, `results.json`, `curves.png` and `parallel.png`, and prints the best.

    Args:
        run_dir: of the sweep.
        members: all of them.
        directories: their run directories.
        names: of the swept options.
        console: where to print.

    Returns:
        Scores of the members, best first; their labels begin with the number of the member.
    """
    metric = members[0].experiment.return_metric
    groups = []
    for member, directory in zip(members, directories, strict=True):
        found, _ = read_runs([directory])
        if found and metric in found[0].metrics:
            groups.append(group_of(f"{member.number}: {label(member.setting)}", found, metric, []))
    if not groups:
        printing.say(console, "sweep: not one member has a result", style="yellow")
        return []
    scored_by = what_scores(groups, "evaluation")
    task = Task(name=run_dir.name, metric=metric, groups=tuple(groups), options={}, scored_by=scored_by)
    scores = final_scores(task)
    order = sorted(range(len(scores)), key=lambda index: -_rank(scores[index]))
    task = task._replace(groups=tuple(groups[index] for index in order))
    scores = [scores[index] for index in order]
    by_number = {member.number: member for member in members}
    settings = [by_number[int(score.label.partition(":")[0])].setting for score in scores]
    try:
        _write_csv(run_dir / "results.csv", settings, scores)
        draw_curves(run_dir / "curves.png", task, float("nan"))
        draw_parallel(run_dir / "parallel.png", settings, [score.mean[0] for score in scores], metric)
    except OSError as error:
        raise TrainingError(f"cannot write the results into {run_dir}: {one_line(error)}") from error
    rows = [{"setting": setting, **score._asdict()} for setting, score in zip(settings, scores, strict=True)]
    files.write_json(run_dir / "results.json", {"metric": metric, "scored_by": scored_by, "members": rows})
    console.print(_table(settings, scores, names, _TITLES[scored_by].format(metric.replace("_", " "))))
    best = directories[int(scores[0].label.partition(":")[0])]
    printing.say(
        console,
        f"sweep: saved in {run_dir}; the best member's configuration is {best / CONFIG_FILE}. Its score is "
        "the highest of many, and so a little too high: train it again with other seeds before you quote it.",
    )
    return scores


def _rank(score: Score) -> float:
    mean = score.mean[0]
    return mean if np.isfinite(mean) and score.num_failed < score.per_seed.size else float("-inf")


def _write_csv(file: Path, settings: Sequence[dict[str, Any]], scores: Sequence[Score]) -> None:
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["member", *settings[0], "seeds", "failed", "interquartile_mean", "low", "high"])
        for setting, score in zip(settings, scores, strict=True):
            number = score.label.partition(":")[0]
            writer.writerow([number, *setting.values(), score.per_seed.size, score.num_failed, *score.mean])


def _table(
    settings: Sequence[dict[str, Any]], scores: Sequence[Score], names: Sequence[str], what: str
) -> Table:
    shown = f"best {_ROWS} of {len(scores)}" if len(scores) > _ROWS else f"{len(scores)}"
    title = f"{what}: the {shown} members"
    table = Table(title=title, title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("member", justify="right")
    for name in names:
        table.add_column(name.rpartition(".")[2].replace("_", " "), justify="right")
    table.add_column("mean", justify="right", style="bold")
    table.add_column("95 % interval", justify="right", no_wrap=True)
    table.add_column("failed", justify="right")
    for setting, score in list(zip(settings, scores, strict=True))[:_ROWS]:
        mean, low, high = score.mean
        interval = f"{low:.4g} to {high:.4g}" if score.per_seed.size > 1 else "one seed"
        values = [Text(in_words(value)) for value in setting.values()]
        number = score.label.partition(":")[0]
        table.add_row(number, *values, f"{mean:.4g}", interval, str(score.num_failed or ""))
    return table
