"""The score of each run of a group: a short greedy evaluation, of all that were trained alike in one call."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from purerl.run.experiment import Session
from purerl.types import PyTree


def score_members(
    sessions: Sequence[Session], alike: Sequence[Sequence[int]], learners: PyTree, num_episodes: int
) -> list[np.ndarray | None]:
    """Scores of the seeds of each member, [S]; None where its experiment has no such evaluation.

    A member gets what it would get alone.

    Args:
        sessions: the members.
        alike: places of members that one evaluation may play.
        learners: leaves [M * S + ..., ...], every seed of the first member, then of the next.
        num_episodes: for each run; 0 evaluates nothing.
    """
    found: list[np.ndarray | None] = [None] * len(sessions)
    if not num_episodes:
        return found
    num_seeds = sessions[0].options.num_seeds
    learners = jax.tree.map(np.asarray, learners)
    for places in alike:
        first = sessions[places[0]]
        if first.experiment.score is None:
            continue
        rows = np.concatenate([place * num_seeds + np.arange(num_seeds) for place in places])
        chosen = jax.tree.map(lambda leaf, rows=rows: leaf[rows], learners)
        scores = np.asarray(first.experiment.score(chosen, first.options.seed, num_episodes), float)
        for place, own in zip(places, scores.reshape(len(places), num_seeds), strict=True):
            found[place] = own
    return found


def summary_entry(scores: np.ndarray | None, num_episodes: int) -> dict[str, Any]:
    """What the summary of a member says of its scores."""
    return {} if scores is None else {"score": {"per_seed": scores, "episodes": num_episodes}}
