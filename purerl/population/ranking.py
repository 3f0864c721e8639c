"""What members are ranked by: the greedy policy of each in a few episodes, the same ones for all."""

from collections.abc import Callable

import jax
import numpy as np

from purerl.population.evolution import PopulationOptions
from purerl.run import directory, loop
from purerl.run.experiment import Session
from purerl.types import PyTree
from purerl.view import records, scoring

_AT_THE_END = 5
"""Times as many episodes choose the best member as rank members at a selection."""
_CHOICE = 2**31
"""Added to the seed, it gives that of the episodes which choose the best member: none of those that it is
then reported by. It would seem better in these than it is, having been chosen for them."""
_SEEDS = 2**32

Ranking = Callable[[PyTree, int], np.ndarray | None]


def ranking(session: Session, options: PopulationOptions) -> Ranking:
    """`(learners [M, ...], chunk) -> scores`, float32 [M] on the host; NaN where no selection is due.

    Every selection draws episodes of its own, so that none is learned by heart. None instead of scores, at
    every chunk, where members are ranked by returns of training.
    """
    evaluate, num_episodes = session.experiment.score, options.score_episodes
    if evaluate is None or not num_episodes:
        return lambda learners, chunk: None
    num_members = options.num_members

    def scores(learners: PyTree, chunk: int) -> np.ndarray:
        if chunk % options.exploit_every:
            return np.full(num_members, np.nan, np.float32)
        seed = (session.options.seed + chunk) % _SEEDS
        found = evaluate(jax.tree.map(np.asarray, learners), seed, num_episodes)
        return np.asarray(found, np.float32)

    return scores


def final_scores(session: Session, options: PopulationOptions, learners: PyTree) -> np.ndarray:
    """Scores of the members at the end, [M]; -inf of one that has failed, NaN of one without any value.

    Those of an evaluation where there is one, else what the returns of training stood at last.

    Args:
        session: the run.
        options: of the population.
        learners: leaves [M, ...], in host memory.
    """
    evaluate, num_episodes = session.experiment.score, _AT_THE_END * options.score_episodes
    if evaluate is not None and num_episodes:
        seed = (session.options.seed + _CHOICE) % _SEEDS
        scores = np.asarray(evaluate(learners, seed, num_episodes), float)
    else:
        lines = records.read(session.run_dir / directory.METRICS_FILE)
        metric = session.experiment.return_metric
        values = np.array([line["metrics"][metric] for line in lines], float)
        scores = scoring.last_values(
            values, np.nan_to_num(scoring.weights_of(lines, metric, values.shape[1]))
        )
    scores[list(loop.bad_leaves(learners))] = -np.inf
    return scores
