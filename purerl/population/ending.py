"""The end of a population: its best member, its summary and its pictures."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from purerl.compile.program import Program
from purerl.host import files, printing
from purerl.population.evolution import Population, Rules
from purerl.population.lineage import read_lineage
from purerl.population.ranking import final_scores
from purerl.population.schedules import draw_schedules
from purerl.run import directory
from purerl.run.experiment import Session
from purerl.run.session import summary_of
from purerl.view import records
from purerl.view.plots import plot_curves


def finish(
    session: Session,
    program: Program,
    population: Population,
    names: Mapping[str, str],
    rules: Rules,
) -> dict[str, Any]:
    """Evaluate the best member, write the summary, draw and report.

    Args:
        session: the run.
        program: what has trained it.
        population: after the last chunk.
        names: option by path of its leaf.
        rules: of selection.
    """
    run_dir, experiment = session.run_dir, session.experiment
    lines = records.read_metrics(run_dir / directory.METRICS_FILE)
    learners = jax.tree.map(np.asarray, population.learner)
    scores = final_scores(session, rules.options, learners)
    best = int(np.where(np.isnan(scores), -np.inf, scores).argmax())
    learner = jax.tree.map(lambda leaf: leaf[best : best + 1], learners)
    values = {name: float(population.values[path][best]) for path, name in names.items()}
    summary = summary_of(session, program) | {
        "score": {"per_seed": np.where(np.isfinite(scores), scores, np.nan)},
        "best_member": best,
        "best_values": values,
        "eval_of_best": files.plain(experiment.evaluate(learner, session.options.seed)),
    }
    summary = files.plain(summary)
    directory.write_summary(run_dir, summary)
    plot_curves(run_dir / "curves.png", lines)
    by_option = {name: rules.ranges[path] for path, name in names.items()}
    draw_schedules(run_dir / "schedules.png", read_lineage(run_dir), by_option, best, lines[-1]["env_steps"])
    found = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
    printing.say(
        session.console,
        f"population: member {best} is best with {scores[best]:.4g}, at the end with {found}; "
        f"saved in {run_dir}",
    )
    return summary
