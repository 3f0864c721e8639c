r"""Soft actor-critic, with n-step targets and several gradient steps for each step of the environment.

.. math::
    J = \mathbb{E}\Big[\sum_t \gamma^t \left(r_t + \alpha H(\pi(\cdot \mid s_t))\right)\Big]

The temperature alpha is learned, so that the entropy meets a target. Sources: Haarnoja et al. 2018
(arXiv:1812.05905); for discrete actions, Christodoulou 2019 (arXiv:1910.07207).
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.flatten_util import ravel_pytree

from purerl.algorithms import Registered, off_policy
from purerl.algorithms.diagnostics import look_inside, policy_metrics
from purerl.algorithms.exploration import action_form, check_bounded, random_actions, to_bounds
from purerl.algorithms.off_policy import (
    OffPolicy,
    OffPolicyConfig,
    Round,
    in_batches,
    make_off_policy,
    scan_or_call,
)
from purerl.algorithms.skeleton import adam, static
from purerl.functional.collectives import mean_across
from purerl.functional.losses import return_metrics
from purerl.functional.metrics import Packed, as_mean, as_means
from purerl.functional.returns import bootstrap
from purerl.ranges import Count, NotNegative, Number, Positive, PositiveShare, Share, Unlimited
from purerl.replay import Sample
from purerl.types import Algorithm, AxisName, Curriculum, Metrics, PyTree

SATURATED = 0.999
"""Magnitude of an action in [-1, 1] beyond which the squashing lets hardly any gradient through."""


@struct.dataclass
class SACConfig(OffPolicyConfig):
    """Soft actor-critic."""

    num_envs: Count = static(default=8)
    num_steps: Count = static(default=64)
    num_gradient_steps: Count = static(default=8)
    learning_rate: Positive = 3e-4
    """Step size of actor and critics at the start."""
    final_learning_rate: NotNegative = 3e-4
    temperature_learning_rate: NotNegative = 3e-4
    """Step size of Adam for the logarithm of the temperature; 0 keeps the temperature as it is."""
    initial_temperature: Positive = 1.0
    """Weight of the entropy at the start."""
    entropy_per_dimension: Number = -1.0
    """Entropy that the temperature aims at, in nats for each dimension of an action within [-1, 1]."""
    entropy_share: Share = 0.5
    """The same where actions are discrete, as a share of the entropy of a uniform choice."""
    tau: PositiveShare = 0.005
    """Share of the way that the target network goes toward the network in each gradient step, in (0, 1]."""
    max_grad_norm: Unlimited = float("inf")
    adam_epsilon: Positive = 1e-8


@struct.dataclass
class Learner(off_policy.Learner):
    """What learning changes.

    Attributes:
        log_temperature: logarithm of the entropy's weight, float32 [].
        temperature_optimizer: state of its optimizer.
    """

    log_temperature: jax.Array
    temperature_optimizer: PyTree


class Terms(NamedTuple):
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
    next_policy = network.apply(frozen, batch.next_observation, method="policy")
    next_action, next_log_prob = next_policy.sample_and_log_prob(next_key)
    next_features = network.apply(target_params, batch.next_observation, method="features")
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
    next_logits = network.apply(jax.lax.stop_gradient(params), batch.next_observation, method="policy").logits
    next_log_prob = jax.nn.log_softmax(next_logits)  # [B, A]
    next_features = network.apply(target_params, batch.next_observation, method="features")
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
) -> tuple[jax.Array, tuple[jax.Array, Packed]]:
    """The sum of the losses of critics, policy and temperature: no two of them have parameters in common.

    Args:
        network: with the methods of `SoftActorCritic`.
        params: its parameters.
        log_temperature: float32 [].
        target_params: parameters that targets are computed with.
        batch: B windows of n steps.
        weight: of each in the critics' loss, float32 [B].
        key: used up here.
        config: the entropy to aim at.

    Returns:
        Mean loss, float32 []; and the sizes of the errors, float32 [B], with what else the batch tells.
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
    error = jnp.abs(terms.value - terms.target).mean(0)
    return loss, (error, metrics | return_metrics(terms.value.mean(0), terms.target))


def temperature_optimizer(config: SACConfig) -> optax.GradientTransformation:
    """Adam for the logarithm of the temperature."""
    adam_of = optax.scale_by_adam(eps=config.adam_epsilon)
    return optax.chain(adam_of, optax.scale(-config.temperature_learning_rate))


