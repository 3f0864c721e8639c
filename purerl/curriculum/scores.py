r"""What a level is worth, from what rollouts told of it.

Max Monte Carlo: :math:`\frac1T \sum_t (R^{max} - E_t)`, where :math:`E_t` is the return that the critic
expects of the whole episode at step t. In the paper it is :math:`V(s_t)`: the same where the last reward is
the only one and nothing is discounted; else :math:`V(s_t)` is what the rest of the episode brings, and
optimal play would not score 0. See `purerl.curriculum.outcome.expected_returns`.
Positive value loss: :math:`\frac1T \sum_t \max(A_t, 0)`. Both estimate regret (Jiang et al. 2021,
arXiv:2110.02439, section 5).
Learnability: :math:`p (1 - p)` for a solve rate p (Tzannetos et al. 2023; Rutherford et al. 2024,
arXiv:2408.15099).
"""

import jax
import jax.numpy as jnp

from purerl.curriculum.outcome import LevelOutcome


def max_monte_carlo(evidence: LevelOutcome) -> jax.Array:
    """The best return ever reached on a level, less what the critic expects on average: float32 [P]."""
    return evidence.best_return - evidence.expected_sum / jnp.maximum(evidence.num_steps, 1.0)


def positive_value_loss(evidence: LevelOutcome) -> jax.Array:
    """Mean of the advantages of a level, where they are positive: float32 [P]."""
    return evidence.positive_advantage / jnp.maximum(evidence.num_steps, 1.0)


def learnability(evidence: LevelOutcome) -> jax.Array:
    """Variance of success on a level, k (n - k) / (n (n - 1)) for k successes in n episodes: float32 [P].

    It is p (1 - p) on average whatever n is. With the share of successes in the place of p it would be
    (n - 1) / n of that, and levels that were played more often would seem to teach more.
    """
    solved, count = evidence.num_solved, evidence.num_episodes
    return solved * (count - solved) / jnp.maximum(count * (count - 1.0), 1.0)


VALUE_SCORES = ("max_monte_carlo", "positive_value_loss")
"""Scores made of what a critic says."""
SCORES = {
    "max_monte_carlo": max_monte_carlo,
    "positive_value_loss": positive_value_loss,
    "learnability": learnability,
}
