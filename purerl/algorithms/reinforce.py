r"""REINFORCE: the actions of whole episodes, weighed by the return that followed them.

.. math::
    L = -\mathbb{E}\left[(G_t - b) \log \pi(a_t \mid s_t)\right], \qquad
    G_t = \sum_{k \ge t} \gamma^{k - t} r_k

Only steps whose episode ends within the rollout count, because the return of the others is not known: nothing
is bootstrapped, so `num_steps` should hold an episode or more. An episode that a time limit cuts counts with
what it brought until then, as in the paper, which has no critic to ask for the rest. The baseline b is the
mean return of the rollout, or 0.

Source: Williams 1992, "Simple statistical gradient-following algorithms for connectionist reinforcement
learning", section 5 (episodic REINFORCE), equation 11; returns from t on instead of from the start.
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
from purerl.functional.collectives import mean_across
from purerl.functional.distributions import entropy_of
from purerl.functional.metrics import Packed, as_means
from purerl.functional.normalize import standardize
from purerl.functional.returns import reward_to_go
from purerl.ranges import Count, NotNegative, Positive
from purerl.types import Algorithm, AxisName, Curriculum


@struct.dataclass
class ReinforceConfig(OnPolicyConfig):
    """REINFORCE, with returns from each step on."""

    num_steps: Count = static(default=256)
    learning_rate: Positive = 3e-3
    baseline: bool = static(default=True)
    """Subtract the mean return of the rollout."""
    normalize_returns: bool = static(default=False)
    """Take returns in units of their deviation over a rollout, with mean 0."""
    entropy_coefficient: NotNegative = 0.0
    """Weight of the entropy bonus."""


def reinforce_loss(
    network: Any, params: Any, samples: Samples, config: ReinforceConfig
) -> tuple[jax.Array, Packed]:
    """Mean loss of B samples, or segments, float32 [], and the metrics of those that are learned from."""
    policy, _ = judge(network, params, samples)
    counts = samples.weight > 0
    log_prob = jnp.where(counts, policy.log_prob(samples.action), 0.0)
    policy_loss = -samples.advantage * log_prob
    entropy = entropy_of(policy)
    loss = policy_loss - config.entropy_coefficient * entropy
    metrics = {"policy_loss": policy_loss, "entropy": entropy}
    return jnp.where(counts, samples.weight * loss, 0.0).mean(), as_means(metrics, counts)


def make_reinforce(
    env: Any,
    network: Any,
    axis_name: AxisName = None,
    curriculum: Curriculum | None = None,
    *,
    loss: Callable[..., tuple[jax.Array, Packed]] = reinforce_loss,
    optimizer: Callable[..., optax.GradientTransformation] = adam,
) -> Algorithm:
    """REINFORCE on an environment with a network: an `ActorCritic`, whose critic is left as it is.

    Args:
        env: and these: see `make_on_policy`.
        network: the same.
        axis_name: the same.
        curriculum: the same.
        loss: `(network, params, samples, config) -> (mean loss [], metrics)`.
        optimizer: `(config, step size) -> optax.GradientTransformation`, for one flat vector.
    """

    def targets(transitions, learnable, config, axis_name):
        ended = transitions.terminated | transitions.truncated
        returns, whole = reward_to_go(transitions.reward, ended, config.gamma)
        counts = learnable & whole
        advantage = returns
        if config.normalize_returns:
            advantage = standardize(returns, counts, axis_name)
        elif config.baseline:
            count = jnp.maximum(mean_across(counts.mean(), axis_name), 1e-8)
            advantage = returns - mean_across((counts * returns).mean(), axis_name) / count
        return Targets(advantage=advantage, target=returns, counts=counts)

    parts = OnPolicy(
        name="REINFORCE",
        loss=loss,
        targets=targets,
        tells=frozenset({"learnable"}),
        value=None,
        optimizer=optimizer,
        look=lambda stepped: policy_metrics(stepped[1]),
    )
    return make_on_policy(env, network, parts, axis_name, curriculum)


ALGORITHM = Registered("reinforce", ReinforceConfig, make_reinforce, network="actor_critic")
