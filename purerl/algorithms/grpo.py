r"""Group-relative policy optimization: rollouts that share an initial state are compared, without a critic.

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
from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from purerl.algorithms import Registered
from purerl.algorithms.diagnostics import policy_metrics
from purerl.algorithms.on_policy import make_on_policy
from purerl.algorithms.on_policy_parts import OnPolicy, OnPolicyConfig, Samples, Targets, judge
from purerl.algorithms.skeleton import adam, check_multiple, static
from purerl.functional.distributions import entropy_of
from purerl.functional.losses import approximate_kl, clipped_surrogate
from purerl.functional.metrics import Packed, as_means
from purerl.ranges import MOST_INT32, Count, NotNegative, Positive, Range
from purerl.rollout.unroll import ActorState, take_levels
from purerl.types import Algorithm, AxisName, Curriculum, LevelPool, Transition

_EPSILON = 1e-6


@struct.dataclass
class GRPOConfig(OnPolicyConfig):
    """Group-relative policy optimization. Each rollout begins anew, so num_steps should hold an episode."""

    num_envs: Count = static(default=256)
    num_steps: Count = static(default=128)
    num_epochs: Count = static(default=4)
    num_minibatches: Count = static(default=8)
    normalize_rewards: bool = static(default=True)
    group_size: Annotated[int, Range(2, MOST_INT32, whole=True)] = static(default=8)
    """Environments that start from the same level and are compared with each other; divides num_envs."""
    clip: Positive = 0.2
    """How far the probability ratio may move in one update."""
    entropy_coefficient: NotNegative = 0.0
    """Weight of the entropy bonus."""


def grpo_loss(network: Any, params: Any, samples: Samples, config: GRPOConfig) -> tuple[jax.Array, Packed]:
    """Mean loss of one microbatch, float32 [], with metrics of what is learned from; see `OnPolicy.loss`."""
    policy, _ = judge(network, params, samples)
    counts = samples.weight > 0
    log_ratio = jnp.where(counts, policy.log_prob(samples.action) - samples.log_prob, 0.0)
    policy_loss = clipped_surrogate(log_ratio, samples.advantage, config.clip)
    entropy = entropy_of(policy)
    loss = policy_loss - config.entropy_coefficient * entropy
    metrics = {
        "policy_loss": policy_loss,
        "entropy": entropy,
        "approx_kl": approximate_kl(log_ratio),
        "clip_fraction": jnp.abs(jnp.expm1(log_ratio)) > config.clip,
    }
    return jnp.where(counts, samples.weight * loss, 0.0).mean(), as_means(metrics, counts)


def make_grpo(
    env: Any,
    network: Any,
    axis_name: AxisName = None,
    curriculum: Curriculum | None = None,
    *,
    loss: Callable[..., tuple[jax.Array, Packed]] = grpo_loss,
    optimizer: Callable[..., optax.GradientTransformation] = adam,
) -> Algorithm:
    """GRPO on an environment with a network: an `ActorCritic`, whose critic is left as it is.

    Args:
        env: and these: see `make_on_policy`.
        network: the same.
        axis_name: the same.
        curriculum: the same.
        loss: `(network, params, samples, config) -> (mean loss [], metrics)`.
        optimizer: `(config, step size) -> optax.GradientTransformation`, for one flat vector.
    """

    def check(config: GRPOConfig, shards: int) -> None:
        over = f" over {shards} devices" if shards > 1 else ""
        why = f"group_size = {config.group_size}{over}"
        check_multiple(config, "num_envs", config.group_size * shards, why)

    def targets(transitions, learnable, config, axis_name):
        advantage, returns, first = group_advantage(transitions, config.group_size, config.gamma)
        return Targets(advantage=advantage, target=returns, counts=learnable & first)

    parts = OnPolicy(
        name="GRPO",
        loss=loss,
        targets=targets,
        check=check,
        tells=frozenset({"learnable"}),
        value=None,
        optimizer=optimizer,
        start=lambda actor, pool, key, config: start_groups(actor, pool, key, config.group_size),
        look=lambda stepped: policy_metrics(stepped[1]),
    )
    return make_on_policy(env, network, parts, axis_name, curriculum)


def start_groups(actor: ActorState, pool: LevelPool, key: jax.Array, group_size: int) -> ActorState:
    """Starts all environments anew, each group of neighbors on one level of the pool."""
    num_envs = actor.slot.shape[0]
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


ALGORITHM = Registered("grpo", GRPOConfig, make_grpo, network="actor_critic")
