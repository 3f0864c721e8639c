"""Imprecise perception: what is there is not always seen."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from envs.wrappers.base import Wrapped, Wrapper, WrapperParams, append_features, append_space
from purerl import ranges
from purerl.ranges import Count, Share
from purerl.types import PyTree, Space


@struct.dataclass
class OcclusionParams(WrapperParams):
    """What may be traced and swept.

    Attributes:
        inner: parameters of the environment.
        share: share of steps in which something is not seen, p.
        length: steps for which it stays so, L.
    """

    inner: PyTree
    share: Share = 0.5
    length: Count = 5


@dataclass(frozen=True)
class Occlusion(Wrapper):
    """An array is missing as a whole, tokens are missing one by one: in bursts of L steps, and a share p.

    An array that is missing is zeros; a number more says whether it is seen. Tokens that are missing are
    masked.

    Attributes:
        groups: names of the token groups that are occluded; by default those of more than one token.
    """

    groups: tuple[str, ...] = ()

    @property
    def default_params(self) -> OcclusionParams:
        """Half of the time unseen, in bursts of five steps."""
        return OcclusionParams(inner=self.env.default_params)

    def check(self, params: OcclusionParams) -> None:
        """Raises ValueError, on the host, for what cannot be meant."""
        ranges.check(params)

    def shown_space(self, params: OcclusionParams) -> Space:
        """The environment's; of an array with one number more."""
        space = self.env.observation_space(params.inner)
        return space if hasattr(space, "spaces") else append_space(space, 1, "seen")

    def begin(self, key: jax.Array, params: OcclusionParams, observation: PyTree) -> jax.Array:
        """Steps for which each part stays unseen, int32 [K]; drawn as they are in the long run."""
        share_key, age_key = jax.random.split(key)
        parts = (self._num_parts(observation),)
        left = jax.random.randint(age_key, parts, 1, params.length + 1)
        return jnp.where(jax.random.bernoulli(share_key, params.share, parts), left, 0)

    def show(self, observation: PyTree, hidden: jax.Array, params: OcclusionParams) -> PyTree:
        """What is left of an observation, where `hidden`, int32 [K], is 0."""
        seen = hidden == 0
        if not isinstance(observation, dict):
            values = jnp.where(seen[0], observation, jnp.zeros_like(observation))
            return append_features(values, seen.astype(jnp.float32), "seen")
        shown, start = dict(observation), 0
        for name in self._occluded(observation):
            group = observation[name]
            mask = group.mask & seen[start : start + group.mask.shape[0]]
            values = jnp.where(mask[:, None], group.values, 0.0)
            shown[name] = dataclasses.replace(group, values=values, mask=mask)
            start += group.mask.shape[0]
        return shown

    def revealed_space(self, params: OcclusionParams) -> Space:
        """The environment's."""
        return self.env.observation_space(params.inner)

    def reveal(self, observation: PyTree, hidden: jax.Array, params: OcclusionParams) -> PyTree:
        """The environment's observation, nothing missing."""
        return observation

    def step_env(
        self, key: jax.Array, state: Wrapped, action: jax.Array, params: OcclusionParams
    ) -> tuple[PyTree, Wrapped, jax.Array, jax.Array, dict[str, Any]]:
        """Takes a step: observation, state, reward, terminated and info."""
        inner_key, own_key = jax.random.split(key)
        observation, inner, reward, terminated, info = self.env.step_env(
            inner_key, state.inner, action, params.inner
        )
        # Seen for (1 - q) / q steps on average, unseen for L: the share is p where q = p / (p + L (1 - p)).
        starts = params.share / (params.share + params.length * (1.0 - params.share))
        drawn = jax.random.bernoulli(own_key, starts, state.hidden.shape)
        fresh = jnp.where(drawn, params.length, 0)
        hidden = jnp.where(state.hidden > 1, state.hidden - 1, fresh).astype(jnp.int32)
        after = Wrapped(inner=inner, hidden=hidden)
        return self.look(observation, hidden, params), after, reward, terminated, info

    def _occluded(self, observation: dict[str, Any]) -> list[str]:
        if self.groups:
            return list(self.groups)
        return [name for name, group in observation.items() if group.mask.shape[0] > 1]

    def _num_parts(self, observation: PyTree) -> int:
        if not isinstance(observation, dict):
            return 1
        return sum(observation[name].mask.shape[0] for name in self._occluded(observation))
