r"""Advantage actor-critic, synchronous: one gradient step on each rollout.

.. math::
    L = \mathbb{E}\left[-A_t \log \pi(a_t \mid s_t) + c_v (V(s_t) - G_t)^2 / 2
        - c_e H(\pi(\cdot \mid s_t))\right]

Source: Mnih et al. 2016 (arXiv:1602.01783), section 4; advantages by GAE (arXiv:1506.02438), with
`gae_lambda = 1` those of the paper.
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
from purerl.algorithms.ppo import gae_advantage
from purerl.algorithms.skeleton import adam, static
from purerl.functional.distributions import entropy_of
from purerl.functional.metrics import Packed, as_means
from purerl.functional.normalize import standardize
from purerl.ranges import Count, NotNegative, Positive, Share
from purerl.types import Algorithm, AxisName, Curriculum


@struct.dataclass
class A2CConfig(OnPolicyConfig):
    """Advantage actor-critic."""

    num_steps: Count = static(default=16)
    learning_rate: Positive = 2e-3
    normalize_advantages: bool = static(default=False)
    """Take advantages in units of their deviation over a rollout, with mean 0, instead of as they are."""
    gae_lambda: Share = 1.0
    """Decay of the advantage estimator, in [0, 1]; 1 sums rewards up to the end of the rollout."""
    value_coefficient: NotNegative = 0.5
    """Weight of the critic's loss."""
    entropy_coefficient: NotNegative = 0.01
    """Weight of the entropy bonus."""


def a2c_loss(network: Any, params: Any, samples: Samples, config: A2CConfig) -> tuple[jax.Array, Packed]:
    """Mean loss of B samples, or segments, float32 [], and the metrics of those that are learned from."""
    policy, value = judge(network, params, samples)
    counts = samples.weight > 0
    # The policy may run far away from what it does not learn from, where the logarithm is infinite.
    log_prob = jnp.where(counts, policy.log_prob(samples.action), 0.0)
    policy_loss = -samples.advantage * log_prob
    value_loss = 0.5 * jnp.square(value - samples.target)
    entropy = entropy_of(policy)
    loss = policy_loss + config.value_coefficient * value_loss - config.entropy_coefficient * entropy
    metrics = {"policy_loss": policy_loss, "value_loss": value_loss, "entropy": entropy}
    return jnp.where(counts, samples.weight * loss, 0.0).mean(), as_means(metrics, counts)


def make_a2c(
    env: Any,
    network: Any,
    axis_name: AxisName = None,
    curriculum: Curriculum | None = None,
    *,
    loss: Callable[..., tuple[jax.Array, Packed]] = a2c_loss,
    optimizer: Callable[..., optax.GradientTransformation] = adam,
) -> Algorithm:
    """A2C on an environment with a network.

    Args:
        env: and these: see `make_on_policy`.
        network: an `ActorCritic`, or one with a memory.
        axis_name: the same.
        curriculum: the same.
        loss: `(network, params, samples, config) -> (mean loss [], metrics)`.
        optimizer: `(config, step size) -> optax.GradientTransformation`, for one flat vector.
    """

    def targets(transitions, learnable, config, axis_name):
        advantage = found = gae_advantage(transitions, config)
        if config.normalize_advantages:
            advantage = standardize(found, learnable, axis_name)
        return Targets(advantage=advantage, target=found + transitions.value, counts=learnable)

    parts = OnPolicy(
        name="A2C",
        loss=loss,
        targets=targets,
        optimizer=optimizer,
        look=lambda stepped: policy_metrics(stepped[1]),
    )
    return make_on_policy(env, network, parts, axis_name, curriculum)


ALGORITHM = Registered("a2c", A2CConfig, make_a2c, network="actor_critic")
