r"""Advantages without a critic: rollouts that share an initial state are compared with each other.

.. math::
    R_i = \sum_{t < T_i} \gamma^t r_{i,t}, \qquad
    A_{i,t} = \frac{R_i - \text{mean}(R_1, \dots, R_G)}{\text{std}(R_1, \dots, R_G) + \epsilon}

for the G members of a group, up to the end of the episode that each begins with. Later episodes of the
rollout begin at different levels, so they do not count. A rollout that is shorter than the episode compares
what was reached within it: nothing is bootstrapped.

Returns of a group that differ by no more than the rounding of float32 are equal: their advantages are exactly
0, where :math:`\epsilon` alone would let the rounding be divided by its own size.

Source: Shao et al. 2024 (arXiv:2402.03300), section 4.1, outcome supervision.
"""

import dataclasses

import jax
import jax.numpy as jnp

from purerl.rollout.unroll import ActorState, take_levels
from purerl.types import LevelPool, Transition

_EPSILON = 1e-6


def start_groups(actor: ActorState, pool: LevelPool, key: jax.Array, group_size: int) -> ActorState:
    """Starts all environments anew, each group of neighbors on one level of the pool.

    Raises:
        ValueError: the size of a group does not divide the number of environments on a device.
    """
    num_envs = actor.slot.shape[0]
    if num_envs % group_size:
        raise ValueError(f"group_size = {group_size} does not divide the {num_envs} environments of a device")
    drawn = jax.random.bits(key, (num_envs // group_size,)) % pool.draw.shape[0]
    slot = jnp.repeat(pool.draw[drawn], group_size)
    observation, env_state, learnable = take_levels(pool, slot)
    return dataclasses.replace(
        actor,
        env_state=env_state,
        observation=observation,
        episode_return=jnp.zeros_like(actor.episode_return),
        episode_length=jnp.zeros_like(actor.episode_length),
        cut_after=jnp.zeros_like(actor.cut_after),
        discounted_return=jnp.zeros_like(actor.discounted_return),
        slot=slot,
        learnable=learnable,
        level_return=jax.tree.map(jnp.zeros_like, actor.level_return),
    )


def group_advantage(
    transitions: Transition, group_size: int, gamma: jax.Array | float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Compares the first episodes of a rollout that `start_groups` began.

    Args:
        transitions: leaves [T, E].
        group_size: G, divides E.
        gamma: discount.

    Returns:
        Advantages; the returns that they come from, the same at each step of an episode; and whether a step
        belongs to a first episode, bool. All are [T, E].
    """
    ended = (transitions.terminated | transitions.truncated).astype(jnp.int32)
    first = jnp.cumsum(ended, axis=0) - ended == 0
    discount = gamma ** jnp.arange(ended.shape[0], dtype=jnp.float32)[:, None]
    rewards = jnp.where(first, discount * transitions.reward, 0.0)
    returns = rewards.sum(0)
    advantage = compare(
        returns.reshape(-1, group_size), rounding_of(rewards).reshape(-1, group_size).max(1, keepdims=True)
    ).reshape(-1)
    spread = lambda values: jnp.broadcast_to(values, first.shape)  # noqa: E731
    return spread(advantage), spread(returns), first


def rounding_of(terms: jax.Array) -> jax.Array:
    r"""How far two sums of the same T numbers in another order may differ: float32 [T, E] -> [E].

    Rounding errors of the partial sums add up like a random walk: :math:`\epsilon \sqrt T \sum_t |x_t|` is
    rarely reached, with the machine's epsilon.

    Source: Higham and Mary 2019, "A new approach to probabilistic rounding error analysis".
    """
    epsilon = float(jnp.finfo(jnp.float32).eps)
    return epsilon * terms.shape[0] ** 0.5 * jnp.abs(terms).sum(0)


def compare(groups: jax.Array, rounding: jax.Array) -> jax.Array:
    """Returns of groups in units of their deviations: float32 [N, G] -> [N, G]; exactly 0 where all tie.

    Args:
        groups: the returns.
        rounding: differences within a group that mean nothing, float32 [N, 1].
    """
    ties = groups.max(1, keepdims=True) - groups.min(1, keepdims=True) <= rounding
    centered = groups - groups.mean(1, keepdims=True)
    return jnp.where(ties, 0.0, centered / (groups.std(1, keepdims=True) + _EPSILON))
