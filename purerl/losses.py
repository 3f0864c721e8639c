"""Loss terms: functions of arrays that return one value per sample."""

import jax
import jax.numpy as jnp


def clipped_surrogate(log_ratio: jax.Array, advantage: jax.Array, clip: jax.Array | float) -> jax.Array:
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
    value: jax.Array, old_value: jax.Array, target: jax.Array, clip: jax.Array | float
) -> jax.Array:
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


def approximate_kl(log_ratio: jax.Array) -> jax.Array:
    r"""The estimator :math:`\rho - 1 - \log\rho` of KL(old || new): never negative, low in variance.

    Args:
        log_ratio: log of the new over the old probability of the action, float32 [...].

    Returns:
        Estimates, float32 [...].

    Source: Schulman 2020, "Approximating KL divergence", estimator k3.
    """
    return jnp.expm1(log_ratio) - log_ratio


def explained_variance(value: jax.Array, target: jax.Array) -> jax.Array:
    r"""Share of the targets' variance that the critic explains, :math:`1 - Var(G - V) / Var(G)`.

    Args:
        value: V, float32 [...].
        target: G, float32 [...].

    Returns:
        float32 []: 1 is perfect, 0 no better than a constant; 0 where the targets do not vary.
    """
    variance = jnp.var(target)
    return jnp.where(variance > 0, 1.0 - jnp.var(target - value) / jnp.maximum(variance, 1e-12), 0.0)
