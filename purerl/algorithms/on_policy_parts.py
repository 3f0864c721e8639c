"""What an on-policy algorithm is made of: options, samples, and the functions that it gives its skeleton."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct

from purerl.algorithms.skeleton import AlgorithmConfig, adam, check_config, check_multiple, static
from purerl.functional.distributions import act_with, draw_noise
from purerl.functional.metrics import Packed
from purerl.functional.normalize import Moments
from purerl.ranges import Count, CountOrZero
from purerl.rollout.unroll import ActorState
from purerl.types import Metrics, Need, PyTree


@struct.dataclass
class OnPolicyConfig(AlgorithmConfig):
    """Options of every on-policy algorithm."""

    num_steps: Count = static(default=32)
    """Steps of each environment in one rollout."""
    num_epochs: Count = static(default=1)
    """Passes over each rollout."""
    num_minibatches: Count = static(default=1)
    """Gradient steps in each pass; must divide num_envs * num_steps."""
    microbatch_size: CountOrZero = static(default=128)
    """Samples whose gradients are computed at once and added up; 0 for the whole minibatch. Changes nothing
    but the speed: what fits into the processor's cache is fastest."""
    normalize_rewards: bool = static(default=False)
    """Divide rewards by the running standard deviation of the discounted return."""
    normalize_observations: bool = static(default=False)
    """Show the network observations in units of their running standard deviation."""
    precision: Literal["default", "bfloat16"] = static(default="default")
    """What the factors of matrix products are rounded to: bfloat16, or what the device does by default.
    Parameters and sums are float32 in any case."""


@struct.dataclass
class Learner:
    """What learning changes.

    Attributes:
        params: of the network.
        optimizer: state of the optimizer, for all parameters as one flat vector.
        return_moments: of the discounted return, which rewards are divided by; None where they are not.
        observation_moments: of the observations; None where they are not normalized.
        rate: step size in force, float32 []; None where it follows the schedule.
        exploration: share of random actions in force, float32 []; None where the policy itself is random.
    """

    params: PyTree
    optimizer: PyTree
    return_moments: Moments | None = None
    observation_moments: PyTree = None
    rate: jax.Array | None = None
    exploration: Any = None


@struct.dataclass
class Samples:
    """What a loss may need of each sample; leaves [B, ...].

    For a network with a memory they are segments of T steps, leaves [T, B, ...], with what was remembered
    before them, `carry`, leaves [1, B, ...], and where in them episodes begin, bool [T, B].

    Attributes:
        observation: what the network saw.
        action: as sampled.
        log_prob: of the action when it was sampled, float32.
        value: what the critic said then, float32.
        advantage: float32.
        target: of the critic, float32.
        weight: 1 on average over a rollout, and 0 where a sample is not learned from, float32.
        carry: what was remembered, or None.
        is_first: where episodes begin, or None.
    """

    observation: PyTree
    action: jax.Array
    log_prob: jax.Array
    value: jax.Array
    advantage: jax.Array
    target: jax.Array
    weight: jax.Array
    carry: PyTree = None
    is_first: jax.Array | None = None


class Acted(NamedTuple):
    """What a network did in one step of E environments: carry, actions, log_probs [E] and values [E]."""

    carry: PyTree
    action: jax.Array
    log_prob: jax.Array
    value: jax.Array


class Targets(NamedTuple):
    """What a rollout is learned toward; [T, E].

    Attributes:
        advantage: of the actions, float32.
        target: of the critic, float32.
        counts: whether a step is learned from, bool.
    """

    advantage: jax.Array
    target: jax.Array
    counts: jax.Array


def sample_action(
    network: Any,
    learner: Learner,
    carry: PyTree,
    observation: PyTree,
    is_first: jax.Array,
    noise: jax.Array,
    config: Any,
) -> Acted:
    """Acts as the policy of an actor and a critic says."""
    carry, policy, value = network.apply(learner.params, carry, observation, is_first, method="step")
    return Acted(carry, *act_with(policy, noise), value)


