"""Records and protocols shared by every part of PureRL. No logic lives here.

Axes: S seeds, T time, E environments, B minibatch, N tokens, A actions.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import jax
from flax import struct

PyTree: TypeAlias = Any
Config: TypeAlias = Any


@struct.dataclass
class Mean:
    """A mean that can be combined: over updates, shards and time, by adding both fields.

    Attributes:
        total: sum of the values, float32.
        weight: how many values went into it, float32; zero where there was none yet.
    """

    total: jax.Array
    weight: jax.Array


Metrics: TypeAlias = dict[str, Mean]


@struct.dataclass
class TokenGroup:
    """Tokens of one kind within an observation; an observation is a dict of such groups.

    Attributes:
        values: [N, F] float32 features.
        mask: [N] bool, True where the token is present; what is absent must influence nothing.
        kind: index of the kind, static: one tokenizer and one embedding belong to each kind.
    """

    values: jax.Array
    mask: jax.Array
    kind: int = struct.field(pytree_node=False)


@struct.dataclass
class Transition:
    """What one environment step leaves behind. Leaves are [T, E, ...] in a rollout.

    Attributes:
        observation: what the policy saw before it acted.
        action: as sampled by the policy; never clipped.
        log_prob: log-probability of `action` under the policy that sampled it, float32.
        value: the critic's estimate for `observation`, float32.
        reward: float32.
        terminated: the episode ended by the rules of the environment: nothing follows.
        truncated: the episode was cut by a time limit: the return goes on, unseen.
        next_value: the critic's estimate for the true successor observation, taken before any reset.
    """

    observation: PyTree
    action: jax.Array
    log_prob: jax.Array
    value: jax.Array
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    next_value: jax.Array


@struct.dataclass
class TrainState:
    """Everything that a run carries from one update to the next: arrays only.

    Attributes:
        learner: parameters, optimiser state, running moments: what learning changes.
        actor: environment states, observations, episode statistics; leading axis E.
        curriculum: the pool of levels that resets draw from.
        key: `jax.random.key` of the run, replicated where environments are sharded.
        num_updates: updates done, int32.
    """

    learner: PyTree
    actor: PyTree
    curriculum: PyTree
    key: jax.Array
    num_updates: jax.Array


class Algorithm(NamedTuple):
    """A learning algorithm: two pure functions over one state, and the policy that it learns.

    Attributes:
        init: `(key, config) -> TrainState`.
        update: `(state, config) -> (TrainState, Metrics)`: one rollout and one round of learning.
        policy: `(learner, observations [B, ...], key, deterministic) -> actions [B, ...]`.
        steps_per_update: `(config) -> int`, environment steps that one update takes.
    """

    init: Callable[[jax.Array, Config], TrainState]
    update: Callable[[TrainState, Config], tuple[TrainState, Metrics]]
    policy: Callable[..., jax.Array]
    steps_per_update: Callable[[Config], int]


@runtime_checkable
class Environment(Protocol):
    """The author contract of gymnax 1.0, held structurally: no base class is needed."""

    @property
    def default_params(self) -> Any: ...

    def reset_env(self, key: jax.Array, params: Any) -> tuple[PyTree, PyTree]: ...

    def step_env(
        self, key: jax.Array, state: PyTree, action: jax.Array, params: Any
    ) -> tuple[PyTree, PyTree, jax.Array, jax.Array, dict[str, Any]]: ...

    def is_truncated(self, state: PyTree, params: Any) -> jax.Array: ...

    def observation_space(self, params: Any) -> Any: ...

    def action_space(self, params: Any) -> Any: ...
