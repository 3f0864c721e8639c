"""Schedules: numbers that follow how much of a run is done, in every algorithm in the same way.

What is in force depends on what was done before: the first gradient steps have the full rate, and the last
ones of N updates are one update short of the final rate, as in `optax.linear_schedule` with N transition
steps. Parts of an update count as parts: with K rounds of learning in an update, round k of update i has
i + k / K behind it.
"""

import jax
import jax.numpy as jnp

from purerl.types import Config


def share_done(config: Config, num_updates: jax.Array) -> jax.Array:
    """The share of a run that is done, float32 in [0, 1].

    Args:
        config: with `total_updates`.
        num_updates: updates done, and parts of them, [...].
    """
    return jnp.minimum(num_updates / config.total_updates, 1.0)


def linear(start: jax.Array | float, end: jax.Array | float, share: jax.Array) -> jax.Array:
    """The number between start and end that a share in [0, 1] of the way leads to, float32 [...]."""
    return start + share * (end - start)


def learning_rate(config: Config, num_updates: jax.Array) -> jax.Array:
    """The step size in force: linear from `learning_rate` to `final_learning_rate`, float32 [...].

    Args:
        config: with these, and `total_updates`.
        num_updates: updates done before, and parts of them, [...].
    """
    return linear(config.learning_rate, config.final_learning_rate, share_done(config, num_updates))


def exploration_rate(config: Config, num_updates: jax.Array) -> jax.Array:
    """Epsilon in force: linear from `epsilon` to `final_epsilon` in the first `exploration_share` of a run.

    Args:
        config: with these three, all in [0, 1], and `total_updates`.
        num_updates: updates done before, and parts of them, [...].
    """
    share = share_done(config, num_updates) / jnp.maximum(config.exploration_share, 1e-8)
    return linear(config.epsilon, config.final_epsilon, jnp.minimum(share, 1.0))
