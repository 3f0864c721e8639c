"""Hard tasks and retries: nothing succeeds before a hidden condition is found by trying."""

from dataclasses import dataclass
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs.wrappers.base import Wrapped, Wrapper, WrapperParams, append_features, append_space, observer
from purerl import ranges, spaces
from purerl.ranges import MOST_INT32, Number, Range
from purerl.types import ActionSpace, PyTree, Space

Ways = Annotated[int, Range(2, MOST_INT32, whole=True)]


@struct.dataclass
class RetryParams(WrapperParams):
    """What may be traced and swept.

    Attributes:
        inner: parameters of the environment.
        threshold: reward, without shaping, above which a step is an interaction; so is one that solves.
    """

    inner: PyTree
    threshold: Number = 0.0


@struct.dataclass
class Condition:
    """The condition of an episode, and what became of the last try.

    Attributes:
        answer: the way that works, int32 [].
        found: whether it has been tried, bool [].
        outcome: of this step's try: its number where it failed, the number of ways where it succeeded, and
            -1 where there was none, int32 [].
        seen: the environment's last observation; None where it can be looked at again.
    """

    answer: jax.Array
    found: jax.Array
    outcome: jax.Array
    seen: PyTree


@dataclass(frozen=True)
class Retry(Wrapper):
    """Every action also names one of K ways. An interaction in a wrong way fails: it is undone, unrewarded.

    Which way works is drawn for each episode; once it has been found, all of them do. A try is seen in the
    observation after it, as one-hot, and never again. Of discrete actions there are K times as many, action
    + n * way; a box has one number more, in [-1, 1], which is cut into K parts.

    Attributes:
        num_ways: K.
    """

    num_ways: Ways = 4

    @property
    def num_actions(self) -> int:
        """K times as many, or one number more."""
        space = self.env.action_space(self.env.default_params)
        return int(space.n) * self.num_ways if hasattr(space, "n") else self.env.num_actions + 1

    @property
    def default_params(self) -> RetryParams:
        """Whatever is rewarded is an interaction."""
        return RetryParams(inner=self.env.default_params)

    def check(self, params: RetryParams) -> None:
        """Raises ValueError, on the host, for what cannot be meant."""
        ranges.check(self)
        ranges.check(params)

    def action_space(self, params: RetryParams) -> ActionSpace:
        """The environment's, with the ways."""
        space = self.env.action_space(params.inner)
        if hasattr(space, "n"):
            return spaces.Discrete(int(space.n) * self.num_ways)
        low, high = (
            np.append(np.broadcast_to(bound, space.shape), limit)
            for bound, limit in ((space.low, -1.0), (space.high, 1.0))
        )
        return spaces.Box(low, high, low.shape)

    def shown_space(self, params: RetryParams) -> Space:
        """The environment's, with what became of the last try."""
        return append_space(self.env.observation_space(params.inner), self.num_ways + 1, "last_try")

    def begin(self, key: jax.Array, params: RetryParams, observation: PyTree) -> Condition:
        """Draws the answer."""
        return Condition(
            answer=jax.random.randint(key, (), 0, self.num_ways),
            found=jnp.zeros((), bool),
            outcome=jnp.full((), -1, jnp.int32),
            seen=None if observer(self.env) else observation,
        )

    def show(self, observation: PyTree, hidden: Condition, params: RetryParams) -> PyTree:
        """The environment's observation, and one-hot which way failed, or that it succeeded."""
        return append_features(observation, jax.nn.one_hot(hidden.outcome, self.num_ways + 1), "last_try")

    def revealed_space(self, params: RetryParams) -> Space:
        """What is shown, with the condition."""
        return append_space(self.shown_space(params), self.num_ways + 1, "condition")

    def reveal(self, observation: PyTree, hidden: Condition, params: RetryParams) -> PyTree:
        """What is shown, with the way that works, one-hot, and whether it was found."""
        answer = jax.nn.one_hot(hidden.answer, self.num_ways)
        condition = jnp.append(answer, hidden.found.astype(jnp.float32))
        return append_features(self.show(observation, hidden, params), condition, "condition")

    def step_env(
        self, key: jax.Array, state: Wrapped, action: jax.Array, params: RetryParams
    ) -> tuple[PyTree, Wrapped, jax.Array, jax.Array, dict[str, Any]]:
        """Takes a step, or fails to: observation, state, reward, terminated and info."""
        inner_action, way = self._split(action, params)
        hidden = state.hidden
        observation, inner, reward, terminated, info = self.env.step_env(
            key, state.inner, inner_action, params.inner
        )
        tried = info.get("unshaped_reward", reward) > params.threshold
        tried |= info.get("solved", jnp.zeros((), bool))
        found = hidden.found | (tried & (way == hidden.answer))
        failed = tried & ~found
        # Time goes by, or the limit would never be reached.
        inner = _choose(failed, state.inner.replace(time=inner.time), inner)
        if hidden.seen is None:
            observation = self.env.observe_state(inner, params.inner)
        else:
            observation = _choose(failed, hidden.seen, observation)
        outcome = jnp.where(tried, jnp.where(failed, way, self.num_ways), -1).astype(jnp.int32)
        seen = None if hidden.seen is None else observation
        after = Wrapped(inner=inner, hidden=hidden.replace(found=found, outcome=outcome, seen=seen))
        zeros = jax.tree.map(jnp.zeros_like, (reward, terminated, info))
        reward, terminated, info = _choose(failed, zeros, (reward, terminated, info))
        return self.look(observation, after.hidden, params), after, reward, terminated, info

    def _split(self, action: jax.Array, params: RetryParams) -> tuple[jax.Array, jax.Array]:
        space = self.env.action_space(params.inner)
        if hasattr(space, "n"):
            return action % space.n, action // space.n
        part = jnp.floor((jnp.clip(action[-1], -1.0, 1.0) + 1.0) / 2.0 * self.num_ways)
        way = jnp.minimum(part.astype(jnp.int32), self.num_ways - 1)
        return spaces.fit_action(action[:-1], space), way


def _choose(condition: jax.Array, chosen: PyTree, other: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), chosen, other)
