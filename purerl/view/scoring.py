"""What a run is scored by: who has failed, and what the others stood at last.

Everything that compares runs asks here, so that a seed that failed in one place has failed in all.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_OF_EPISODES = ("episode_return", "episode_length", "solve_rate")


def failed_seeds(lines: Sequence[Mapping[str, Any]]) -> list[int]:
    """Seeds that are not finite, from the lines of `metrics.jsonl`.

    A seed fails once and for all, so the last line names every one. Where no episode has ended, nothing has
    failed.
    """
    found = lines[-1].get("failed_seeds") if lines else None
    return list(found) if isinstance(found, list | tuple) else []


def weights_of(lines: Sequence[Mapping[str, Any]], metric: str, num_seeds: int) -> np.ndarray:
    """What the value of a metric weighs in each chunk, [C, S]: its episodes, or one where it has none.

    The mean over several chunks is then that over their episodes, long ones and short ones alike.
    """
    weights = np.ones((len(lines), num_seeds))
    for row, line in zip(weights, lines, strict=True):
        episodes = line.get("episodes")
        if metric not in _OF_EPISODES or not isinstance(episodes, list) or len(episodes) != num_seeds:
            continue
        if all(count is None or isinstance(count, int | float) for count in episodes):
            # None is what was not finite: a seed that has failed takes nothing from the others.
            row[:] = [count or 0 for count in episodes]
    return weights


def last_values(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    r"""What each seed stood at last, [S]; NaN without any value.

    .. math:: \frac{\sum_{c} w_c v_c}{\sum_{c} w_c}

    over the chunks of the last tenth that have a value; where none of them has, because an episode takes
    longer than that, the last value of all.

    Args:
        values: [C, S]; NaN where there is no value, as in a chunk in which no episode has ended.
        weights: [C, S], not negative.
    """
    first = len(values) - max(1, len(values) // 10)
    known = np.isfinite(values) & (weights > 0)
    number = np.arange(len(values))[:, None]
    last = np.where(known, number, -1).max(axis=0)
    chosen = known & (number >= np.minimum(first, last))
    weight = np.where(chosen, weights, 0.0)
    total = (np.where(chosen, values, 0.0) * weight).sum(axis=0)
    return np.divide(total, weight.sum(axis=0), out=np.full(values.shape[1], np.nan), where=last >= 0)


def cell_scores(results: Any, path: Sequence[str] = ()) -> np.ndarray | None:
    """The score of each seed, [S], in the results of an evaluation; None where there is none.

    Args:
        results: nested dict whose cells have `per_seed`.
        path: names that lead to the cell; where they lead to several, each counts alike.
    """
    for name in path:
        results = results.get(name) if isinstance(results, dict) else None
    if not isinstance(results, dict):
        return None
    if isinstance(results.get("per_seed"), list):
        return np.array([np.nan if value is None else value for value in results["per_seed"]], float)
    found = [scores for inner in results.values() if (scores := cell_scores(inner)) is not None]
    if not found or len({scores.shape for scores in found}) > 1:
        return None
    return np.mean(found, axis=0)
