r"""Proximal policy optimization.

.. math::
    L = \mathbb{E}\left[-\min(\rho_t A_t,\ \text{clip}(\rho_t, 1 \pm \epsilon) A_t)
        + c_v L_t^{V} - c_e H(\pi(\cdot \mid s_t))\right], \qquad
    \rho_t = \frac{\pi(a_t \mid s_t)}{\pi_{old}(a_t \mid s_t)}

Source: Schulman et al. 2017 (arXiv:1707.06347), equation 9; advantages by GAE (arXiv:1506.02438).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from purerl.algorithms import Registered
from purerl.algorithms.diagnostics import policy_metrics
from purerl.algorithms.on_policy import make_on_policy
from purerl.algorithms.on_policy_parts import OnPolicy, OnPolicyConfig, Samples, Targets, judge
from purerl.algorithms.skeleton import adam, static
from purerl.functional.distributions import entropy_of
from purerl.functional.losses import approximate_kl, clipped_surrogate, clipped_value_loss
from purerl.functional.metrics import Packed, as_means
from purerl.functional.normalize import standardize
from purerl.functional.returns import gae
from purerl.ranges import Count, NotNegative, Positive, Share, Unlimited
from purerl.types import Algorithm, AxisName, Curriculum, Transition


@struct.dataclass
class PPOConfig(OnPolicyConfig):
    """Proximal policy optimization."""

    num_envs: Count = static(default=256)
    num_epochs: Count = static(default=4)
    num_minibatches: Count = static(default=8)
    normalize_rewards: bool = static(default=True)
    kl_target: NotNegative = static(default=0.0)
    """KL of an update to which the step size adapts, beginning with `learning_rate`; 0.01 is usual, 0 keeps
    to the schedule."""
    gae_lambda: Share = 0.95
    """Decay of the advantage estimator, in [0, 1]."""
    clip: Positive = 0.2
    """How far the probability ratio may move in one update."""
    value_clip: Unlimited = float("inf")
    """How far the critic may move in one update; inf for no limit."""
    value_coefficient: NotNegative = 0.5
    """Weight of the critic's loss."""
    entropy_coefficient: NotNegative = 0.0
    """Weight of the entropy bonus."""


def gae_advantage(transitions: Transition, config: PPOConfig) -> jax.Array:
    """Advantages of the actions of a rollout, float32 [T, E]; with the values, the critic's targets."""
    t = transitions
    return gae(t.reward, t.value, t.next_value, t.terminated, t.truncated, config.gamma, config.gae_lambda)


def ppo_loss(network: Any, params: Any, samples: Samples, config: PPOConfig) -> tuple[jax.Array, Packed]:
    """The loss of one microbatch.

    Args:
        network: `network.apply(params, observations) -> (distribution, values [B])`; one with a memory takes
            segments.
        params: its parameters.
        samples: B samples, or segments.
        config: coefficients.

    Returns:
        Mean loss over the samples, float32 [], and the metrics of those that are learned from.
    """
    policy, value = judge(network, params, samples)
    counts = samples.weight > 0
    # The policy may run far away from what it does not learn from, where the ratio is infinite.
    log_ratio = jnp.where(counts, policy.log_prob(samples.action) - samples.log_prob, 0.0)
    policy_loss = clipped_surrogate(log_ratio, samples.advantage, config.clip)
    value_loss = clipped_value_loss(value, samples.value, samples.target, config.value_clip)
    entropy = entropy_of(policy)
    loss = policy_loss - config.entropy_coefficient * entropy + config.value_coefficient * value_loss
    metrics = {
        "policy_loss": policy_loss,
        "value_loss": value_loss,
        "entropy": entropy,
        "approx_kl": approximate_kl(log_ratio),
        "clip_fraction": jnp.abs(jnp.expm1(log_ratio)) > config.clip,
    }
    return jnp.where(counts, samples.weight * loss, 0.0).mean(), as_means(metrics, counts)


def adapted_rate(rate: jax.Array, kl: jax.Array, target: float) -> jax.Array:
    """The next step size: 1.5 times smaller above twice the KL aimed at, 1.5 times larger below half of it.

    It stays within 1e-5 and 1e-2.

    Args:
        rate: step size in force, float32 [].
        kl: mean over the gradient steps of an update and the samples that are learned from, float32 [].
        target: above 0.

    Source: Rudin et al. 2022 (arXiv:2109.11978), appendix A.2.
    """
    factor = jnp.where(kl > 2.0 * target, 1.0 / 1.5, jnp.where(kl < 0.5 * target, 1.5, 1.0))
    return jnp.clip(rate * factor, 1e-5, 1e-2)


def follow_kl(config: PPOConfig) -> Callable[[jax.Array, Packed], jax.Array] | None:
    """The step size after an update with some metrics; None where it follows the schedule."""
    if not config.kl_target:
        return None

    def adapt(rate: jax.Array, metrics: Packed) -> jax.Array:
        kl = metrics["approx_kl"]
        return adapted_rate(rate, kl.total / jnp.maximum(kl.weight, 1.0), config.kl_target)

    return adapt


def make_ppo(
    env: Any,
    network: Any,
    axis_name: AxisName = None,
    curriculum: Curriculum | None = None,
    *,
    loss: Callable[..., tuple[jax.Array, Packed]] = ppo_loss,
    advantage: Callable[[Transition, PPOConfig], jax.Array] = gae_advantage,
    optimizer: Callable[..., optax.GradientTransformation] = adam,
) -> Algorithm:
    """PPO on an environment with a network.

    Args:
        env: and these: see `make_on_policy`.
        network: an `ActorCritic`, or one with a memory.
        axis_name: the same.
        curriculum: the same.
        loss: `(network, params, samples, config) -> (mean loss [], metrics)`.
        advantage: `(transitions [T, E, ...], config) -> float32 [T, E]`, before it is standardized.
        optimizer: `(config, step size) -> optax.GradientTransformation`, for one flat vector.
    """

    def targets(transitions, learnable, config, axis_name):
        found = advantage(transitions, config)
        return Targets(
            advantage=standardize(found, learnable, axis_name),
            target=found + transitions.value,
            counts=learnable,
        )

    parts = OnPolicy(
        name="PPO",
        loss=loss,
        targets=targets,
        optimizer=optimizer,
        adapt=follow_kl,
        look=lambda stepped: policy_metrics(stepped[1]),
    )
    return make_on_policy(env, network, parts, axis_name, curriculum)


ALGORITHM = Registered("ppo", PPOConfig, make_ppo, network="actor_critic")
