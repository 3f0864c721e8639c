"""How certain a result over seeds is: interquartile means, improvements and bootstrap intervals.

Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice", arXiv:2108.13264.
"""

from collections.abc import Sequence

import numpy as np


def interquartile_mean(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """The mean of the middle half: a quarter of the values, rounded down, is left out at each end.

    Args:
        values: at least one value along the axis.
        axis: that of the seeds.
    """
    count = values.shape[axis]
    ordered = np.sort(values, axis=axis)
    cut = count // 4
    return np.take(ordered, np.arange(cut, count - cut), axis=axis).mean(axis)


def bootstrap_interval(
    values: np.ndarray, confidence: float = 0.95, num_samples: int = 2000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Percentile bootstrap interval of the interquartile mean over seeds.

    Args:
        values: [..., S].
        confidence: share of the distribution within the interval.
        num_samples: resamplings of the seeds.
        seed: of the resampling; the same values always give the same interval.

    Returns:
        Lower and upper end, [...].
    """
    count = values.shape[-1]
    index = np.random.default_rng(seed).integers(0, count, (num_samples, count))
    means = interquartile_mean(values[..., index])  # [..., samples]
    tail = 50.0 * (1.0 - confidence)
    low, high = np.percentile(means, [tail, 100.0 - tail], axis=-1)
    return low, high


def interquartile_interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Interquartile mean with its 95 % interval, of those values that are there.

    Args:
        values: [C, S]; NaN where a seed has none.

    Returns:
        Mean, lower and upper end, [C]; NaN where no seed has a value.
    """
    found = np.full((3, len(values)), np.nan)
    present = np.isfinite(values)
    for pattern in np.unique(present, axis=0):
        if pattern.any():
            rows = (present == pattern).all(axis=1)
            chosen = values[rows][:, pattern]
            found[:, rows] = interquartile_mean(chosen), *bootstrap_interval(chosen)
    return found[0], found[1], found[2]


def probability_of_improvement(
    ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray], num_samples: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    r"""How likely a run of ours is better than one of theirs, on average over tasks.

    .. math:: P(X > Y) = \frac{1}{M} \sum_m \frac{1}{N K} \sum_{i, j} S(x_{m,i}, y_{m,j})

    with S = 1 where x > y, 1/2 where they are equal, else 0: section 4.3 of the paper above. The interval of
    95 % resamples the runs of each task apart, which the paper calls the stratified bootstrap.

    Args:
        ours: scores of our runs on each of M tasks, [N] each.
        theirs: of theirs, [K] each.
        num_samples: resamplings.
        seed: of the resampling.

    Returns:
        The probability, and the lower and upper end of its interval.
    """
    random = np.random.default_rng(seed)
    mean, samples = 0.0, np.zeros(num_samples)
    for x, y in zip(ours, theirs, strict=True):
        wins = (x[:, None] > y) + 0.5 * (x[:, None] == y)  # [N, K]
        mean += wins.mean() / len(ours)
        of_x, of_y = (random.multinomial(n, np.full(n, 1 / n), num_samples) / n for n in wins.shape)
        samples += np.einsum("sn,nk,sk->s", of_x, wins, of_y) / len(ours)
    low, high = np.percentile(samples, [2.5, 97.5])
    return float(mean), float(low), float(high)
