"""How certain a result over seeds is: interquartile means and bootstrap intervals.

Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice", arXiv:2108.13264.
"""

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
