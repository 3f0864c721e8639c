"""Returns and advantages: exact functions of arrays, time first. Axes T time, E environments."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped


def bootstrap(
    reward: Float[Array, "*S"],
    follows: Shaped[Array, "*S"],
    factor: Float[Array, "*S"] | Float[Array, ""] | float,
    value: Float[Array, "*S"],
) -> Float[Array, "*S"]:
    """What a reward and all that comes after it are worth: `reward + factor * value` where anything follows.

    Whatever stands for the rest of a return goes through here. Behind the end of an episode there is nothing,
    and an observation of it may be anything, NaN as well, and so may all that is computed from it: zero times
    NaN is NaN, so the value is left out, not multiplied by zero.

    Args:
        reward: float32 [...].
        follows: bool [...], or a number that is 0 where nothing follows.
        factor: discount of the value.
        value: of what follows, float32 [...]; where nothing does, it counts for nothing and gets no gradient
            from here (what is NaN before it still can: keep the gradient out, or put a number in its place).

    Returns:
        float32 [...].
    """
    follows = jnp.asarray(follows) != 0
    return reward + jnp.where(follows, factor * jnp.where(follows, value, 0.0), 0.0)


def gae(
    reward: Float[Array, "*S"],
    value: Float[Array, "*S"],
    next_value: Float[Array, "*S"],
    terminated: Bool[Array, "*S"],
    truncated: Bool[Array, "*S"],
    gamma: Float[Array, ""] | float,
    gae_lambda: Float[Array, ""] | float,
) -> Float[Array, "*S"]:
    r"""Generalized advantage estimation.

    .. math::
        \delta_t = r_t + \gamma (1 - \text{terminated}_t) V(s'_t) - V(s_t), \qquad
        A_t = \delta_t + \gamma \lambda (1 - \text{terminated}_t)(1 - \text{truncated}_t) A_{t+1}

    Args:
        reward: r_t, float32 [T, ...].
        value: V(s_t), float32 [T, ...].
        next_value: V of the true successor s'_t, before any reset, float32 [T, ...]; of no effect, whatever
            it is, where the episode terminated.
        terminated: bool [T, ...]: nothing follows, so nothing is bootstrapped.
        truncated: bool [T, ...]: cut by a limit, so the successor's value stands for the rest.
        gamma: discount in [0, 1].
        gae_lambda: trace decay in [0, 1].

    Returns:
        Advantages, float32 [T, ...]; add `value` for lambda-returns.

    Source: Schulman et al. 2016 (arXiv:1506.02438), equations 11 to 16.
    """
    delta = bootstrap(reward, ~terminated, gamma, next_value) - value
    decay = gamma * gae_lambda

    def step(advantage_tp1, inputs):
        delta_t, goes_on_t = inputs
        advantage_t = bootstrap(delta_t, goes_on_t, decay, advantage_tp1)
        return advantage_t, advantage_t

    goes_on = ~(terminated | truncated)
    return jax.lax.scan(step, jnp.zeros_like(delta[0]), (delta, goes_on), reverse=True)[1]


def running_returns(
    reward: Float[Array, "T E"],
    ended: Bool[Array, "T E"],
    start: Float[Array, " E"],
    gamma: Float[Array, ""] | float,
) -> tuple[Float[Array, "T E"], Float[Array, " E"]]:
    r"""Discounted sums of the past rewards of each episode, :math:`R_t = \gamma R_{t-1} + r_t`.

    Args:
        reward: float32 [T, E].
        ended: bool [T, E]: the sum starts anew after this step.
        start: R before the first step, float32 [E].
        gamma: discount in [0, 1].

    Returns:
        R_t, float32 [T, E], and the value to start from next time, float32 [E].
    """

    def step(past, inputs):
        reward_t, ended_t = inputs
        total = gamma * past + reward_t
        return jnp.where(ended_t, 0.0, total), total

    final, totals = jax.lax.scan(step, start, (reward, ended))
    return totals, final


def reward_to_go(
    reward: Float[Array, "T E"], ended: Bool[Array, "T E"], gamma: Float[Array, ""] | float
) -> tuple[Float[Array, "T E"], Bool[Array, "T E"]]:
    r"""Discounted sums of rewards up to the end of the episode, :math:`G_t = r_t + \gamma G_{t+1}`.

    Args:
        reward: float32 [T, E].
        ended: bool [T, E]: nothing of what follows this step counts.
        gamma: discount in [0, 1].

    Returns:
        G_t, float32 [T, E], and whether the episode of a step ends within the T steps, bool [T, E]; where it
        does not, G_t is what came until then.
    """

    def step(carry, inputs):
        following, known = carry
        reward_t, ended_t = inputs
        following = bootstrap(reward_t, ~ended_t, gamma, following)
        known = known | ended_t
        return (following, known), (following, known)

    start = jnp.zeros_like(reward[0]), jnp.zeros_like(ended[0])
    return jax.lax.scan(step, start, (reward, ended), reverse=True)[1]
