"""Loss terms: functions of arrays that return one value per sample."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from purerl.functional.metrics import as_mean, masked_mean
from purerl.functional.returns import bootstrap
from purerl.types import Mean


def clipped_surrogate(
    log_ratio: Float[Array, "*S"], advantage: Float[Array, "*S"], clip: Float[Array, ""] | float
) -> Float[Array, "*S"]:
    r"""PPO's pessimistic objective, negated.

    .. math:: -\min\left(\rho A,\ \text{clip}(\rho, 1 - \epsilon, 1 + \epsilon) A\right)

    Args:
        log_ratio: log of the new over the old probability of the action, float32 [...].
        advantage: float32 [...].
        clip: epsilon, above 0; `inf` switches clipping off.

    Returns:
        Losses, float32 [...].

    Source: Schulman et al. 2017 (arXiv:1707.06347), equation 7.
    """
    ratio = jnp.exp(log_ratio)
    return -jnp.minimum(ratio * advantage, jnp.clip(ratio, 1.0 - clip, 1.0 + clip) * advantage)


def clipped_value_loss(
    value: Float[Array, "*S"],
    old_value: Float[Array, "*S"],
    target: Float[Array, "*S"],
    clip: Float[Array, ""] | float,
) -> Float[Array, "*S"]:
    r"""Half the squared error of a critic that may move by at most `clip` from its old estimate.

    .. math:: \tfrac12 \max\left((V - G)^2, (V_{old} + \text{clip}(V - V_{old}, \pm\epsilon) - G)^2\right)

    Args:
        value: V, float32 [...].
        old_value: the estimate at the time of the rollout, float32 [...].
        target: G, float32 [...].
        clip: epsilon, above 0; `inf` switches clipping off and leaves half the squared error.

    Returns:
        Losses, float32 [...].
    """
    clipped = old_value + jnp.clip(value - old_value, -clip, clip)
    return 0.5 * jnp.maximum(jnp.square(value - target), jnp.square(clipped - target))


def approximate_kl(log_ratio: Float[Array, "*S"]) -> Float[Array, "*S"]:
    r"""The estimator :math:`\rho - 1 - \log\rho` of KL(old || new): never negative, low in variance.

    Args:
        log_ratio: log of the new over the old probability of the action, float32 [...].

    Returns:
        Estimates, float32 [...].

    Source: Schulman 2020, "Approximating KL divergence", estimator k3.
    """
    return jnp.expm1(log_ratio) - log_ratio


def explained_variance(
    value: Float[Array, "*S"], target: Float[Array, "*S"], counts: Bool[Array, "*S"] | None = None
) -> Float[Array, ""]:
    r"""Share of the targets' variance that the critic explains, :math:`1 - Var(G - V) / Var(G)`.

    Args:
        value: V, float32 [...].
        target: G, float32 [...].
        counts: bool [...], which samples count; None where all do.

    Returns:
        float32 []: 1 is perfect, 0 no better than a constant; 0 where the targets do not vary.
    """
    variance = jnp.var(target, where=counts)
    left = jnp.var(target - value, where=counts)
    return jnp.where(variance > 0, 1.0 - left / jnp.maximum(variance, 1e-12), 0.0)


def return_metrics(
    value: Float[Array, "*S"] | None, target: Float[Array, "*S"], counts: Bool[Array, "*S"] | None = None
) -> dict[str, Mean]:
    """Mean and variance of targets, [...], and how much of it a critic's values explain, if there is one.

    With `counts`, bool [...], of those samples alone that it names; without weight where there is none.
    """
    metrics = {
        "return_mean": jnp.mean(target, where=counts),
        "return_variance": jnp.var(target, where=counts),
    }
    if value is not None:
        metrics["explained_variance"] = explained_variance(value, target, counts)
    if counts is None:
        return {name: as_mean(each) for name, each in metrics.items()}
    any_counts = counts.any()
    return {name: masked_mean(each, any_counts) for name, each in metrics.items()}


def huber(error: Float[Array, "*S"], delta: Float[Array, ""] | float) -> Float[Array, "*S"]:
    r"""Half the square of small errors, linear in large ones.

    .. math:: c\left(|e| - \tfrac12 c\right), \qquad c = \min(|e|, \delta)

    Args:
        error: e, float32 [...].
        delta: largest slope, above 0; `inf` leaves half the squared error.

    Returns:
        Losses, float32 [...].

    Source: Huber 1964, "Robust estimation of a location parameter"; Mnih et al. 2015 clip errors at 1.
    """
    # That of optax is NaN at inf, and below it loses the gradient in delta - delta where delta is large.
    size = jnp.abs(error)
    slope = jnp.minimum(size, delta)
    return slope * (size - 0.5 * slope)


def q_learning_target(
    reward: Float[Array, " B"],
    discount: Float[Array, " B"],
    value_tp1: Float[Array, "A B"],
    selector_tp1: Float[Array, "A B"],
) -> Float[Array, " B"]:
    r"""What an action value is moved toward; no gradient flows through it.

    .. math:: r + d\, Q'(s', \arg\max_{a'} Q^{sel}(s', a'))

    With the same values as selector this is Q-learning; with those of the online network, double Q-learning.
    Where several actions are best for the selector, the best of them counts.

    Args:
        reward: r, float32 [B]; or the discounted sum of a window.
        discount: d, float32 [B]: 0 where the episode terminated, and the values of the successor count for
            nothing, whatever they are.
        value_tp1: Q' of the successor, float32 [A, B].
        selector_tp1: the values that choose the action, float32 [A, B].

    Returns:
        float32 [B].

    Source: van Hasselt et al. 2016 (arXiv:1509.06461), equations 2 and 4.
    """
    chosen = selector_tp1 == selector_tp1.max(0)
    value = jnp.where(chosen, value_tp1, -jnp.inf).max(0)
    return jax.lax.stop_gradient(bootstrap(reward, discount, discount, value))


def value_of_action(value: Float[Array, "A B"], action: Int[Array, " B"]) -> Float[Array, " B"]:
    """The values of the actions taken: float32 [A, B] and int32 [B] -> float32 [B]."""
    taken = jnp.arange(value.shape[0])[:, None] == action
    return jnp.where(taken, value, 0.0).sum(0)
