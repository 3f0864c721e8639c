"""Observations of any kind, in a form that networks read.

| observed | becomes |
|---|---|
| `Discrete`, `MultiDiscrete` | one-hot, bool: a vector |
| `Dict`, `Tuple`, also nested | one float32 vector: one-hot parts, bytes / 255, all others as they are |
| a `Box` of uint8 from 0 to 255 | stays: networks divide bytes by 255, and a replay holds them as bytes |
| any other `Box` of uint8 | the same numbers as float32 |

Everything else is left alone: boxes of other numbers, of which integers are normalized like the rest where
observations are, and dicts of token groups.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from envs.wrappers.base import observer
from purerl import spaces
from purerl.types import Params, PyTree, Space


class Encoded:
    """An environment with other observations; states, parameters and all else are its own."""

    def __init__(self, env: Any, params: Params) -> None:
        """Wraps an environment; `params` are any of its parameters, which decide no shapes."""
        self.env = env
        self._observed = env.observation_space(params)
        self._space = encoded_space(self._observed)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["env"], name)

    def observation_space(self, params: Params | None = None) -> Space:
        """A box: a vector, or what the environment observes with another dtype."""
        return self._space

    @property
    def observe_state(self) -> Any:
        """`(state, params) -> observation`; None where the environment cannot look at a state again."""
        method = observer(self.env)
        return None if method is None else lambda state, params: self._encode(method(state, params))

    def reset_env(self, key: jax.Array, params: Params) -> tuple[PyTree, PyTree]:
        """Begins an episode: observation and state."""
        observation, state = self.env.reset_env(key, params)
        return self._encode(observation), state

    def step_env(
        self, key: jax.Array, state: PyTree, action: jax.Array, params: Params
    ) -> tuple[PyTree, PyTree, jax.Array, jax.Array, dict[str, Any]]:
        """Takes a step: observation, state, reward, terminated and info."""
        observation, *rest = self.env.step_env(key, state, action, params)
        return self._encode(observation), *rest

    def _encode(self, observation: PyTree) -> jax.Array:
        if hasattr(self._observed, "low"):
            return jnp.asarray(observation, jnp.float32)
        return numbers_of(observation, self._observed).astype(self._space.dtype)


def encoded(env: Any, params: Params) -> Any:
    """The environment, with its observations encoded where no network would read them as they are.

    Raises:
        ValueError: one line, where there is no way to.
    """
    return env if is_read_as_it_is(env.observation_space(params)) else Encoded(env, params)


def is_read_as_it_is(space: Any) -> bool:
    """Whether networks read members of a space rightly without an encoding."""
    if isinstance(space, spaces.TwoViews):
        return is_read_as_it_is(space.actor) and is_read_as_it_is(space.critic)
    if isinstance(getattr(space, "spaces", None), Mapping):
        return bool(space.spaces) and all(hasattr(part, "num_tokens") for part in space.spaces.values())
    return hasattr(space, "low") and (space.dtype != jnp.uint8 or _are_bytes(space))


def encoded_space(space: Any) -> spaces.Box:
    """The space of encoded observations."""
    if hasattr(space, "low"):
        return spaces.Box(space.low, space.high, tuple(space.shape))
    low, high = _bounds(space)
    choice = hasattr(space, "n") or hasattr(space, "nvec")
    return spaces.Box(low, high, low.shape, bool if choice else jnp.float32)


def numbers_of(observation: PyTree, space: Any) -> jax.Array:
    """A member of a space as one vector, float32 [F]."""
    if hasattr(space, "nvec"):
        hot = [jax.nn.one_hot(observation[i], n) for i, n in enumerate(np.asarray(space.nvec).tolist())]
        return jnp.concatenate(hot)
    if hasattr(space, "n"):
        return jax.nn.one_hot(observation, space.n).ravel()
    if hasattr(space, "spaces"):
        return jnp.concatenate([numbers_of(_part(observation, k), part) for k, part in _parts(space)])
    return jnp.ravel(observation).astype(jnp.float32) / (255.0 if _are_bytes(space) else 1.0)


def _bounds(space: Any) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of `numbers_of`, float32 [F] each; ValueError for spaces that it does not know."""
    if hasattr(space, "nvec"):
        return (np.zeros(int(np.sum(space.nvec)), np.float32), np.ones(int(np.sum(space.nvec)), np.float32))
    if hasattr(space, "n") and tuple(getattr(space, "shape", ())) == ():
        return np.zeros(int(space.n), np.float32), np.ones(int(space.n), np.float32)
    if hasattr(space, "spaces") and len(space.spaces):
        both = zip(*(_bounds(part) for _, part in _parts(space)), strict=True)
        low, high = (np.concatenate(bounds) for bounds in both)
        return low, high
    if not hasattr(space, "low") or not hasattr(space, "dtype"):
        raise ValueError(
            f"observations of the kind {type(space).__name__} are not handled here; offer Box, Discrete, "
            "MultiDiscrete, or a Dict or Tuple of these (or a Dict of token groups alone)"
        )
    scale = 255.0 if _are_bytes(space) else 1.0
    low, high = (
        np.broadcast_to(np.asarray(bound, np.float32) / scale, space.shape).ravel()
        for bound in (space.low, space.high)
    )
    return low, high


def _parts(space: Any) -> list[tuple[Any, Any]]:
    """Names or numbers of the parts of a Dict or Tuple, and their spaces."""
    return list(space.spaces.items() if isinstance(space.spaces, Mapping) else enumerate(space.spaces))


def _part(observation: Any, key: Any) -> Any:
    if isinstance(key, int) or isinstance(observation, Mapping):
        return observation[key]
    return getattr(observation, key)  # a record with the names of a Dict


def _are_bytes(space: Any) -> bool:
    full = np.all(np.asarray(space.low) == 0) and np.all(np.asarray(space.high) == 255)
    return space.dtype == jnp.uint8 and bool(full)
