"""What goes wrong in training, and how the metrics of a run show it; `rules` says what to do about it.

A finding sees the metrics of all chunks so far, each [C, S]: C chunks, S seeds, NaN where there is no value.
"""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

# Levels of one chunk.
_GRADIENT_NORM = 100.0
_COLLAPSED_DENSITY = -8.0
_COLLAPSED_CHOICE = 0.005
_SATURATED_SHARE = 0.9
_EXPLAINED_VARIANCE = -0.5
_APPROX_KL = 0.1
_RESTLESS_KL = 0.04  # twice the KL at which adaptive schedules lower the learning rate (Rudin et al. 2022)
_NO_VARIANCE = 1e-8
_CLIP_FRACTION = 0.5
# Comparisons with earlier chunks.
_KL_RISE, _KL_NOTICED = 8.0, 0.05
_NO_GRADIENT = 1e-7
_HAIR = 2e-3
_RATE_IS_ON = 0.2
_LOST_SHARE, _NOISE = 0.5, 4.0
_SAME_HARDNESS = 0.02
_LOST_VARIANCE = 1e-4
_SMALL_ERROR = 0.01
_FALLING_ENTROPY = 0.05


class Run(NamedTuple):
    """How long the run is, and what follows from it.

    Attributes:
        num_chunks: chunks of the whole run.
        chunks: chunks done.
    """

    num_chunks: int
    chunks: int

    @property
    def lasting(self) -> int:
        """Chunks after which something that goes on is told."""
        return max(5, -(-self.num_chunks // 10))

    @property
    def third(self) -> int:
        """Chunks in a third of the run; 8 at least."""
        return max(8, -(-self.num_chunks // 3))


# Whether each seed is concerned, bool [S], and what to say of one of them.
Finding: TypeAlias = tuple[Any, Callable[[int], str]]


def exploding_gradient(
    run: Run, norm: np.ndarray, clipped: np.ndarray | None, returns: np.ndarray | None
) -> Finding:
    """The gradient is far longer than any that helps.

    Where a policy is clipped, its loss has the scale 1, and a longer gradient of the critic drowns it. A
    learner of action values has the gradient of their error alone, which comes in units of returns.
    """
    limit: Any = _GRADIENT_NORM
    if clipped is None and returns is not None:
        limit = _GRADIENT_NORM * np.fmax(_most(np.abs(returns)), 1.0)
    return norm[-1] > limit, lambda seed: f"norm {norm[-1, seed]:.3g}"


def vanished_gradient(run: Run, norm: np.ndarray) -> Finding:
    """The gradient has been zero for a while."""
    longest = _most(norm[-run.lasting :])
    sounds = (longest < _NO_GRADIENT) & (run.chunks >= run.lasting)
    return sounds, lambda seed: f"norm {longest[seed]:.1g}"


def exploding_kl(run: Run, kl: np.ndarray, clipped: np.ndarray) -> Finding:
    """The policy moves many times as far in an update as it used to, in this chunk and in the one before."""
    usual = _median(kl[:-2])
    risen = (kl[-2:] > np.maximum(_KL_RISE * usual, _KL_NOTICED)).all(axis=0)
    risen &= run.chunks >= run.lasting
    return risen, lambda seed: f"{kl[-1, seed]:.3f} where {usual[seed]:.3f} was usual"


def too_large_steps(run: Run, kl: np.ndarray, clipped: np.ndarray) -> Finding:
    """The policy moves too far in each update."""
    sounds = (kl[-1] > _APPROX_KL) | (clipped[-1] > _CLIP_FRACTION)
    sounds &= ~exploding_kl(run, kl, clipped)[0]
    return sounds, lambda seed: f"KL {kl[-1, seed]:.3f}, {clipped[-1, seed]:.0%} clipped"


def collapsed_entropy(run: Run, entropy: np.ndarray) -> Finding:
    """The policy has stopped to explore: a density without width, or choices made before half of the run."""
    recent = entropy[-run.lasting :]
    early = run.chunks <= run.num_chunks / 2
    choice = (_least(recent) >= 0) & (_most(recent) < _COLLAPSED_CHOICE) & early & (run.chunks >= run.lasting)
    return (entropy[-1] < _COLLAPSED_DENSITY) | choice, lambda seed: f"{entropy[-1, seed]:.3g} nat"


def pinned_entropy(run: Run, entropy: np.ndarray, clipped: np.ndarray, rate: np.ndarray) -> Finding:
    """The policy stands still although the learning rate is on.

    Choices that are made have no entropy left to move.
    """
    recent = entropy[-run.third :]
    is_made = (_least(recent) >= 0) & (_most(recent) < _COLLAPSED_CHOICE)
    still = ~is_made & (_most(recent) - _least(recent) < _HAIR) & (_most(clipped[-run.third :]) < _HAIR)
    sounds = still & (rate[-1] > _RATE_IS_ON * _most(rate)) & (run.chunks >= run.third)
    return sounds, lambda seed: f"{entropy[-1, seed]:.3g} nat for {run.third} chunks, nothing clipped"


def saturated_actions(run: Run, share: np.ndarray) -> Finding:
    """Nearly all actions lie outside the bounds, where moving them changes nothing."""
    return share[-1] > _SATURATED_SHARE, lambda seed: f"{share[-1, seed]:.0%} beyond their bounds"


def dead_agent(run: Run, variance: np.ndarray, returns: np.ndarray | None) -> Finding:
    """All returns have become alike without having become good: nothing that the agent does matters.

    Where the return is in the better half of all that it was, the task is rather solved than the agent dead.
    """
    recent = _most(variance[-run.lasting :])
    alike = recent < np.maximum(_LOST_VARIANCE * _most(variance), _NO_VARIANCE)
    sounds = alike & (run.chunks >= run.lasting)
    if returns is not None:
        middle = 0.5 * (_most(returns) + _least(returns))
        sounds = sounds & ~(_median(returns[-run.lasting :]) > middle)
    words = lambda seed: f"variance of the return {recent[seed]:.1g} for {run.lasting} chunks"  # noqa: E731
    return sounds, words


def too_high_learning_rate(run: Run, kl: np.ndarray, entropy: np.ndarray) -> Finding:
    """The policy is pulled about and grows narrower at once: it settles before it knows what is good."""
    before, now = entropy[-2 * run.lasting : -run.lasting], entropy[-run.lasting :]
    fallen = _median(before) - _median(now)
    noise = _median(np.abs(np.diff(entropy, axis=0)))
    usual = _median(kl[-run.lasting :])
    sounds = (usual > _RESTLESS_KL) & (fallen > np.maximum(noise, _FALLING_ENTROPY))
    sounds &= run.chunks >= 2 * run.lasting
    return sounds, lambda seed: f"KL {usual[seed]:.3f}, entropy fell by {fallen[seed]:.2g} nat"


def failing_critic(
    run: Run, explained: np.ndarray, variance: np.ndarray | None, mean: np.ndarray | None
) -> Finding:
    """The critic is much worse than a constant, gets no better, and its error is not small.

    Its first chunk does not count; one that starts far off and comes nearer from chunk to chunk is learning.
    """
    rises = explained[-1] > explained[-2:][0]
    sounds = (explained[-1] < _EXPLAINED_VARIANCE) & (run.chunks > 1) & ~rises
    if variance is None:
        return sounds, lambda seed: f"explained variance {explained[-1, seed]:.2f}"
    sounds &= _errs(explained, variance, mean)[-1]
    words = lambda seed: f"explained variance {explained[-1, seed]:.2f} of {variance[-1, seed]:.2g}"  # noqa: E731
    return sounds, words


def idle_critic(
    run: Run, explained: np.ndarray, variance: np.ndarray | None, mean: np.ndarray | None
) -> Finding:
    """The critic has not once been better than a constant, or its error small, for a third of the run."""
    best = _most(explained[-run.third :])
    sounds = (best <= _HAIR) & (run.chunks >= run.third) & ~failing_critic(run, explained, variance, mean)[0]
    if variance is not None:
        sounds &= _errs(explained, variance, mean)[-run.third :].all(axis=0)
    return sounds, lambda seed: f"explained variance at most {best[seed]:.2f} for {run.third} chunks"


def _errs(explained: np.ndarray, variance: np.ndarray, mean: np.ndarray | None) -> np.ndarray:
    """Whether the critic's error is more than a tenth of the scale of returns, bool [C, S].

    Explained variance is the error relative to what returns differ by, and means nothing where they hardly
    do, as in a solved task. The scale is the size of the returns of the chunk, or what they have differed by
    in any chunk before, whichever is larger. A chunk without values is no evidence for a critic: True.
    """
    error = (1.0 - explained) * variance
    scale = np.maximum.accumulate(np.nan_to_num(variance), axis=0)
    if mean is not None:
        scale = np.fmax(scale, np.square(mean) + variance)
    return ~(error <= np.maximum(_SMALL_ERROR * scale, _NO_VARIANCE))


def fallen_return(run: Run, returns: np.ndarray, hardness: np.ndarray | None) -> Finding:
    """Half of the way from the worst to the best return is lost, and has been for a while.

    Where a curriculum tells how hard its levels are, chunks with easier ones than now do not count.
    """
    if hardness is not None:
        returns = np.where(hardness < hardness[-1] - _SAME_HARDNESS, np.nan, returns)
    best, recent = _most(returns), _most(returns[-run.lasting :])
    lost = best - recent
    noise = _median(np.abs(np.diff(returns, axis=0)))
    sounds = (lost > _LOST_SHARE * (best - _least(returns))) & (lost > _NOISE * noise)
    words = lambda seed: f"at most {recent[seed]:.4g} for {run.lasting} chunks, {best[seed]:.4g} before"  # noqa: E731
    return sounds & (run.chunks >= 2 * run.lasting), words


def constant_return(run: Run, returns: np.ndarray) -> Finding:
    """All episodes of a third of the run had the same return, in at least `lasting` chunks."""
    num_values = np.isfinite(returns).sum(axis=0)
    sounds = (_most(returns) == _least(returns)) & (num_values >= run.lasting) & (run.chunks >= run.third)
    return sounds, lambda seed: f"{_most(returns)[seed]:.4g} in all {run.chunks} chunks"


def no_episodes(run: Run, returns: np.ndarray) -> Finding:
    """Not one episode has ended within a third of the run."""
    sounds = np.isnan(returns).all(axis=0) & (run.chunks >= run.third)
    return sounds, lambda seed: f"none has ended in {run.chunks} chunks"


def _most(values: np.ndarray) -> np.ndarray:
    """The largest value of each seed, [C, S] -> [S]; NaN where there is none."""
    return np.fmax.reduce(values)


def _least(values: np.ndarray) -> np.ndarray:
    return np.fmin.reduce(values)


def _median(values: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a seed without any value has the median NaN
        return np.nanmedian(values, axis=0)