def critic_value(network: Any, learner: Learner, carry: PyTree, observation: PyTree) -> jax.Array:
    """What the critic says of observations, float32 [B]."""
    return network.apply(learner.params, carry, observation, method="next_value")


def choose_action(
    network: Any, learner: Learner, carry: PyTree, observation: PyTree, key: jax.Array, deterministic: bool
) -> tuple[PyTree, jax.Array]:
    """Carry and actions [B, ...] of a trained policy: its mode, or a sample."""
    is_first = jnp.zeros(jax.tree.leaves(observation)[0].shape[0], bool)
    carry, policy, _ = network.apply(learner.params, carry, observation, is_first, method="step")
    return carry, policy.mode() if deterministic else policy.sample(seed=key)


def judge(network: Any, params: PyTree, samples: Samples) -> tuple[Any, jax.Array]:
    """The policy and the values of samples, [B], or of segments, [T, B]."""
    if samples.carry is None:
        return network.apply(params, samples.observation)
    carry = jax.tree.map(lambda leaf: leaf[0], samples.carry)
    return network.apply(params, samples.observation, carry, samples.is_first)


class OnPolicy(NamedTuple):
    """The parts of an on-policy algorithm.

    Attributes:
        name: as messages have it.
        loss: `(network, params, samples, config) -> (mean loss [], metrics)`.
        targets: `(transitions [T, E, ...], learnable bool [T, E], config, axis_name) -> Targets`.
        check: `(config, shards) -> None`; raises ValueError where relations between options are broken.
        tells: what it has for curricula; "values" where `value` is that of states.
        draw: `(key, action space, T, E) -> noise [T, ...]` for `act`, ahead of the rollout.
        act: `(network, learner, carry, observation, is_first, noise, config) -> Acted`.
        value: `(network, learner, carry, observation) -> float32 [B]`, of what follows a truncated episode;
            None without a critic.
        choose: `(network, learner, carry, observation, key, deterministic) -> (carry, action)`.
        optimizer: `(config, step size) -> optax.GradientTransformation`, for one flat vector.
        exploration: `(config, updates done) -> float32 []`; None where the policy itself is random.
        adapt: `(config) -> (step size, metrics) -> step size` of the next update; None for the schedule.
        start: `(actor, pool, key, config) -> actor`, before each rollout; None to go on.
        look: `(what `step` returns) -> metrics`, for diagnosis.
    """

    name: str
    loss: Callable[..., tuple[jax.Array, Packed]]
    targets: Callable[..., Targets]
    check: Callable[[Any, int], None] = lambda config, shards: None
    tells: frozenset[Need] = frozenset({"learnable", "values"})
    draw: Callable[..., jax.Array] = draw_noise
    act: Callable[..., Acted] = sample_action
    value: Callable[..., jax.Array] | None = critic_value
    choose: Callable[..., tuple[PyTree, jax.Array]] = choose_action
    optimizer: Callable[..., optax.GradientTransformation] = adam
    exploration: Callable[..., jax.Array] | None = None
    adapt: Callable[..., Callable[..., jax.Array] | None] = lambda config: None
    start: Callable[..., ActorState] | None = None
    look: Callable[..., Packed | Metrics] = lambda stepped: {}


def check_on_policy(config: OnPolicyConfig, shards: int, whole_segments: bool) -> None:
    """Raises ValueError, with one line, where rollouts cannot be cut as the options say.

    With `whole_segments`, as networks with a memory learn from, minibatches are made of whole environments.
    """
    check_config(config, shards)
    samples, parts = config.num_envs * config.num_steps, config.num_minibatches * shards
    if whole_segments:
        why = f"num_minibatches = {config.num_minibatches}: a memory learns from whole segments"
        check_multiple(config, "num_envs", parts, why)
    if samples % parts:
        over = f" over {shards} devices" if shards > 1 else ""
        raise ValueError(
            f"num_envs * num_steps = {samples} is not divisible by num_minibatches = {config.num_minibatches}"
            f"{over}; try num_envs * num_steps = {-(-samples // parts) * parts}"
        )
