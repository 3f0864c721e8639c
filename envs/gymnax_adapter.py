"""Any environment of the author contract as one of gymnax. Importing this imports gymnax, for seconds."""

from functools import partial
from typing import Any

import gymnax
import jax
from gymnax.environments.environment import Environment as GymnaxBase

from envs import Registered, named
from purerl.types import ActionSpace, Params, PyTree, Space


class GymnaxEnvironment(GymnaxBase[Any, Any]):
    """Hands everything on to an environment of ours; `step` and `reset` are gymnax's own."""

    def __init__(self, env: Any) -> None:
        self.env = env

    @property
    def default_params(self) -> Params:
        """The environment's default parameters."""
        return self.env.default_params

    @property
    def name(self) -> str:
        """Name of the environment."""
        return self.env.name

    @property
    def num_actions(self) -> int:
        """How many actions there are to choose from, or how many numbers an action has."""
        return self.env.num_actions

    def reset_env(self, key: jax.Array, params: Params) -> tuple[PyTree, PyTree]:
        """Begins an episode: observation and state."""
        return self.env.reset_env(key, params)

    def step_env(
        self, key: jax.Array, state: PyTree, action: Any, params: Params
    ) -> tuple[PyTree, PyTree, jax.Array, jax.Array, dict[str, jax.Array]]:
        """Takes a step: observation, state, reward, terminated and info."""
        return self.env.step_env(key, state, action, params)

    def get_obs(self, state: PyTree, params: Params | None = None, key: Any = None) -> PyTree:
        """What the agent sees of a state."""
        return self.env.observe_state(state, self.default_params if params is None else params)

    def is_truncated(self, state: PyTree, params: Params) -> jax.Array:
        """Whether the time limit cuts the episode: bool []."""
        return self.env.is_truncated(state, params)

    def action_space(self, params: Params | None = None) -> ActionSpace:
        """What `step_env` takes."""
        return self.env.action_space(params)

    def observation_space(self, params: Params | None = None) -> Space:
        """What the agent sees, as a space."""
        return self.env.observation_space(params)


def make(registered: Registered, **fields: Any) -> GymnaxEnvironment:
    """What `gymnax.make` calls, with the fields of the environment's class."""
    return GymnaxEnvironment(named(registered.environment)(**fields))


def register(name: str, registered: Registered) -> None:
    """Makes `gymnax.make(name, **fields)` work; may be called again."""
    if name not in gymnax.registered_envs:
        gymnax.registration.register(name, partial(make, registered))
