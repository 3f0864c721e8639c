"""Records and protocols shared by every part of PureRL. No logic lives here.

Axes: S seeds, T time, E environments, B minibatch, N tokens, A actions.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

import jax
from flax import struct
from jax.typing import ArrayLike

PyTree: TypeAlias = Any
"""Arrays in dicts, tuples and records, in any arrangement."""
Config: TypeAlias = Any
"""A record of an algorithm's numbers."""
Params: TypeAlias = Any
"""A record of an environment's numbers."""
DType: TypeAlias = Any
"""A dtype, or what NumPy makes one of."""
AxisName: TypeAlias = str | tuple[str, ...] | None
"""The axis, or axes, over which environments are sharded; None where they are not."""


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
class Views:
    """An observation in two, where the critic is privileged: it is needed in training alone.

    Attributes:
        actor: what the policy sees, and nothing else.
        critic: what its critic sees.
    """

    actor: PyTree
    critic: PyTree


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
        next_value: the critic's estimate for the true successor observation, taken before any reset; 0 where
            the episode terminated.
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
        learner: parameters, optimizer state, running moments: what learning changes.
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


@struct.dataclass
class LevelPool:
    """Levels for resets to draw from; a level is an environment's state at the start of an episode.

    Attributes:
        observation: what the agent sees first, leaves [P, ...].
        env_state: leaves [P, ...].
        draw: int32 [R], slots of the pool; a reset takes the level of one of them, uniformly.
        learnable: bool [P]; False where samples from a level are for scoring it alone.
    """

    observation: PyTree
    env_state: PyTree
    draw: jax.Array
    learnable: jax.Array


@struct.dataclass
class LevelTrace:
    """Which level each step of a rollout was played on, and how its episodes ended; leaves [T, E].

    Attributes:
        slot: int32, slot of the pool; the pool's size P where its level has left the pool.
        learnable: bool, see `LevelPool`.
        whole: bool, the episode ends where the environment ends it; those that a staggered start cuts tell
            nothing of the level.
        ended: bool, the episode ended with this step.
        truncated: bool, it was cut by a limit.
        solved: bool, it ended in success.
        reward: float32, as the environment gave it, shaping included.
    """

    slot: jax.Array
    learnable: jax.Array
    whole: jax.Array
    ended: jax.Array
    truncated: jax.Array
    solved: jax.Array
    reward: jax.Array


@struct.dataclass
class Judgment:
    """What a critic says of the steps of a rollout, in units of reward; leaves [T, E], float32.

    Attributes:
        value: V(s_t).
        next_value: V of the true successor, before any reset; it counts where the episode was truncated.
        advantage: A_t.
    """

    value: jax.Array
    next_value: jax.Array
    advantage: jax.Array


class Levels(NamedTuple):
    """What an environment offers to a curriculum.

    Attributes:
        generate: `(key, params, hardness [L]) -> states [L, ...]`: fresh levels; hardness, float32 in [0, 1],
            leads from easy ones to those that `params` describe, at 1. Never a level held out for evaluation.
        observe: `(state, params) -> observation`, of one level.
        describe: `(state, params) -> {name: float32 []}`, of one level: what a plot shows of it.
        fingerprint: `(state) -> uint32 []`: equal for equal levels.
        mutate: `(key, states [L, ...], params) -> states [L, ...]`: small changes; None where there are none.
    """

    generate: Callable[..., PyTree]
    observe: Callable[..., PyTree]
    describe: Callable[..., dict[str, jax.Array]]
    fingerprint: Callable[..., jax.Array]
    mutate: Callable[..., PyTree] | None = None


Need: TypeAlias = Literal["values", "learnable"]
"""What a curriculum may need of an algorithm: values of states; that it leaves what is not `learnable` out
of learning."""


class Curriculum(NamedTuple):
    """What fills a pool of levels, and refreshes it between rollouts. Its state holds a `pool`.

    Every leaf of the state has a leading axis that may be sharded: levels, or [1] for what is one number.

    Attributes:
        init: `(key, params, num_levels) -> state`.
        refresh: `(key, state, params, outcome, progress) -> (state, renewed, metrics)`: `outcome` is what
            `tell` made of the rollout since the last refresh, None without it; `progress` the share of
            training done, float32 in [0, 1]; `renewed`, bool [P], marks slots whose level is another one now.
        needs: what it needs of an algorithm; one that lacks it is refused.
        tell: `(trace, P, judgment, past, age, gamma) -> (outcome, past)`: what a rollout tells of each of the
            P levels, see `purerl.curriculum.outcome.level_outcome`; None where the curriculum does not ask.
    """

    init: Callable[..., PyTree]
    refresh: Callable[..., tuple[PyTree, jax.Array, Metrics]]
    needs: frozenset[Need] = frozenset()
    tell: Callable[..., tuple[Any, jax.Array | None]] | None = None


