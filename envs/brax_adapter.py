"""Brax environments, and through Brax those of MuJoCo MJX, under the author contract.

Brax's own wrappers are left aside: they replace the last observation of an episode by the first of the next,
and begin every episode of an environment in the same state. Importing this imports Brax.
"""

from dataclasses import dataclass
from typing import Any

import brax.envs
import jax
import jax.numpy as jnp
from brax.envs.base import State
from flax import struct

from purerl import ranges, spaces
from purerl.ranges import Count
from purerl.types import Params, PyTree

PREFIX = "brax/"
BACKENDS = ("generalized", "spring", "positional", "mjx")


@struct.dataclass
class BraxParams:
    """What may be traced and swept.

    Attributes:
        max_steps_in_episode: steps after which an episode is truncated.
    """

    max_steps_in_episode: Count = 1000


@struct.dataclass
class BraxState:
    """State of one environment.

    Attributes:
        inner: Brax's own state, reward and observation included.
        time: steps since the episode began, int32 [].
    """

    inner: State
    time: jax.Array


@dataclass(frozen=True)
class BraxEnvironment:
    """Hands everything on to an environment of Brax.

    Attributes:
        env: the environment, without wrappers.
        name: "brax/ant" and so on.
    """

    env: Any
    name: str

    @property
    def default_params(self) -> BraxParams:
        """Episodes of 1,000 steps, as in Brax."""
        return BraxParams()

    @property
    def num_actions(self) -> int:
        """How many numbers an action has."""
        return self.env.action_size

    def reset_env(self, key: jax.Array, params: BraxParams) -> tuple[jax.Array, BraxState]:
        """Begins an episode: observation and state."""
        inner = self.env.reset(key)
        return inner.obs, BraxState(inner=inner, time=jnp.int32(0))

    def step_env(
        self, key: jax.Array, state: BraxState, action: jax.Array, params: BraxParams
    ) -> tuple[PyTree, BraxState, jax.Array, jax.Array, dict[str, jax.Array]]:
        """Takes a step.

        Args:
            key: not used: what is random in Brax is drawn when an episode begins, or carried in its state.
            state: before the step.
            action: float32 [A], clipped to [-1, 1].
            params: not used here.

        Returns:
            The observation, the state, the reward (float32 []), whether the episode terminated by the rules
            of the environment (bool []), and no information.
        """
        inner = self.env.step(state.inner, jnp.clip(action, -1.0, 1.0))
        after = BraxState(inner=inner, time=state.time + 1)
        return inner.obs, after, inner.reward, inner.done > 0.5, {}

    def is_truncated(self, state: BraxState, params: BraxParams) -> jax.Array:
        """True where the time limit cuts the episode: bool []."""
        return state.time >= params.max_steps_in_episode

    def observation_space(self, params: Params | None = None) -> spaces.Box:
        """A vector without bounds."""
        return spaces.Box(-jnp.inf, jnp.inf, (self.env.observation_size,))

    def check(self, params: BraxParams) -> None:
        """Raises ValueError, on the host, for what cannot be meant."""
        ranges.check(params)

    def action_space(self, params: Params | None = None) -> spaces.Box:
        """One number in [-1, 1] for each actuator."""
        return spaces.Box(-1.0, 1.0, (self.env.action_size,))


def make(name: str) -> BraxEnvironment:
    """The environment that Brax knows under a name.

    Args:
        name: "brax/ant", "brax/halfcheetah" and so on, or with a backend of the physics, "brax/ant/mjx":
            generalized (the default), spring, positional or mjx (MuJoCo).

    Raises:
        ValueError: one line, where Brax has none of that name.
    """
    inner, _, backend = name.removeprefix(PREFIX).partition("/")
    known = sorted(brax.envs._envs)
    if inner not in known:
        raise ValueError(f"there is no environment {name!r}; Brax has {', '.join(known)}")
    if backend not in ("", *BACKENDS):
        raise ValueError(f"{name!r}: the backend is one of {', '.join(BACKENDS)}")
    env = brax.envs.get_environment(inner, backend=backend or BACKENDS[0])
    return BraxEnvironment(env=env, name=name)
