"""Any environment of the author contract as a Gymnasium environment. Importing this imports gymnasium.

`make` and `make_vec` are what `envs.register_gymnasium` registers; `GymnasiumEnv` takes any environment.
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import gymnasium
import jax
import numpy as np

from envs import named
from purerl.spaces import fit_action
from purerl.types import Environment, Params, PyTree, TokenGroup

FramePainter = Callable[[PyTree, Any], np.ndarray]
RENDER_MODE = "rgb_array"
METADATA: dict[str, Any] = {"render_modes": [RENDER_MODE], "render_fps": 25}


class GymnasiumEnv(gymnasium.Env):
    """One environment, stepped by compiled functions. The caller resets it, as always in Gymnasium.

    Token groups become dicts of `values` and `mask`; all arrays are NumPy's.
    """

    metadata = METADATA

    def __init__(
        self,
        env: Environment,
        params: Params | None = None,
        frame: FramePainter | None = None,
        render_mode: str | None = None,
    ) -> None:
        """Wraps an environment.

        Args:
            env: the environment; equal ones share their compiled functions.
            params: its parameters, or a mapping of those that differ from the default.
            frame: `(state, params) -> uint8 [H, W, 3]`.
            render_mode: "rgb_array", where there is a `frame`, or None.
        """
        self.env, self.params, self.frame = env, params_of(env, params), frame
        self.render_mode = checked_render_mode(render_mode, frame)
        self.observation_space = space_of(env.observation_space(self.params))
        self.action_space = space_of(env.action_space(self.params))
        self._key: jax.Array | None = None
        self._state: PyTree = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begins an episode; with a `seed`, the same one each time. There are no options."""
        super().reset(seed=seed)
        if seed is not None or self._key is None:
            self._key = key_of(self.np_random)
        self._key, self._state, observation = reset(self.env, self.params, self._key)
        return plain(observation), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Takes one step."""
        self._key, self._state, outcome = step(self.env, self.params, self._key, self._state, action)
        observation, reward, terminated, truncated, info = plain(outcome)
        info = {name: value[()] for name, value in info.items()}
        return observation, float(reward), bool(terminated), bool(truncated), info

    def render(self) -> Any:
        """The present state as a picture, uint8 [H, W, 3]; None without a render mode."""
        if self.render_mode is None or self.frame is None:
            return None
        return self.frame(jax.device_get(self._state), self.params)


def make(
    environment: str,
    frame: str | None = None,
    params: Params | None = None,
    render_mode: str | None = None,
    **fields: Any,
) -> GymnasiumEnv:
    """What `gymnasium.make` calls.

    Args:
        environment: "module:class".
        frame: "module:function", which paints a state.
        params: parameters, or a mapping of those that differ from the default.
        render_mode: "rgb_array" or None.
        **fields: fields of the class.
    """
    return GymnasiumEnv(named(environment)(**fields), params, named(frame), render_mode)


def make_vec(environment: str, frame: str | None = None, *, num_envs: int = 1, **options: Any) -> Any:
    """What `gymnasium.make_vec` calls.

    Args:
        environment: "module:class".
        frame: "module:function", which paints a state.
        num_envs: how many environments.
        **options: `params`, `render_mode` and `autoreset_mode` of `GymnasiumVectorEnv`; all others are fields
            of the class.
    """
    from envs.gymnasium_vector import GymnasiumVectorEnv  # noqa: PLC0415  it imports this module

    names = ("params", "render_mode", "autoreset_mode")
    given = {name: options.pop(name) for name in names if name in options}
    return GymnasiumVectorEnv(named(environment)(**options), num_envs, frame=named(frame), **given)


def space_of(space: Any) -> gymnasium.Space:
    """A space of `purerl.spaces`, or of gymnax, as one of Gymnasium's."""
    if hasattr(space, "n"):
        return gymnasium.spaces.Discrete(int(space.n))
    if hasattr(space, "nvec"):
        return gymnasium.spaces.MultiDiscrete(np.asarray(space.nvec))
    if hasattr(space, "spaces") and not isinstance(space.spaces, Mapping):
        return gymnasium.spaces.Tuple([space_of(part) for part in space.spaces])
    if hasattr(space, "spaces"):
        return gymnasium.spaces.Dict({name: space_of(part) for name, part in space.spaces.items()})
    if hasattr(space, "num_tokens"):
        low, high = np.minimum(space.low, 0.0), np.maximum(space.high, 0.0)  # absent tokens are zero
        mask = gymnasium.spaces.Box(0, 1, (space.num_tokens,), np.bool_)  # type: ignore[arg-type]
        return gymnasium.spaces.Dict({"values": _box(low, high, space.shape, np.float32), "mask": mask})
    return _box(space.low, space.high, space.shape, space.dtype)


def plain(tree: PyTree) -> Any:
    """A tree as arrays of NumPy that belong to the caller, with dicts in the place of token groups."""

    def convert(leaf: Any) -> Any:
        if isinstance(leaf, TokenGroup):
            return {"values": np.array(leaf.values), "mask": np.array(leaf.mask)}
        return np.array(leaf)

    return jax.tree.map(convert, jax.device_get(tree), is_leaf=lambda leaf: isinstance(leaf, TokenGroup))


def params_of(env: Environment, params: Params) -> Any:
    """Parameters of an environment, from the default and what differs from it, checked where it can be."""
    if params is None or isinstance(params, Mapping):
        params = dataclasses.replace(env.default_params, **(params or {}))
    if hasattr(env, "check"):
        env.check(params)
    return params


def checked_render_mode(render_mode: str | None, frame: FramePainter | None) -> str | None:
    """The render mode; ValueError where nothing can be painted that way."""
    possible = (None, RENDER_MODE) if frame else (None,)
    if render_mode not in possible:
        raise ValueError(f"render_mode = {render_mode!r} must be one of {possible}")
    return render_mode


def key_of(generator: np.random.Generator) -> jax.Array:
    """A JAX key from NumPy's generator."""
    return jax.random.key(int(generator.integers(2**32)))


@partial(jax.jit, static_argnums=0)
def reset(env: Environment, params: Params, key: jax.Array) -> tuple[jax.Array, PyTree, PyTree]:
    """Begins an episode: (key of the next call, state, observation)."""
    key, reset_key = jax.random.split(key)
    observation, state = env.reset_env(reset_key, params)
    return key, state, observation


@partial(jax.jit, static_argnums=0)
def step(
    env: Environment, params: Params, key: jax.Array, state: PyTree, action: Any
) -> tuple[jax.Array, PyTree, tuple]:
    """Takes a step: (key of the next call, state, (observation, reward, terminated, truncated, info))."""
    key, step_key = jax.random.split(key)
    action = fit_action(action, env.action_space(params))
    observation, state, reward, terminated, info = env.step_env(step_key, state, action, params)
    truncated = env.is_truncated(state, params) & ~terminated
    return key, state, (observation, reward, terminated, truncated, info)


def _box(low: Any, high: Any, shape: tuple[int, ...], dtype: Any) -> gymnasium.spaces.Box:
    dtype = np.dtype(dtype)
    low, high = (np.broadcast_to(np.asarray(bound, dtype), shape) for bound in (low, high))
    return gymnasium.spaces.Box(low, high, shape, dtype.type)  # type: ignore[arg-type]