class Algorithm(NamedTuple):
    """A learning algorithm: two pure functions over one state, and the policy that it learns.

    Attributes:
        init: `(key, config) -> TrainState`.
        update: `(state, config) -> (TrainState, sums of metrics)`: acting and one round of learning.
        policy: `(learner, observations [B, ...], key, deterministic) -> actions [B, ...]`; one with a memory
            takes a `carry` after these, and returns actions and the carry after the step.
        steps_per_update: `(config) -> int`, environment steps that one update takes.
        diagnose: `(state, config) -> purerl.functional.metrics.Packed`: what the state tells without
            another step; None where that is nothing.
        initial_carry: `(B) -> carry` before the first step of an episode, leaves [B, ...]; None, or a
            function that returns it, where the policy has no memory.
        lower_level: whether training may be compiled at a lower level: as fast, and a seed alone has the
            bits that it has among others.
        replay: `(config) -> (kind of replay, an example of what it holds)`; None where there is none.
        check: `(config, shards) -> None`: raises ValueError, with one line that names the remedy, where a
            configuration cannot run.
    """

    init: Callable[[jax.Array, Config], TrainState]
    update: Callable[[TrainState, Config], tuple[TrainState, Any]]
    policy: Callable[..., jax.Array]
    steps_per_update: Callable[[Config], int]
    diagnose: Callable[[TrainState, Config], Any] | None = None
    initial_carry: Callable[[int], PyTree] | None = None
    lower_level: bool = False
    replay: Callable[[Config], tuple[Any, PyTree]] | None = None
    check: Callable[[Config, int], None] = lambda config, shards: None


class Space(Protocol):
    """What all spaces have in common, ours (`purerl.spaces`) and those of gymnax."""

    def sample(self, key: jax.Array) -> PyTree:
        """Draws a member."""

    def contains(self, x: PyTree) -> jax.Array:
        """Whether x is a member: bool []."""


class DiscreteSpace(Space, Protocol):
    """A choice: the integers 0 to `n` - 1."""

    @property
    def n(self) -> int:
        """How many there are."""

    @property
    def shape(self) -> tuple[int, ...]:
        """()."""

    @property
    def dtype(self) -> DType:
        """Of the integers."""


class BoxSpace(Space, Protocol):
    """Arrays between two bounds, both included."""

    @property
    def low(self) -> ArrayLike:
        """Broadcasts to the shape; -inf where there is no bound."""

    @property
    def high(self) -> ArrayLike:
        """The same; inf where there is no bound."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the arrays."""

    @property
    def dtype(self) -> DType:
        """Of the arrays."""


ActionSpace: TypeAlias = DiscreteSpace | BoxSpace
"""What a policy can choose from. A box may say that its ends are the same by `periodic = True`."""

INFO = ("solved", "unshaped_reward")
"""What the `info` of a step may tell. `solved`, bool []: the episode ended in success; where it is absent, a
termination is a success, and no solve rate is told. `unshaped_reward`, float32 []: the reward without
shaping, which returns are reported of. All else in it is left alone."""


@runtime_checkable
class Environment(Protocol):
    """One environment, written for one: whoever steps many of them maps over these functions.

    It is the author contract of gymnax 1.0, held by shape: no base class is needed. The functions are pure;
    shapes, dtypes and structure of observations and states never change (`purerl.contracts.check_environment`
    says where they do). Nobody resets an environment within `step_env`: the rollout does.

    What is optional is declared, and by these names alone:

    * a method `observe_state`: see `Observable`;
    * entries of `info`: see `INFO`;
    * a field `max_steps_in_episode` of the parameters, an integer that may be traced: the time limit, which
      `is_truncated` keeps. Staggered starts cut first episodes at random below it, and none without it;
    * `name`, for messages and files.
    """

    @property
    def default_params(self) -> Params:
        """A record of numbers, which may be traced, swept and mapped over; they decide no shapes."""

    def reset_env(self, key: jax.Array, params: Params) -> tuple[PyTree, PyTree]:
        """Begins an episode: observation and state."""

    def step_env(
        self, key: jax.Array, state: PyTree, action: jax.Array, params: Params
    ) -> tuple[PyTree, PyTree, jax.Array, jax.Array, dict[str, Any]]:
        """Takes a step.

        Args:
            key: used up here.
            state: before the step.
            action: in the shape and dtype of the action space, and within its bounds.
            params: the parameters.

        Returns:
            The observation and the state after the step, the true ones where an episode ends; the reward,
            float32 []; whether the rules ended the episode, bool [], a time limit not included; and `info`.
        """

    def is_truncated(self, state: PyTree, params: Params) -> jax.Array:
        """Whether a limit of time cuts the episode in this state: bool []; the return goes on, unseen."""

    def observation_space(self, params: Params) -> Space:
        """What is observed: a box, a dict of token groups, two views, or what `envs.encoded` makes one of."""

    def action_space(self, params: Params) -> ActionSpace:
        """What `step_env` takes."""


