"""Losses of soft actor-critic: of its critics, of its policy and of the temperature."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from purerl.algorithms.sac_config import SACConfig
from purerl.functional.losses import return_metrics
from purerl.functional.metrics import Packed, as_means
from purerl.functional.returns import bootstrap
from purerl.replay import Sample
from purerl.types import PyTree

SATURATED = 0.999
"""Magnitude of an action in [-1, 1] beyond which the squashing lets hardly any gradient through."""


@struct.dataclass
class Terms:
    """What the losses are made of, float32 [B], with K critics.

    Attributes:
        value: Q(s, a) of each critic, [K, B].
        target: what it should be; carries no gradient.
        policy_loss: what the policy descends; carries no gradient to the critics.
        entropy: of the policy at s, sampled or exact; carries no gradient.
        saturated: share of the policy's action entries at the end of their range.
    """

    value: jax.Array
    target: jax.Array
    policy_loss: jax.Array
    entropy: jax.Array
    saturated: jax.Array


def target_entropy(network: Any, config: SACConfig) -> jax.Array | float:
    """The entropy that the temperature aims at, in nats: float32 []."""
    if network.discrete:
        return config.entropy_share * math.log(network.action_size)
    return config.entropy_per_dimension * network.action_size


def continuous_terms(
    network: Any, params: PyTree, target_params: PyTree, temperature: jax.Array, batch: Sample, key: jax.Array
) -> Terms:
    r"""With one sampled action for each observation and one for each successor.

    .. math::
        y = R + \gamma^n \left(\min_k \bar Q_k(s', a') - \alpha \log \pi(a' \mid s')\right), \qquad
        L_\pi = \alpha \log \pi(\tilde a \mid s) - \min_k Q_k(s, \tilde a)

    Source: Haarnoja et al. 2018 (arXiv:1812.05905), equations 5 to 9, with R and gamma^n of n steps.
    """
    key, next_key = jax.random.split(key)
    frozen = jax.lax.stop_gradient(params)
    next_policy = network.apply(frozen, batch.successor, method="policy")
    next_action, next_log_prob = next_policy.sample_and_log_prob(next_key)
    next_features = network.apply(target_params, batch.successor, method="features")
    next_value = network.apply(target_params, next_features, next_action, method="values").min(0)
    soft_value = next_value - temperature * next_log_prob
    target = bootstrap(batch.reward, batch.discount, batch.discount, soft_value)
    features = network.apply(params, batch.observation, method="features")
    value = network.apply(params, features, batch.action, method="values")
    action, log_prob = network.apply(params, batch.observation, method="policy").sample_and_log_prob(key)
    features = jax.lax.stop_gradient(features)
    value_of_policy = network.apply(frozen, features, action, method="values").min(0)
    return Terms(
        value=value,
        target=jax.lax.stop_gradient(target),
        policy_loss=temperature * log_prob - value_of_policy,
        entropy=-jax.lax.stop_gradient(log_prob),
        saturated=(jnp.abs(action) > SATURATED).mean(-1),
    )


def discrete_terms(
    network: Any, params: PyTree, target_params: PyTree, temperature: jax.Array, batch: Sample, key: jax.Array
) -> Terms:
    """With exact expectations over the actions.

    Source: Christodoulou 2019 (arXiv:1910.07207), equations 10 to 12.
    """
    next_logits = network.apply(jax.lax.stop_gradient(params), batch.successor, method="policy").logits
    next_log_prob = jax.nn.log_softmax(next_logits)  # [B, A]
    next_features = network.apply(target_params, batch.successor, method="features")
    next_value = network.apply(target_params, next_features, batch.action, method="values").min(0)
    soft_value = (jnp.exp(next_log_prob) * (next_value - temperature * next_log_prob)).sum(-1)
    features = network.apply(params, batch.observation, method="features")
    values = network.apply(params, features, batch.action, method="values")  # [K, B, A]
    log_prob = jax.nn.log_softmax(network.apply(params, batch.observation, method="policy").logits)
    probability = jnp.exp(log_prob)
    least = jax.lax.stop_gradient(values.min(0))
    return Terms(
        value=jnp.take_along_axis(values, batch.action[None, :, None], axis=-1)[..., 0],
        target=jax.lax.stop_gradient(bootstrap(batch.reward, batch.discount, batch.discount, soft_value)),
        policy_loss=(probability * (temperature * log_prob - least)).sum(-1),
        entropy=-jax.lax.stop_gradient((probability * log_prob).sum(-1)),
        saturated=jnp.zeros(batch.reward.shape),
    )


def sac_loss(
    network: Any,
    params: PyTree,
    log_temperature: jax.Array,
    target_params: PyTree,
    batch: Sample,
    weight: jax.Array,
    key: jax.Array,
    config: SACConfig,
) -> tuple[jax.Array, Packed]:
    """The sum of the losses of critics, policy and temperature: no two of them have parameters in common.

    Args:
        network: with the methods of `SoftActorCritic`.
        params: its parameters.
        log_temperature: float32 [].
        target_params: parameters that targets are computed with.
        batch: B windows of n steps.
        weight: of each in the critics' loss, float32 [B].
        key: used up here.
        config: gamma and the entropy to aim at.

    Returns:
        Mean loss over the samples, float32 [], and the metrics of this batch.
    """
    terms_of = discrete_terms if network.discrete else continuous_terms
    temperature = jnp.exp(jax.lax.stop_gradient(log_temperature))
    terms = terms_of(network, params, target_params, temperature, batch, key)
    value_loss = 0.5 * jnp.square(terms.value - terms.target).sum(0)
    surplus = terms.entropy - target_entropy(network, config)
    loss = (weight * value_loss + terms.policy_loss + log_temperature * surplus).mean()
    metrics = as_means(
        {
            "value_loss": value_loss,
            "policy_loss": terms.policy_loss,
            "entropy": terms.entropy,
            "action_value": terms.value.mean(0),
            "saturated_share": terms.saturated,
        }
    )
    return loss, metrics | return_metrics(terms.value.mean(0), terms.target)
