"""What is touched and what it is worth; the optional shaping reward."""

import jax
import jax.numpy as jnp

from envs.bikkle.params import BikkleParams
from envs.bikkle.placement import FAR, squared_distance
from envs.bikkle.state import BikkleState, is_blue, present, target_value


def squared_reach(params: BikkleParams) -> jax.Array:
    """Square of the distance at which centers touch, (2 size)^2: float32 []."""
    return jnp.asarray(4.0 * params.pellet_size * params.pellet_size, jnp.float32)


def touching(state: BikkleState, agent: jax.Array, params: BikkleParams) -> jax.Array:
    """Which pellets an agent at this place touches: bool [N]."""
    squared = squared_distance((state.pellet_x, state.pellet_y), (agent[0], agent[1]))
    return present(state) & (squared <= squared_reach(params))


def touch_reward(state: BikkleState, touched: jax.Array, params: BikkleParams) -> jax.Array:
    """Sum of what the touched pellets are worth, at the round's counter of `state`: float32 []."""
    slots = jnp.arange(touched.shape[-1])
    at_target = target_value(state.round_step, params)
    pink_value = jnp.where(slots == state.target, at_target, params.pink_reward)
    value = jnp.where(is_blue(touched.shape[-1]), params.blue_penalty, pink_value)
    return jnp.sum(jnp.where(touched, value, 0.0)).astype(jnp.float32)


def potential(state: BikkleState) -> jax.Array:
    """phi(s): less the distance from the agent to the nearest pink pellet, in arena sides, float32 []."""
    pink = present(state) & ~is_blue(state.pellet_x.shape[-1])
    squared = squared_distance((state.pellet_x, state.pellet_y), (state.agent[0], state.agent[1]))
    return -jnp.sqrt(jnp.min(jnp.where(pink, squared, FAR), axis=-1))


def shaping(
    before: BikkleState, after: BikkleState, terminated: jax.Array, params: BikkleParams
) -> jax.Array:
    """F = c (gamma phi(s') - phi(s)), with phi = 0 where the episode terminated (Ng et al., 1999)."""
    follows = jnp.where(terminated, 0.0, potential(after))
    return params.shaping * (params.shaping_gamma * follows - potential(before))
