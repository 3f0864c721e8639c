"""How off-policy learners act: greedily or at random, and within the bounds of a box."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


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


def to_bounds(action: jax.Array, space: Any, periodic: bool = False) -> jax.Array:
    """What an environment is told: integers as they are, or numbers within the bounds of its box.

    Args:
        action: as the policy chose it, int32 [B], or float32 [B, A] in [-1, 1].
        space: of the environment's actions.
        periodic: whether A = 2 M numbers are the coordinates of M points, first all x and then all y, whose
            directions are meant: -pi is the lower bound, and pi the upper one.

    Returns:
        [B, *shape].
    """
    if hasattr(space, "n"):
        return action
    if periodic:
        x, y = jnp.split(action, 2, axis=-1)
        action = jnp.arctan2(y, x) / jnp.pi
    action = action.reshape(action.shape[0], *space.shape)
    return space.low + (space.high - space.low) * 0.5 * (action + 1.0)


def check_bounded(space: Any) -> None:
    """Raises ValueError, with one line, where a box of actions has no bounds."""
    bounds = () if hasattr(space, "n") else (space.low, space.high)
    if not all(np.isfinite(bound).all() for bound in bounds):
        raise ValueError("the action space has no finite bounds to squash actions into; bound it, or use PPO")


def action_form(network: Any) -> jax.ShapeDtypeStruct:
    """Form of one action as a policy gives it: float32 [A] in [-1, 1], or int32 []."""
    if network.discrete:
        return jax.ShapeDtypeStruct((), jnp.int32)
    return jax.ShapeDtypeStruct((network.action_size,), jnp.float32)


def random_actions(key: jax.Array, network: Any, *shape: int) -> jax.Array:
    """Uniform actions as the policy gives them: float32 [*shape, A] in [-1, 1], or int32 [*shape]."""
    if network.discrete:
        return jax.random.randint(key, shape, 0, network.action_size)
    return jax.random.uniform(key, (*shape, network.action_size), minval=-1.0, maxval=1.0)
