"""Probe environments: so small that the right answer is known, each for one thing that may be wrong."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import struct

from purerl import spaces


@struct.dataclass
class ProbeParams:
    max_steps_in_episode: int = 8


@struct.dataclass
class ProbeState:
    cue: jax.Array
    time: jax.Array


@dataclass(frozen=True)
class Probe:
    """The contract, filled in by the probes below.

    `reward` sees cue and action; the cue is seen only where `shows_cue` says so.
    """

    num_actions: int = 1
    ends_after: int = 1
    terminates: bool = True
    shows_cue: bool = True

    @property
    def default_params(self):
        return ProbeParams()

    def reset_env(self, key, params):
        cue = jnp.where(jax.random.bernoulli(key), 1.0, -1.0)
        state = ProbeState(cue=cue, time=jnp.int32(0))
        return self._observe(state), state

    def step_env(self, key, state, action, params):
        reward = self.reward(state, action)
        state = state.replace(time=state.time + 1)
        ended = (state.time >= self.ends_after) & self.terminates
        return self._observe(state), state, reward, ended, {}

    def is_truncated(self, state, params):
        return (state.time >= self.ends_after) & (not self.terminates)

    def reward(self, state, action):
        return jnp.float32(1.0)

    def _observe(self, state):
        return jnp.stack([jnp.where(self.shows_cue, state.cue, 0.0), 1.0])

    def observation_space(self, params):
        return spaces.Box(-1.0, 1.0, (2,))

    def action_space(self, params):
        return spaces.Discrete(self.num_actions)


@struct.dataclass
class LastLookParams:
    """With what is seen behind the end of an episode."""

    seen: float = 0.0
    max_steps_in_episode: int = 8


@dataclass(frozen=True)
class LastLook(Probe):
    """Two actions and the reward of `ActionFollowsCue`; behind the end, what is seen is `params.seen`.

    Every third episode is cut by a limit, a step earlier; what is seen there is as always.
    """

    num_actions: int = 2
    ends_after: int = 3

    @property
    def default_params(self):
        return LastLookParams()

    def reset_env(self, key, params):
        seed = jax.random.randint(key, (), 0, 3)
        observation, state = super().reset_env(key, params)
        return observation, state.replace(cue=jnp.where(seed == 0, 0.5, state.cue))

    def step_env(self, key, state, action, params):
        observation, state, reward, ended, info = super().step_env(key, state, action, params)
        return jnp.where(ended, params.seen, observation), state, reward, ended, info

    def is_truncated(self, state, params):
        return (state.cue == 0.5) & (state.time == self.ends_after - 1)

    def reward(self, state, action):
        return jnp.where((action == 1) == (state.cue > 0), 1.0, -1.0)


class RewardOne(Probe):
    """One action, reward 1, one step: the value is 1."""


class RewardIsCue(Probe):
    """One action, reward as the cue says: the value is the cue."""

    def reward(self, state, action):
        return state.cue


class ActionFollowsCue(Probe):
    """Two actions: reward 1 for the one that the cue names, -1 for the other."""

    def reward(self, state, action):
        return jnp.where((action == 1) == (state.cue > 0), 1.0, -1.0)


class ContinuousTarget(Probe):
    """One number as an action: the nearer to half the cue, the better."""

    def reward(self, state, action):
        return -jnp.square(action[0] - 0.5 * state.cue)

    def action_space(self, params):
        return spaces.Box(-1.0, 1.0, (1,))
