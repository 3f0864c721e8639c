"""Randomized dynamics: how the world answers to an action is another matter in each episode."""

import math
from dataclasses import dataclass
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs.wrappers.base import Wrapped, Wrapper, WrapperParams, append_features, append_space
from purerl import ranges
from purerl.ranges import CountOrZero, Number, Range
from purerl.spaces import fit_action
from purerl.types import ActionSpace, BoxSpace, PyTree, Space

Gain = Annotated[float, Range(1.0)]


@struct.dataclass
class HiddenDynamicsParams(WrapperParams):
    """What may be traced and swept.

    Attributes:
        inner: parameters of the environment.
        max_rotation: largest angle, in radians, by which pairs of numbers of an action are turned, one way or
            the other; of discrete actions, any value above 0 lets their numbering begin anywhere.
        max_gain: largest factor by which actions are scaled, or divided; not for discrete ones.
        max_delay: most steps by which actions are late, at most that of the wrapper.
    """

    inner: PyTree
    max_rotation: Number = math.pi / 2
    max_gain: Gain = 1.5
    max_delay: CountOrZero = 2


@struct.dataclass
class Dynamics:
    """What is drawn for an episode, and the actions on their way.

    Attributes:
        angle: float32 []; for discrete actions, the number of the first one, int32 [].
        gain: float32 [].
        delay: int32 [].
        actions: the last ones as the policy gave them, newest first, [max_delay + 1, ...].
    """

    angle: jax.Array
    gain: jax.Array
    delay: jax.Array
    actions: jax.Array