def init(
    network: Any,
    key: jax.Array,
    observation: PyTree,
    optimizer: optax.GradientTransformation,
    config: SACConfig,
) -> Learner:
    """A learner that has learned nothing."""
    form = action_form(network)
    action = jnp.zeros((jax.tree.leaves(observation)[0].shape[0], *form.shape), form.dtype)
    params = network.init(key, observation, action)
    log_temperature = jnp.log(jnp.float32(config.initial_temperature))
    return Learner(
        params=params,
        target_params=jax.tree.map(jnp.array, params),
        optimizer=optimizer.init(ravel_pytree(params)[0]),
        log_temperature=log_temperature,
        temperature_optimizer=temperature_optimizer(config).init(log_temperature),
    )


def learn(
    network: Any, learner: Learner, given: Round, config: SACConfig, loss: Callable[..., Any] = sac_loss
) -> tuple[Learner, jax.Array, Packed]:
    """Gradient steps, one after another; the target network follows each of them."""
    cools = temperature_optimizer(config)

    def loss_of(both, target, *inputs):
        params, target = given.unravel(both[0]), given.unravel(target)
        return loss(network, params, both[1], target, *inputs, config)

    def step(learner, inputs):
        both = learner.params, learner.log_temperature
        gradients, (error, metrics) = jax.grad(loss_of, has_aux=True)(both, learner.target_params, *inputs)
        gradient, slope = mean_across(gradients, given.axis_name)
        change, optimizer = given.optimizer.update(gradient, learner.optimizer, learner.params)
        cooling, cooling_state = cools.update(slope, learner.temperature_optimizer)
        params, log_temperature = learner.params + change, learner.log_temperature + cooling
        metrics |= {
            "gradient_norm": as_mean(optax.tree.norm(gradient)),
            "temperature": as_mean(jnp.exp(log_temperature)),
        }
        learner = Learner(
            params=params,
            target_params=learner.target_params + config.tau * (params - learner.target_params),
            optimizer=optimizer,
            log_temperature=log_temperature,
            temperature_optimizer=cooling_state,
        )
        return learner, (error, metrics)

    batches = in_batches((given.samples, given.weight), config.num_gradient_steps)
    keys = jax.random.split(given.key, config.num_gradient_steps)
    learner, (error, metrics) = scan_or_call(step, learner, (*batches, keys))
    return learner, error.reshape(-1), metrics


def draw(network: Any, key: jax.Array, *shape: int) -> tuple[jax.Array, jax.Array]:
    """Keys of the policy's actions [R, k], and the actions [R, k, E, ...] that are taken before it learns."""
    blind_key, act_key = jax.random.split(key)
    return jax.random.split(act_key, shape[:-1]), random_actions(blind_key, network, *shape)


def act(
    network: Any, learner: Learner, observation: PyTree, chance: Any, knows: jax.Array, config: SACConfig
) -> tuple[jax.Array, None]:
    """A sample of the policy; uniformly random before it learns."""
    key, blind = chance
    action = network.apply(learner.params, observation, method="policy").sample(seed=key)
    return jnp.where(knows, action, blind), None


def policy(
    network: Any, learner: Learner, observation: PyTree, key: jax.Array, deterministic: bool
) -> jax.Array:
    """The policy's most likely actions, or a sample of it: [B, A] or [B]."""
    distribution = network.apply(learner.params, observation, method="policy")
    return distribution.mode() if deterministic else distribution.sample(seed=key)


def look(network: Any, learner: Learner, observation: PyTree) -> Packed | Metrics:
    """The policy on some observations, and what the network tells about itself."""
    both = lambda net, observation: (net.policy(observation), net.features(observation))  # noqa: E731
    (distribution, _), inside = look_inside(network, learner.params, observation, method=both)
    center = {} if network.discrete else {"action_mean": as_mean(distribution.mode())}
    return policy_metrics(distribution) | center | inside


def make_sac(
    env: Any,
    network: Any,
    axis_name: AxisName = None,
    curriculum: Curriculum | None = None,
    *,
    loss: Callable[..., Any] = sac_loss,
    optimizer: Callable[..., optax.GradientTransformation] = adam,
) -> Algorithm:
    """SAC on an environment with a network.

    Args:
        env: and these: see `make_off_policy`.
        network: a flax module with the methods of `SoftActorCritic`.
        axis_name: the same.
        curriculum: the same.
        loss: with the arguments of `sac_loss`, and what it returns.
        optimizer: `(config, step size) -> optax.GradientTransformation`, of actor and critics as one vector.

    Raises:
        ValueError: one line, where actions are numbers without bounds.
    """
    space = env.action_space(env.default_params)
    check_bounded(space)
    parts = OffPolicy(
        name="SAC",
        action=action_form(network),
        init=init,
        draw=draw,
        act=act,
        learn=partial(learn, loss=loss),
        policy=policy,
        look=look,
        bound=partial(to_bounds, space=space, periodic=network.periodic),
        optimizer=optimizer,
    )
    return make_off_policy(env, network, parts, axis_name, curriculum)


ALGORITHM = Registered("sac", SACConfig, make_sac, network="soft", cut="batches")
