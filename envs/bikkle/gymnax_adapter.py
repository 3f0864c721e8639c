"""Bikkle as a subclass of gymnax's `Environment`. Importing this imports gymnax, which takes seconds."""

from typing import Any

import gymnax
import jax
from gymnax.environments.environment import Environment

from envs.bikkle.environment import Bikkle
from envs.bikkle.params import BikkleParams
from envs.bikkle.state import BikkleState
from purerl.types import PyTree


class GymnaxBikkle(Environment[BikkleState, BikkleParams]):
    """Hands everything on to a `Bikkle`; `step` and `reset` are gymnax's own."""

    def __init__(self, **fields: Any) -> None:
        self.bikkle = Bikkle(**fields)

    @property
    def default_params(self) -> BikkleParams:
        """The arena's default parameters."""
        return self.bikkle.default_params

    @property
    def name(self) -> str:
        """Name of the environment."""
        return self.bikkle.name

    @property
    def num_actions(self) -> int:
        """How many numbers an action has."""
        return self.bikkle.num_actions

    def reset_env(self, key: jax.Array, params: BikkleParams) -> tuple[PyTree, BikkleState]:
        """See `Bikkle.reset_env`."""
        return self.bikkle.reset_env(key, params)

    def step_env(
        self, key: jax.Array, state: BikkleState, action: Any, params: BikkleParams
    ) -> tuple[PyTree, BikkleState, jax.Array, jax.Array, dict[str, jax.Array]]:
        """See `Bikkle.step_env`."""
        return self.bikkle.step_env(key, state, action, params)

    def get_obs(self, state: BikkleState, params: Any = None, key: Any = None) -> PyTree:
        """See `Bikkle.observe`."""
        return self.bikkle.observe(state, self.default_params if params is None else params)

    def is_truncated(self, state: BikkleState, params: BikkleParams) -> jax.Array:
        """See `Bikkle.is_truncated`."""
        return self.bikkle.is_truncated(state, params)

    def action_space(self, params: BikkleParams | None = None) -> Any:
        """See `Bikkle.action_space`."""
        return self.bikkle.action_space(params)

    def observation_space(self, params: BikkleParams | None = None) -> Any:
        """See `Bikkle.observation_space`."""
        return self.bikkle.observation_space(params)


def register() -> None:
    """Registers `Bikkle-v0` with gymnax, once."""
    name = Bikkle().name
    if name not in gymnax.registered_envs:
        gymnax.registration.register(name, GymnaxBikkle)
