r"""C51: deep Q-learning of the distribution of the return, on N values that are fixed beforehand.

.. math::
    Z(s, a) = z_i \text{ with probability } p_i(s, a), \qquad
    L = -\sum_i m_i \log p_i(s, a), \qquad m = \Phi\left(R + \gamma^n Z'(s', a')\right)

with the projection Phi onto the values z, and a' the action of the highest expected value. Target network,
replay, n steps and exploration are those of `purerl.algorithms.dqn`. Source: Bellemare et al. 2017
(arXiv:1707.06887), algorithm 1; priorities by the divergence as in Hessel et al. 2018 (arXiv:1710.02298).
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.scipy.special import xlogy

from purerl.algorithms import Registered, dqn
from purerl.algorithms.diagnostics import greedy_entropy, look_inside
from purerl.algorithms.dqn import Batch, ValueConfig, greedy_parts
from purerl.algorithms.off_policy import make_off_policy
from purerl.algorithms.skeleton import adam, static
from purerl.functional.losses import return_metrics
from purerl.functional.metrics import Packed, as_means
from purerl.functional.returns import bootstrap
from purerl.ranges import Count, Number
from purerl.types import Algorithm, AxisName, Curriculum, PyTree


@struct.dataclass
class C51Config(ValueConfig):
    """Categorical deep Q-learning."""

    num_atoms: Count = static(default=51)
    """Values of the return whose probabilities are learned."""
    value_min: Number = -10.0
    """The least of them; a smaller return counts as this."""
    value_max: Number = 10.0
    """The largest of them; a larger return counts as this."""


@struct.dataclass
class Learner(dqn.Learner):
    """What learning changes.

    Attributes:
        support: the values whose probabilities are learned, float32 [N].
    """

    support: jax.Array


def check_c51(config: C51Config, shards: int = 1) -> None:
    """Raises ValueError, with one line, where the values of the return are none to tell apart."""
    if config.num_atoms < 2:
        raise ValueError(f"num_atoms = {config.num_atoms} tells no returns apart; try num_atoms = 51")
    ends = config.value_min, config.value_max
    if all(isinstance(end, int | float) for end in ends) and not ends[0] < ends[1]:
        raise ValueError(f"value_min = {ends[0]} must be below value_max = {ends[1]}")


def support_of(config: C51Config) -> jax.Array:
    """The values of the return whose probabilities are learned, z, float32 [N]."""
    return jnp.linspace(config.value_min, config.value_max, config.num_atoms, dtype=jnp.float32)


def widened(network: Any, num_atoms: int) -> Any:
    """The network of action values with an output for each value of the return, float32 [A * N, B]."""
    return network.clone(num_actions=network.num_actions * num_atoms)


def by_atom(out: jax.Array, num_atoms: int) -> jax.Array:
    """Logarithms of the probabilities of each return, float32 [A * N, B] -> [A, N, B]."""
    return jax.nn.log_softmax(out.reshape(-1, num_atoms, out.shape[-1]), axis=1)


def expected(log_prob: jax.Array, support: jax.Array) -> jax.Array:
    """Means of distributions, float32 [..., N, B] -> [..., B]."""
    return (support[:, None] * jnp.exp(log_prob)).sum(-2)


def of_action(each: jax.Array, action: jax.Array) -> jax.Array:
    """What belongs to the actions taken, float32 [A, N, B] and int32 [B] -> [N, B]."""
    taken = jnp.arange(each.shape[0])[:, None] == action
    return jnp.where(taken[:, None], each, 0.0).sum(0)


def project(reward: jax.Array, discount: jax.Array, probability: jax.Array, support: jax.Array) -> jax.Array:
    r"""The distribution of :math:`R + d Z'`, on the values that there are.

    .. math::
        m_i = \sum_j \left[1 - \frac{|[R + d z_j]_{z_1}^{z_N} - z_i|}{\Delta z}\right]_0^1 p_j

    Args:
        reward: R, float32 [B].
        discount: d, float32 [B]; 0 where the episode terminated: the reward alone counts then, and of the
            probabilities nothing, whatever they are.
        probability: p of the successor, float32 [N, B].
        support: z, equally spaced, float32 [N].

    Returns:
        m, float32 [N, B].

    Source: Bellemare et al. 2017 (arXiv:1707.06887), equation 7.
    """
    value = bootstrap(reward, discount, discount, support[:, None])  # [N, B]
    certain = jnp.arange(support.shape[0])[:, None] == 0  # where nothing follows, all values are the reward
    probability = jnp.where(discount != 0, probability, certain)
    value = jnp.clip(value, support[0], support[-1])
    distance = jnp.abs(value - support[:, None, None]) / (support[1] - support[0])  # [N, N, B]
    return (jnp.clip(1.0 - distance, 0.0, 1.0) * probability).sum(1)


def c51_loss(
    network: Any, params: PyTree, batch: Batch, config: C51Config
) -> tuple[jax.Array, tuple[jax.Array, Packed]]:
    """The loss of one batch.

    Args:
        network: `network.apply(params, observations) -> logits [A * N, B]`.
        params: its parameters.
        batch: B samples, with logits of the successors in the place of values.
        config: the values of the return.

    Returns:
        Mean loss, float32 []; and divergences from the target, float32 [B], with what else the batch tells.
    """
    sample, support, count = batch.sample, support_of(config), config.num_atoms
    log_prob = of_action(by_atom(network.apply(params, sample.observation), count), sample.action)
    next_log_prob = by_atom(batch.target_value_tp1, count)
    selector = next_log_prob
    if config.double:
        selector = by_atom(network.apply(jax.lax.stop_gradient(params), sample.next_observation), count)
    next_action = expected(selector, support).argmax(0)
    next_probability = jnp.exp(of_action(next_log_prob, next_action))
    target = jax.lax.stop_gradient(project(sample.reward, sample.discount, next_probability, support))
    loss = -(target * log_prob).sum(0)
    divergence = jnp.maximum(loss + xlogy(target, target).sum(0), 0.0)
    value, aim = expected(log_prob, support), (support[:, None] * target).sum(0)
    metrics = as_means({"loss": batch.weight * loss, "q_value": value, "td_error": jnp.abs(value - aim)})
    return (batch.weight * loss).mean(), (divergence, metrics | return_metrics(value, aim))


def init(
    network: Any,
    key: jax.Array,
    observation: PyTree,
    optimizer: optax.GradientTransformation,
    config: C51Config,
) -> Learner:
    """A learner that has not learned yet; see `purerl.algorithms.dqn.init`."""
    first = dqn.init(widened(network, config.num_atoms), key, observation, optimizer, config)
    fields = {field.name: getattr(first, field.name) for field in dataclasses.fields(first)}
    return Learner(**fields, support=support_of(config))


def values_of(network: Any, learner: Learner, observation: PyTree) -> jax.Array:
    """The expected returns of all actions, float32 [A, B]."""
    count = learner.support.shape[0]
    out = widened(network, count).apply(learner.params, observation)
    return expected(by_atom(out, count), learner.support)


def look(network: Any, learner: Learner, observation: PyTree) -> Any:
    """Which actions are best, and what the network tells about itself."""
    count = learner.support.shape[0]
    out, inside = look_inside(widened(network, count), learner.params, observation)
    return greedy_entropy(expected(by_atom(out, count), learner.support)) | inside


def make_c51(
    env: Any,
    network: Any,
    axis_name: AxisName = None,
    curriculum: Curriculum | None = None,
    *,
    loss: Callable[..., Any] = c51_loss,
    optimizer: Callable[..., optax.GradientTransformation] = adam,
) -> Algorithm:
    """C51 on an environment with a network.

    Args:
        env: an environment with discrete actions; see `make_off_policy` for the others.
        network: a `QNetwork` without a dueling head; its last layer is made wider here.
        axis_name: the same.
        curriculum: the same.
        loss: with the arguments of `c51_loss`, and what it returns.
        optimizer: `(config, step size) -> optax.GradientTransformation`, for one flat vector.

    Raises:
        ValueError: one line, where the head is a dueling one.
    """
    if network.dueling:
        raise ValueError("a dueling head adds a value and not a distribution; switch dueling off, or use DQN")

    def learn(network, learner, given, config):
        learner = dataclasses.replace(learner, support=support_of(config))
        return dqn.learn(widened(network, config.num_atoms), learner, given, config, loss)

    parts = greedy_parts(
        values_of, name="C51", init=init, learn=learn, look=look, check=check_c51, optimizer=optimizer
    )
    return make_off_policy(env, network, parts, axis_name, curriculum)


ALGORITHM = Registered("c51", C51Config, make_c51, network="q", cut="nothing")
