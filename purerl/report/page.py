"""A report as one page of HTML with everything in it, and its pictures beside it."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from purerl.host import files
from purerl.host.errors import TrainingError, UserError, one_line
from purerl.report import pictures, tables
from purerl.report.comparing import ScoredBy, Task, compare, relative
from purerl.report.html import document, element, film, picture
from purerl.report.plain_files import printable
from purerl.report.reading import Skipped, read_runs
from purerl.report.scores import default_threshold, final_scores, improvements, time_to

_CURVES = (
    "Line: interquartile mean over seeds; band: 95 % bootstrap interval (Agarwal et al. 2021). "
    "Dashed: the threshold."
)
_SCORES = {
    "evaluation": "The evaluation of the greedy policy of each seed after training. ",
    "training": "The mean over the episodes in the last tenth of training of each seed, or the last value "
    "where none has ended in it. ",
}
_NO_SCORE = (
    "A seed that failed counts with the lowest score of the task; runs that have not come to their end are "
    "left out."
)
_IMPROVEMENT = (
    "How likely a run of the first is better than one of the second, equal ones counted half; an interval "
    "that holds 0.5 tells nothing."
)
_REACHED = (
    "The first chunk in which the curve of a seed reaches the threshold; median over seeds with its 95 % "
    "bootstrap interval. Seconds are of training, of all seeds of a run together."
)
_LONGEST_STEM = 60


def write_report(
    directories: Sequence[Path],
    out: Path,
    metric: str | None = None,
    threshold: float | None = None,
    scored_by: ScoredBy = "evaluation",
) -> list[Skipped]:
    """Writes `report.html`, `report.json` and the pictures.

    Args:
        directories: of runs; that of a sweep stands for its members.
        out: where to write; made where it does not exist.
        metric: what runs are compared by; by default the share of solved episodes where there is one, or
            the return.
        threshold: of the time to threshold, in units of the metric; by default nine tenths of the way from
            the lowest to the highest mean of a task.
        scored_by: what final scores are of: the evaluation after training, where all runs have one, or
            training. Of a metric that is named they are of training.

    Returns:
        What was skipped, and why.

    Raises:
        UserError: there is not one run to report on.
        TrainingError: the disk is full or not writable.
    """
    found, skipped = read_runs(directories)
    tasks, incomparable = compare(found, metric, scored_by)
    skipped += incomparable
    if not tasks:
        reasons = "; ".join(f"{relative(path)}: {reason}" for path, reason in skipped)
        raise UserError(f"there is no run to report on: {reasons or 'name at least one run directory'}")
    try:
        out.mkdir(parents=True, exist_ok=True)
        sections, numbers = [], {}
        for task in tasks:
            level = default_threshold(task) if threshold is None else threshold
            sections.append("".join(_section(task, out, level)))
            numbers[task.name] = tables.numbers(task, level)
        sections.append(element("h2", "Machines and versions") + tables.machines(found))
        if skipped:
            sections.append(element("h2", "Left out") + tables.skipped(skipped))
        num_seeds = sum(len(run.seeds) for run in found)
        lead = f"{len(found)} runs, {num_seeds} seeds, {len(tasks)} task{'s' * (len(tasks) > 1)}"
        (out / "report.html").write_text(document("Report", lead, sections))
    except OSError as error:
        raise TrainingError(f"cannot write the report into {out}: {one_line(error)}") from error
    files.write_json(out / "report.json", numbers)
    return skipped


def _section(task: Task, out: Path, threshold: float) -> Iterator[str]:
    stem = re.sub(r"[^\w.-]+", "-", task.name.lower()).strip("-")[:_LONGEST_STEM] or "task"
    scores, reached = final_scores(task), time_to(task, threshold)
    comparisons = improvements(scores)
    yield element("h2", task.name)
    file = out / f"{stem}-curves.png"
    pictures.draw_curves(file, task, threshold)
    yield picture(file, "learning curves", _CURVES)
    yield element("h3", "Final scores")
    file = out / f"{stem}-scores.png"
    pictures.draw_scores(file, scores, task.metric)
    yield picture(file, "final scores", _SCORES[task.scored_by] + _NO_SCORE)
    yield tables.scores(scores)
    if comparisons:
        yield element("h3", "Probability of improvement")
        file = out / f"{stem}-improvement.png"
        pictures.draw_improvements(file, comparisons)
        yield picture(file, "probability of improvement", _IMPROVEMENT)
    yield element("h3", f"Time to {task.metric.replace('_', ' ')} {threshold:.4g}")
    file = out / f"{stem}-time.png"
    pictures.draw_reached(file, task, reached, threshold)
    yield picture(file, "time to threshold", _REACHED)
    yield tables.reached(reached)
    yield tables.evaluation(task)
    if task.options:
        yield element("h3", "Configurations: what differs") + tables.options(task)
    films = [(run, run.film) for group in task.groups for run in group.runs if run.film]
    if films:
        yield element("h3", "Episodes")
        yield (
            '<div class="films">'
            + "".join(film(content, printable(run.path.name)) for run, content in films)
            + "</div>"
        )
