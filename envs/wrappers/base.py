"""What the wrappers share: a state around a state, parameters around parameters, and more to be seen."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purerl import spaces
from purerl.types import ActionSpace, Levels, Params, PyTree, Space, TokenGroup, Views


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Wrapped:
    """State of a wrapped environment.

    Attributes:
        inner: state of the environment.
        hidden: what the wrapper adds to it.
    """

    inner: PyTree
    hidden: PyTree

    @property
    def time(self) -> jax.Array:
        """Steps since the episode began, as the environment counts them."""
        return self.inner.time

    def replace(self, **changes: Any) -> "Wrapped":
        """The same state with other fields; `time` is the environment's."""
        if "time" in changes:
            inner: Any = changes.get("inner", self.inner)
            changes["inner"] = inner.replace(time=changes.pop("time"))
        return replace(self, **changes)


class WrapperParams:
    """Parameters of a wrapper; `inner` are those of the environment."""

    inner: PyTree

    @property
    def max_steps_in_episode(self) -> Any:
        """The environment's time limit."""
        return self.inner.max_steps_in_episode


@dataclass(frozen=True)
class Wrapper:
    """An environment in another one's place. What it changes, its subclasses say.

    Attributes:
        env: the environment.
        privileged: whether observations are `Views`, in which the critic sees what is hidden.
    """

    env: Any
    privileged: bool = field(default=False, kw_only=True)

    @property
    def name(self) -> str:
        """Names of wrapper and environment."""
        return f"{type(self).__name__}-{self.env.name}"

    @property
    def num_actions(self) -> int:
        """How many actions there are to choose from, or how many numbers an action has."""
        return self.env.num_actions

    @property
    def default_params(self) -> Params:
        """The default numbers, around those of the environment."""
        raise NotImplementedError

    def action_space(self, params: Params) -> ActionSpace:
        """What `step_env` takes."""
        return self.env.action_space(params.inner)

    def observation_space(self, params: Params) -> Space:
        """What `look` gives."""
        space = self.shown_space(params)
        return spaces.TwoViews(space, self.revealed_space(params)) if self.privileged else space

    def is_truncated(self, state: Wrapped, params: Params) -> jax.Array:
        """True where the environment's time limit cuts the episode: bool []."""
        return self.env.is_truncated(state.inner, params.inner)

    def begin(self, key: jax.Array, params: Params, observation: PyTree) -> PyTree:
        """What the wrapper adds to a state at the start of an episode, whose first observation is given."""
        raise NotImplementedError

    def shown_space(self, params: Params) -> Space:
        """The space of `show`."""
        raise NotImplementedError

    def show(self, observation: PyTree, hidden: PyTree, params: Params) -> PyTree:
        """What is seen in the place of the environment's observation."""
        raise NotImplementedError

    def revealed_space(self, params: Params) -> Space:
        """The space of `reveal`."""
        raise NotImplementedError

    def reveal(self, observation: PyTree, hidden: PyTree, params: Params) -> PyTree:
        """What a privileged critic sees: that which `show` keeps back, too."""
        raise NotImplementedError

    def look(self, observation: PyTree, hidden: PyTree, params: Params) -> PyTree:
        """The observation: what is shown, and where the critic is privileged, what is revealed to it."""
        shown = self.show(observation, hidden, params)
        if not self.privileged:
            return shown
        return Views(actor=shown, critic=self.reveal(observation, hidden, params))

    @property
    def observe_state(self) -> Callable[[Wrapped, Any], PyTree] | None:
        """`(state, params) -> observation`; None where the environment cannot look at a state again."""
        look_again = observer(self.env)
        if look_again is None:
            return None
        return lambda state, params: self.look(look_again(state.inner, params.inner), state.hidden, params)

    def reset_env(self, key: jax.Array, params: Params) -> tuple[PyTree, Wrapped]:
        """Begins an episode: observation and state."""
        inner_key, own_key = jax.random.split(key)
        observation, inner = self.env.reset_env(inner_key, params.inner)
        state = Wrapped(inner=inner, hidden=self.begin(own_key, params, observation))
        return self.look(observation, state.hidden, params), state


def observer(env: Any) -> Callable[[PyTree, Any], PyTree] | None:
    """What an environment declares as `observe_state(state, params)`; None where it declares nothing."""
    return getattr(env, "observe_state", None)


def append_features(observation: PyTree, features: jax.Array, name: str) -> PyTree:
    """Shows more: K numbers at the end of the last axis of an array, or as one more token.

    Args:
        observation: an array [..., F], or a dict of token groups.
        features: float32 [K].
        name: of the token's group.
    """
    if isinstance(observation, dict):
        kind = 1 + max(group.kind for group in observation.values())
        token = TokenGroup(values=features[None], mask=jnp.ones(1, bool), kind=kind)
        return observation | {name: token}
    spread = jnp.broadcast_to(features, (*observation.shape[:-1], *features.shape))
    return jnp.concatenate([observation.astype(jnp.float32), spread], axis=-1)


def append_space(space: Any, num_features: int, name: str) -> Space:
    """The space of `append_features` with K numbers in [-1, 1]."""
    if hasattr(space, "spaces"):
        kind = 1 + max(group.kind for group in space.spaces.values())
        return spaces.Dict({**space.spaces, name: spaces.Tokens(1, num_features, kind)})
    more = (*space.shape[:-1], num_features)
    low, high = (
        np.concatenate([np.broadcast_to(bound, space.shape), np.full(more, limit)], axis=-1)
        for bound, limit in ((space.low, -1.0), (space.high, 1.0))
    )
    return spaces.Box(low, high, low.shape)


def wrap_levels(wrapper: Wrapper, levels: Levels) -> Levels:
    """The levels of a wrapped environment: its own, with what the wrapper adds to each drawn anew."""

    def enter(key: jax.Array, states: PyTree, params: Params) -> Wrapped:
        keys = jax.random.split(key, jax.tree.leaves(states)[0].shape[0])
        observations = jax.vmap(partial(levels.observe, params=params.inner))(states)
        hidden = jax.vmap(wrapper.begin, (0, None, 0))(keys, params, observations)
        return Wrapped(inner=states, hidden=hidden)

    def generate(key: jax.Array, params: Params, hardness: jax.Array) -> Wrapped:
        inner_key, own_key = jax.random.split(key)
        return enter(own_key, levels.generate(inner_key, params.inner, hardness), params)

    def observe(state: Wrapped, params: Params) -> PyTree:
        return wrapper.look(levels.observe(state.inner, params.inner), state.hidden, params)

    def mutate(key: jax.Array, states: Wrapped, params: Params) -> Wrapped:
        inner_key, own_key = jax.random.split(key)
        assert levels.mutate is not None
        return enter(own_key, levels.mutate(inner_key, states.inner, params.inner), params)

    return Levels(
        generate=generate,
        observe=observe,
        describe=lambda state, params: levels.describe(state.inner, params.inner),
        fingerprint=lambda state: levels.fingerprint(state.inner),
        mutate=mutate if levels.mutate else None,
    )