@dataclass(frozen=True)
class HiddenDynamics(Wrapper):
    """Actions are turned, scaled and late, by amounts drawn for each episode; the last action is seen.

    What is turned or scaled beyond the bounds of the environment's box arrives as what lies on them.

    Before the first action arrives, the environment gets the middle of a box, or the discrete action 0.

    Attributes:
        max_delay: most steps by which actions may be late; it decides shapes.
    """

    max_delay: CountOrZero = 2

    @property
    def default_params(self) -> HiddenDynamicsParams:
        """Turned by up to a quarter of a full turn, scaled by up to 1.5, late by up to the most steps."""
        return HiddenDynamicsParams(inner=self.env.default_params, max_delay=self.max_delay)

    def check(self, params: HiddenDynamicsParams) -> None:
        """Raises ValueError, on the host, for what cannot be meant."""
        ranges.check(self)
        ranges.check(params)
        if params.max_delay > self.max_delay:
            raise ValueError(f"max_delay = {params.max_delay} must lie between 0 and {self.max_delay}")

    def shown_space(self, params: HiddenDynamicsParams) -> Space:
        """The environment's, with the last action."""
        size = _action_size(self.env.action_space(params.inner))
        return append_space(self.env.observation_space(params.inner), size, "last_action")

    def begin(self, key: jax.Array, params: HiddenDynamicsParams, observation: PyTree) -> Dynamics:
        """Draws angle, gain and delay."""
        space = self.env.action_space(params.inner)
        angle_key, gain_key, delay_key = jax.random.split(key, 3)
        gain = jnp.exp(jax.random.uniform(gain_key, minval=-1.0, maxval=1.0) * jnp.log(params.max_gain))
        if hasattr(space, "n"):
            first = jax.random.randint(angle_key, (), 0, space.n)
            angle = jnp.where(jnp.asarray(params.max_rotation) > 0, first, 0)
            actions = jnp.full(self.max_delay + 1, -1, jnp.int32)
        else:
            angle = params.max_rotation * jax.random.uniform(angle_key, minval=-1.0, maxval=1.0)
            actions = jnp.zeros((self.max_delay + 1, *space.shape))
        delay = jax.random.randint(delay_key, (), 0, params.max_delay + 1)
        return Dynamics(angle=angle, gain=gain, delay=delay, actions=actions)

    def show(self, observation: PyTree, hidden: Dynamics, params: HiddenDynamicsParams) -> PyTree:
        """The environment's observation, and the last action: in [-1, 1], or one-hot; zeros before any."""
        space = self.env.action_space(params.inner)
        last = hidden.actions[0]
        last = jax.nn.one_hot(last, space.n) if hasattr(space, "n") else last.ravel()
        return append_features(observation, last, "last_action")

    def revealed_space(self, params: HiddenDynamicsParams) -> Space:
        """What is shown, with the dynamics."""
        space = self.env.action_space(params.inner)
        size, turn = _action_size(space), int(space.n) if hasattr(space, "n") else 2
        num_features = turn + 1 + (self.max_delay + 1) * (1 + size)
        return append_space(self.shown_space(params), num_features, "dynamics")

    def reveal(self, observation: PyTree, hidden: Dynamics, params: HiddenDynamicsParams) -> PyTree:
        """What is shown, with angle, gain and delay of the episode, and the actions on their way."""
        space = self.env.action_space(params.inner)
        if hasattr(space, "n"):
            turn, actions = jax.nn.one_hot(hidden.angle, space.n), jax.nn.one_hot(hidden.actions, space.n)
        else:
            turn, actions = jnp.stack([jnp.cos(hidden.angle), jnp.sin(hidden.angle)]), hidden.actions
        gain = (hidden.gain - 1.0) / (hidden.gain + 1.0)
        delay = jax.nn.one_hot(hidden.delay, self.max_delay + 1)
        features = jnp.concatenate([turn, gain[None], delay, actions.ravel()])
        return append_features(self.show(observation, hidden, params), features, "dynamics")

    def step_env(
        self, key: jax.Array, state: Wrapped, action: jax.Array, params: HiddenDynamicsParams
    ) -> tuple[PyTree, Wrapped, jax.Array, jax.Array, dict[str, Any]]:
        """Takes a step with the action that arrives: observation, state, reward, terminated and info."""
        space, hidden = self.env.action_space(params.inner), state.hidden
        if hasattr(space, "n"):
            given = action.astype(jnp.int32)
        else:
            middle, half = _middle_and_half(space)
            given = jnp.clip((action - middle) / half, -1.0, 1.0)
        actions = jnp.roll(hidden.actions, 1, axis=0).at[0].set(given)
        arrived = actions[hidden.delay]
        if hasattr(space, "n"):
            played = jnp.where(arrived < 0, 0, (arrived + hidden.angle) % space.n)
        else:
            played = middle + half * hidden.gain * _turn(arrived, hidden.angle)
        played = fit_action(played, space)  # a turn or a gain may lead beyond the bounds
        observation, inner, reward, terminated, info = self.env.step_env(
            key, state.inner, played, params.inner
        )
        after = Wrapped(inner=inner, hidden=hidden.replace(actions=actions))
        return self.look(observation, after.hidden, params), after, reward, terminated, info


def _action_size(space: ActionSpace) -> int:
    """How many numbers tell an action."""
    return int(space.n) if hasattr(space, "n") else math.prod(space.shape)


def _middle_and_half(space: BoxSpace) -> tuple[np.ndarray, np.ndarray]:
    """Middle and half width of a box; 0 and 1 where it has no bounds."""
    low, high = (
        np.broadcast_to(np.asarray(bound, np.float32), space.shape) for bound in (space.low, space.high)
    )
    bounded = np.isfinite(low) & np.isfinite(high)
    low, high = np.where(bounded, low, -1.0), np.where(bounded, high, 1.0)
    return (low + high) / 2, (high - low) / 2


def _turn(action: jax.Array, angle: jax.Array) -> jax.Array:
    """Turns the first and second number, the third and fourth and so on; one that is left over stays."""
    flat = action.ravel()
    pairs = flat.size // 2
    x, y = flat[: 2 * pairs].reshape(pairs, 2).T
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    turned = jnp.stack([cosine * x - sine * y, sine * x + cosine * y], axis=1).ravel()
    return jnp.concatenate([turned, flat[2 * pairs :]]).reshape(action.shape)
