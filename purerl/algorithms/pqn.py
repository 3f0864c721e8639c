r"""Parallelized Q-learning: many environments in place of a replay, layer norm in place of a target network.

.. math::
    L = \mathbb{E}\left[\ell\left(Q_\theta(s_t, a_t) - G_t\right)\right], \qquad
    G_t = r_t + \gamma \left((1 - \lambda) \max_a Q_\theta(s_{t+1}, a) + \lambda G_{t+1}\right)

with values as they were at the time of the rollout. The network wants `layer_norm`: it is what keeps
temporal differences from diverging.

Source: Gallici et al. 2024 (arXiv:2407.04811), algorithm 1; the return is Peng's Q(lambda).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from purerl.algorithms import Registered
from purerl.algorithms.diagnostics import greedy_entropy
from purerl.algorithms.exploration import draw_exploration, epsilon_greedy, explore, spread_rates
from purerl.algorithms.on_policy import make_on_policy
from purerl.algorithms.on_policy_parts import Acted, Learner, OnPolicy, OnPolicyConfig, Samples, Targets
from purerl.algorithms.skeleton import static
from purerl.functional.losses import huber, value_of_action
from purerl.functional.metrics import Packed, as_means
from purerl.functional.returns import gae
from purerl.functional.schedules import exploration_rate
from purerl.ranges import Count, NotNegative, Positive, Share, Unlimited
from purerl.types import Algorithm, AxisName, Curriculum, PyTree, Transition


@struct.dataclass
class PQNConfig(OnPolicyConfig):
    """Parallelized Q-learning: without replay and without a target network."""

    num_envs: Count = static(default=128)
    num_epochs: Count = static(default=2)
    num_minibatches: Count = static(default=32)
    learning_rate: Positive = 5e-4
    max_grad_norm: Unlimited = 10.0
    adam_epsilon: Positive = 1e-8
    return_lambda: Share = 0.65
    """Decay of the lambda-return, in [0, 1]: 0 bootstraps after each step, 1 at the end of the rollout."""
    huber_delta: Unlimited = float("inf")
    """Error from which on the loss is linear; inf for half the squared error."""
    epsilon: Share = 1.0
    """Share of random actions at the start."""
    final_epsilon: Share = 0.05
    """Share of random actions when exploration has come to its end."""
    exploration_share: Share = 0.1
    """Share of training in which the share of random actions falls, linearly."""
    epsilon_spread: NotNegative = 0.0
    """How much less the last environment explores than the first: exponents rise from 1 to 1 + this."""


def lambda_advantage(transitions: Transition, config: PQNConfig) -> jax.Array:
    """The lambda-return above less the value, float32 [T, E]: with max_a Q as the value of a state, GAE."""
    t = transitions
    return gae(t.reward, t.value, t.next_value, t.terminated, t.truncated, config.gamma, config.return_lambda)


def pqn_loss(network: Any, params: Any, samples: Samples, config: PQNConfig) -> tuple[jax.Array, Packed]:
    """Mean loss of B samples, float32 [], and the metrics of those that are learned from."""
    counts = samples.weight > 0
    value = value_of_action(network.apply(params, samples.observation), samples.action)
    loss = huber(value - samples.target, config.huber_delta)
    metrics = {"loss": loss, "q_value": value, "td_error": jnp.abs(value - samples.target)}
    return jnp.where(counts, samples.weight * loss, 0.0).mean(), as_means(metrics, counts)


def radam(config: PQNConfig, rate: jax.Array) -> optax.GradientTransformation:
    """Rectified Adam behind a clip of the global norm (Liu et al. 2020, arXiv:1908.03265)."""
    return optax.chain(
        optax.clip_by_global_norm(config.max_grad_norm),
        optax.scale_by_radam(eps=config.adam_epsilon),
        optax.scale(-rate),
    )


def act(
    network: Any,
    learner: Learner,
    carry: None,
    observation: PyTree,
    is_first: jax.Array,
    chance: jax.Array,
    config: PQNConfig,
) -> Acted:
    """The best action, or any; with the value of the best as that of the state."""
    value = network.apply(learner.params, observation)
    rates = spread_rates(learner.exploration, config.epsilon_spread, value.shape[1])
    action = explore(value, chance, rates)
    return Acted(carry, action, jnp.zeros(action.shape), value.max(0))


def choose(
    network: Any, learner: Learner, carry: None, observation: PyTree, key: jax.Array, deterministic: bool
) -> tuple[None, jax.Array]:
    """The best actions, or as in training, int32 [B]."""
    value = network.apply(learner.params, observation)
    return carry, value.argmax(0) if deterministic else epsilon_greedy(value, key, learner.exploration)


def make_pqn(
    env: Any,
    network: Any,
    axis_name: AxisName = None,
    curriculum: Curriculum | None = None,
    *,
    loss: Callable[..., tuple[jax.Array, Packed]] = pqn_loss,
    optimizer: Callable[..., optax.GradientTransformation] = radam,
) -> Algorithm:
    """PQN on an environment with discrete actions.

    Args:
        env: and these: see `make_on_policy`.
        network: a `QNetwork`.
        axis_name: the same.
        curriculum: the same.
        loss: `(network, params, samples, config) -> (mean loss [], metrics)`.
        optimizer: `(config, step size) -> optax.GradientTransformation`, for one flat vector.
    """

    def targets(transitions, learnable, config, axis_name):
        advantage = lambda_advantage(transitions, config)
        return Targets(advantage=advantage, target=advantage + transitions.value, counts=learnable)

    parts = OnPolicy(
        name="PQN",
        loss=loss,
        targets=targets,
        draw=lambda key, space, num_steps, num_envs: draw_exploration(key, num_steps, num_envs),
        act=act,
        value=lambda network, learner, carry, observation: network.apply(learner.params, observation).max(0),
        choose=choose,
        optimizer=optimizer,
        exploration=exploration_rate,
        look=lambda stepped: greedy_entropy(stepped[1]),
    )
    return make_on_policy(env, network, parts, axis_name, curriculum)


ALGORITHM = Registered("pqn", PQNConfig, make_pqn, network="q", network_options={"layer_norm": True})
