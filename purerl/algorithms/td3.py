r"""TD3: a deterministic policy that ascends the lesser of two critics, later and more slowly than they learn.

.. math::
    y = R + \gamma^n \min_k \bar Q_k(s', \bar\pi(s') + \epsilon), \qquad
    \epsilon \sim \text{clip}(N(0, \tilde\sigma), \pm c), \qquad L_\pi = -Q_1(s, \pi(s))

Source: Fujimoto et al. 2018 (arXiv:1802.09477), algorithm 1, with R and gamma^n of n steps.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.flatten_util import ravel_pytree

from purerl.algorithms import Registered, off_policy
from purerl.algorithms.diagnostics import look_inside
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
from purerl.functional.losses import return_metrics
from purerl.functional.metrics import Packed, as_mean, as_means
from purerl.functional.returns import bootstrap
from purerl.ranges import Count, NotNegative, Positive, PositiveShare, Unlimited
from purerl.replay import Sample
from purerl.types import Algorithm, AxisName, Curriculum, Metrics, PyTree


@struct.dataclass
class TD3Config(OffPolicyConfig):
    """Twin delayed deterministic policy gradient."""

    num_envs: Count = static(default=8)
    num_steps: Count = static(default=64)
    num_gradient_steps: Count = static(default=8)
    learning_rate: Positive = 3e-4
    """Step size of policy and critics at the start."""
    final_learning_rate: NotNegative = 3e-4
    policy_every: Count = 2
    """Gradient steps of the critics for each step of the policy, after which the target network moves."""
    exploration_noise: NotNegative = 0.1
    """Deviation of the noise that acting adds to an action within [-1, 1]."""
    target_noise: NotNegative = 0.2
    """Deviation of the noise in the actions that targets are computed with."""
    target_noise_clip: Unlimited = 0.5
    """The most that this noise changes an action by; inf for no limit."""
    tau: PositiveShare = 0.005
    """Share of the way that the target network goes toward the network when it moves, in (0, 1]."""
    max_grad_norm: Unlimited = float("inf")
    adam_epsilon: Positive = 1e-8


@struct.dataclass
class Learner(off_policy.Learner):
    """What learning changes; `optimizer` holds two states, of the critics' and of the policy's optimizer.

    Attributes:
        num_steps: gradient steps of the critics since the policy's last, int32 [].
        exploration_noise: deviation in force, float32 [].
    """

    num_steps: jax.Array
    exploration_noise: jax.Array


def choose(network: Any, params: PyTree, observation: PyTree) -> jax.Array:
    """What the policy does, float32 [B, A] in [-1, 1]: the center of the network's; its width is not read."""
    return network.apply(params, observation, method="policy").mode()


def td3_target(
    network: Any, target_params: PyTree, batch: Sample, noise: jax.Array, config: TD3Config
) -> jax.Array:
    """What the critics' values should be, float32 [B].

    Args:
        network: with the methods of `SoftActorCritic`.
        target_params: its slow parameters.
        batch: B windows of n steps.
        noise: standard Gaussian, float32 [B, A].
        config: deviation and limit of the noise.
    """
    noise = jnp.clip(config.target_noise * noise, -config.target_noise_clip, config.target_noise_clip)
    action = jnp.clip(choose(network, target_params, batch.next_observation) + noise, -1.0, 1.0)
    features = network.apply(target_params, batch.next_observation, method="features")
    value = network.apply(target_params, features, action, method="values").min(0)
    return bootstrap(batch.reward, batch.discount, batch.discount, value)


def td3_loss(
    network: Any, params: PyTree, target: jax.Array, batch: Sample, weight: jax.Array, config: TD3Config
) -> tuple[jax.Array, tuple[jax.Array, Packed]]:
    """The critics' loss of one batch.

    Args:
        network: with the methods of `SoftActorCritic`.
        params: its parameters.
        target: see `td3_target`, float32 [B].
        batch: B windows of n steps.
        weight: of each, float32 [B].
        config: coefficients.

    Returns:
        Mean loss, float32 []; and the sizes of the errors, float32 [B], with what else the batch tells.
    """
    features = network.apply(params, batch.observation, method="features")
    value = network.apply(params, features, batch.action, method="values")  # [K, B]
    value_loss = 0.5 * jnp.square(value - target).sum(0)
    metrics = as_means({"value_loss": value_loss, "action_value": value.mean(0)})
    error = jnp.abs(value - target).mean(0)
    return (weight * value_loss).mean(), (error, metrics | return_metrics(value.mean(0), target))


def policy_loss(
    network: Any, params: PyTree, batch: Sample, config: TD3Config
) -> tuple[jax.Array, tuple[None, Packed]]:
    """The policy's loss of one batch, float32 []: less the first critic's value, which gets no gradient."""
    frozen = jax.lax.stop_gradient(params)
    features = network.apply(frozen, batch.observation, method="features")
    action = choose(network, params, batch.observation)
    loss = -network.apply(frozen, features, action, method="values")[0]
    return loss.mean(), (None, as_means({"policy_loss": loss}))


def init(
    network: Any,
    key: jax.Array,
    observation: PyTree,
    optimizer: optax.GradientTransformation,
    config: TD3Config,
) -> Learner:
    """A learner that has learned nothing; its target network is a copy."""
    action = jnp.zeros((jax.tree.leaves(observation)[0].shape[0], network.action_size))
    params = network.init(key, observation, action)
    flat = ravel_pytree(params)[0]
    return Learner(
        params=params,
        target_params=jax.tree.map(jnp.copy, params),
        optimizer=(optimizer.init(flat), optimizer.init(flat)),
        num_steps=jnp.int32(0),
        exploration_noise=jnp.asarray(config.exploration_noise, jnp.float32),
    )


