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
class Rules:
    """What `Ruled` rewards and how its episodes end, as data: one compiled program plays by all of them.

    Attributes:
        bonus: reward of every step.
        cue_reward: reward for each unit of the cue.
        choice_reward: for the right action, and taken away for the wrong one; for a number as an action,
            what its squared distance to half the cue costs.
        ends_after: steps of an episode.
        terminates: whether it ends there by the rules, or is cut by a limit.
        cuts_thirds: whether every third episode is cut a step earlier.
        seen: what is seen behind an end by the rules, in place of an observation.
        max_steps_in_episode: below which staggered starts cut.
    """

    bonus: float = 0.0
    cue_reward: float = 0.0
    choice_reward: float = 0.0
    ends_after: int = 1
    terminates: bool = True
    cuts_thirds: bool = False
    seen: float = 0.0
    max_steps_in_episode: int = 8


@dataclass(frozen=True)
class Ruled(Probe):
    """Two actions, of which the cue names the right one; or one number, best at half the cue. See `Rules`.

    `flags` is the dtype in which it says that an episode ends. Thirds that are cut have a cue of 0.5.
    """

    num_actions: int = 2
    continuous: bool = False
    flags: str = "bool"

    @property
    def default_params(self):
        return Rules()

    def reset_env(self, key, params):
        third_key, cue_key = jax.random.split(key)
        third = jax.random.randint(third_key, (), 0, 3) == 0
        _, state = super().reset_env(cue_key, params)
        state = state.replace(cue=jnp.where(third & params.cuts_thirds, 0.5, state.cue))
        return self._observe(state), state

    def step_env(self, key, state, action, params):
        if self.continuous:
            choice = -jnp.square(action[0] - 0.5 * state.cue)
        else:
            choice = jnp.where((action == 1) == (state.cue > 0), 1.0, -1.0)
        reward = params.bonus + params.cue_reward * state.cue + params.choice_reward * choice
        state = state.replace(time=state.time + 1)
        ended = (state.time >= params.ends_after) & params.terminates
        observation = jnp.where(ended, params.seen, self._observe(state))
        return observation, state, reward, ended.astype(self.flags), {}

    def is_truncated(self, state, params):
        over = (state.time >= params.ends_after) & jnp.logical_not(params.terminates)
        cut = (state.cue == 0.5) & (state.time == params.ends_after - 1)
        return (over | cut).astype(self.flags)

    def action_space(self, params):
        return spaces.Box(-1.0, 1.0, (1,)) if self.continuous else spaces.Discrete(self.num_actions)


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
