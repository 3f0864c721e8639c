"""How value-based learners explore: the best action, or with some probability any."""

import jax
import jax.numpy as jnp


def spread_rates(rate: jax.Array, spread: jax.Array | float, num_envs: int) -> jax.Array:
    r"""An epsilon for each environment, :math:`\epsilon_i = \epsilon^{1 + \alpha i / (E - 1)}`: float32 [E].

    Args:
        rate: epsilon, float32 [].
        spread: alpha, 0 or more; 0 gives all environments the same.
        num_envs: E.

    Source: Horgan et al. 2018 (arXiv:1803.00933), section 4.1, with alpha = 7.
    """
    return rate ** (1.0 + spread * jnp.linspace(0.0, 1.0, num_envs))


def draw_exploration(key: jax.Array, *shape: int) -> jax.Array:
    """What chance decides where environments explore: numbers in [0, 1), float32 [..., 2, E]."""
    return jax.random.uniform(key, (*shape[:-1], 2, shape[-1]))


def explore(value: jax.Array, chance: jax.Array, rate: jax.Array | float) -> jax.Array:
    """The best action, or with probability `rate` one drawn uniformly.

    Args:
        value: float32 [A, B].
        chance: as `draw_exploration` gives it.
        rate: float32 [] or [B].

    Returns:
        int32 [B].
    """
    explores, which = chance
    drawn = (which * value.shape[0]).astype(jnp.int32)
    return jnp.where(explores < rate, drawn, value.argmax(0).astype(jnp.int32))


def epsilon_greedy(value: jax.Array, key: jax.Array, rate: jax.Array | float) -> jax.Array:
    """`explore` with a key, which is used up here."""
    return explore(value, draw_exploration(key, value.shape[1]), rate)