def learn(
    network: Any, learner: Learner, given: Round, config: TD3Config, loss: Callable[..., Any] = td3_loss
) -> tuple[Learner, jax.Array, Packed]:
    """Gradient steps of the critics, and of the policy after every `policy_every` of them."""
    loss_of = lambda flat, *inputs: loss(network, given.unravel(flat), *inputs, config)  # noqa: E731
    policy_loss_of = lambda flat, batch: policy_loss(network, given.unravel(flat), batch, config)  # noqa: E731

    def improve(params, target_params, state, batch):
        params, state, _, metrics = given.descend(policy_loss_of, params, state, batch)
        target_params = target_params + config.tau * (params - target_params)
        return (params, target_params, state), metrics["policy_loss"]

    def wait(params, target_params, state, batch):
        return (params, target_params, state), as_mean(jnp.zeros(0))

    def step(learner, inputs):
        batch, weight, noise = inputs
        target = td3_target(network, given.unravel(learner.target_params), batch, noise, config)
        critics, policy = learner.optimizer
        params, critics, error, metrics = given.descend(
            loss_of, learner.params, critics, target, batch, weight
        )
        num_steps = learner.num_steps + 1
        due = num_steps >= config.policy_every
        (params, target_params, policy), of_policy = jax.lax.cond(
            due, improve, wait, params, learner.target_params, policy, batch
        )
        learner = dataclasses.replace(
            learner,
            params=params,
            target_params=target_params,
            optimizer=(critics, policy),
            num_steps=jnp.where(due, 0, num_steps),
        )
        return learner, (error, metrics | {"policy_loss": of_policy})

    steps = config.num_gradient_steps
    noise = jax.random.normal(given.key, (*given.weight.shape, network.action_size))
    learner, (error, metrics) = scan_or_call(
        step, learner, in_batches((given.samples, given.weight, noise), steps)
    )
    return learner, error.reshape(-1), metrics


def draw(network: Any, key: jax.Array, *shape: int) -> tuple[jax.Array, jax.Array]:
    """Noise of the actions and the actions that are taken before it learns, float32 [R, k, E, A]."""
    blind_key, noise_key = jax.random.split(key)
    noise = jax.random.normal(noise_key, (*shape, network.action_size))
    return noise, random_actions(blind_key, network, *shape)


def act(
    network: Any, learner: Learner, observation: PyTree, chance: Any, knows: jax.Array, config: TD3Config
) -> tuple[jax.Array, None]:
    """The policy's actions and noise; uniformly random before it learns."""
    noise, blind = chance
    action = choose(network, learner.params, observation) + learner.exploration_noise * noise
    return jnp.where(knows, jnp.clip(action, -1.0, 1.0), blind), None


def policy(
    network: Any, learner: Learner, observation: PyTree, key: jax.Array, deterministic: bool
) -> jax.Array:
    """The policy's actions, with noise or without: float32 [B, A] in [-1, 1]."""
    action = choose(network, learner.params, observation)
    if deterministic:
        return action
    return jnp.clip(action + learner.exploration_noise * jax.random.normal(key, action.shape), -1.0, 1.0)


def follow(config: TD3Config, done: jax.Array) -> dict[str, jax.Array]:
    """The noise of acting, the same in all rounds, float32 [R]."""
    return {"exploration_noise": jnp.full(done.shape, config.exploration_noise, jnp.float32)}


def look(network: Any, learner: Learner, observation: PyTree) -> Packed | Metrics:
    """The policy on some observations, and what the network tells about itself."""
    both = lambda net, observation: (net.policy(observation), net.features(observation))  # noqa: E731
    (distribution, _), inside = look_inside(network, learner.params, observation, method=both)
    return {"action_mean": as_mean(distribution.mode())} | inside


def make_td3(
    env: Any,
    network: Any,
    axis_name: AxisName = None,
    curriculum: Curriculum | None = None,
    *,
    loss: Callable[..., Any] = td3_loss,
    optimizer: Callable[..., optax.GradientTransformation] = adam,
) -> Algorithm:
    """TD3 on an environment with a network.

    Args:
        env: an environment with continuous actions; see `make_off_policy` for the others.
        network: a flax module with the methods of `SoftActorCritic`.
        axis_name: the same.
        curriculum: the same.
        loss: with the arguments of `td3_loss`, and what it returns.
        optimizer: `(config, step size) -> optax.GradientTransformation`, for one flat vector: one moves the
            critics and one the policy; what belongs to the other has no gradient.

    Raises:
        ValueError: one line, where actions are choices, or numbers without bounds.
    """
    space = env.action_space(env.default_params)
    if network.discrete:
        raise ValueError(
            "TD3 needs continuous actions, and this environment has discrete ones; use DQN or SAC"
        )
    check_bounded(space)
    parts = OffPolicy(
        name="TD3",
        action=action_form(network),
        init=init,
        draw=draw,
        act=act,
        learn=partial(learn, loss=loss),
        policy=policy,
        look=look,
        follow=follow,
        bound=partial(to_bounds, space=space, periodic=network.periodic),
        optimizer=optimizer,
    )
    return make_off_policy(env, network, parts, axis_name, curriculum)


ALGORITHM = Registered("td3", TD3Config, make_td3, network="soft", cut="batches")