class Observable(Environment, Protocol):
    """An environment whose states can be looked at again: what is observed depends on nothing else.

    Where episodes end, the rollout then looks at the new states instead of choosing between two large
    observations. A wrapper in whose place there may be none holds None under this name.
    """

    def observe_state(self, state: PyTree, params: Params) -> PyTree:
        """The observation that `reset_env` or `step_env` gave together with this state."""


class Network(Protocol):
    """What all networks have in common: pure functions over parameters, as flax modules have them.

    Every method below is called as `apply(params, *arguments, method=name)`. Batches come first: B is the
    number of samples, observations are leaves [B, ...]. `purerl.contracts.check_network` says what is wrong.
    """

    def init(self, rngs: jax.Array, /, *arguments: PyTree, method: str | None = None) -> PyTree:
        """Draws parameters with a key, for a call of `method`, or of the network itself: a tree of arrays."""

    def apply(self, variables: PyTree, /, *arguments: PyTree, method: str | None = None) -> PyTree:
        """Calls `method`, or the network itself, with these parameters."""


class ActorCriticNetwork(Network, Protocol):
    """A policy and its critic, with a memory or without: what PPO and its like learn.

    A policy is a batch of distributions with `sample(seed=key)`, `log_prob(actions)` and `mode()`; actions
    are int32 [B], or float32 [B, A] where they are numbers. An observation of two views (`Views`) is taken
    apart by the network.
    """

    def initial_carry(self, batch: int) -> PyTree:
        """What B environments remember before their first step, leaves [B, ...]; None without a memory."""

    def step(
        self, carry: PyTree, observation: PyTree, is_first: jax.Array
    ) -> tuple[PyTree, PyTree, jax.Array]:
        """One step of B environments.

        Args:
            carry: what they remember.
            observation: leaves [B, ...].
            is_first: bool [B], where an episode begins: nothing from before it may be remembered.

        Returns:
            What they remember now, in the same shapes; the policy, a batch of B; values, float32 [B].
        """

    def next_value(self, carry: PyTree, observation: PyTree) -> jax.Array:
        """Values, float32 [B], of observations that follow on what is remembered."""

    def __call__(
        self, observation: PyTree, carry: PyTree = None, is_first: jax.Array | None = None
    ) -> tuple[PyTree, jax.Array]:
        """The policy and the values of what was acted on, in learning: the same numbers as those of `step`.

        Args:
            observation: leaves [B, ...]; with a memory, segments [T, B, ...].
            carry: what was remembered before the segments, leaves [B, ...]; not given without a memory.
            is_first: bool [T, B]; not given without a memory.

        Returns:
            The policy and the values, float32: a batch of B each, or of [T, B].
        """


class ActionValueNetwork(Network, Protocol):
    """The values of all actions: what DQN and PQN learn."""

    def __call__(self, observation: PyTree) -> jax.Array:
        """Values of A actions, actions first: float32 [A, B]."""


class SoftActorCriticNetwork(Network, Protocol):
    """A policy and K critics of actions: what SAC learns.

    Attributes:
        action_size: A, the number of actions where they are a choice, else how many numbers an action has.
        discrete: whether actions are a choice.
        periodic: whether pairs of these numbers are points of a plane that stand for their direction.
    """

    action_size: int
    discrete: bool
    periodic: bool

    def policy(self, observation: PyTree) -> PyTree:
        """A batch of B distributions: over A actions, with `logits`, or squashed to [-1, 1]^A."""

    def features(self, observation: PyTree) -> PyTree:
        """What the critics know of observations, whatever the action; only `values` reads it."""

    def values(self, features: PyTree, action: jax.Array) -> jax.Array:
        """Values of actions, float32 [B, A] in [-1, 1]: float32 [K, B]; of all choices: [K, B, A]."""
