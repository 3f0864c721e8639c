"""Memory chain: a sign is shown once, and asked for at the end of the episode.

After the memory length task of bsuite (Osband et al. 2020, arXiv:1908.03568).
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import struct

from purerl import ranges, spaces
from purerl.ranges import Count


@struct.dataclass
class ChainParams:
    """What may be traced and swept.

    Attributes:
        max_steps_in_episode: steps of an episode; the answer to the last one counts.
    """

    max_steps_in_episode: Count = 20


@struct.dataclass
class ChainState:
    """State of one episode.

    Attributes:
        context: the sign, 0 or 1, int32 [].
        time: steps since the episode began, int32 [].
    """

    context: jax.Array
    time: jax.Array


@dataclass(frozen=True)
class MemoryChain:
    """Two actions; reward 1 where the last one names the sign, else -1. All others do nothing."""

    @property
    def name(self) -> str:
        """Name of the environment."""
        return "MemoryChain"

    @property
    def num_actions(self) -> int:
        """One for each sign."""
        return 2

    @property
    def default_params(self) -> ChainParams:
        """Chains of 20 steps."""
        return ChainParams()

    def check(self, params: ChainParams) -> None:
        """Raises ValueError, on the host, for what cannot be meant."""
        ranges.check(params)

    def action_space(self, params: ChainParams | None = None) -> spaces.Discrete:
        """The signs."""
        return spaces.Discrete(2)

    def observation_space(self, params: ChainParams | None = None) -> spaces.Box:
        """The share of time left, 1 where the answer counts, and the sign as -1 or 1 in the first step."""
        return spaces.Box(-1.0, 1.0, (3,))

    def observe_state(self, state: ChainState, params: ChainParams) -> jax.Array:
        """What the agent sees of a state: float32 [3]."""
        length = params.max_steps_in_episode
        sign = jnp.where(state.time == 0, 2.0 * state.context - 1.0, 0.0)
        return jnp.stack([1.0 - state.time / length, (state.time == length - 1) * 1.0, sign])

    def is_truncated(self, state: ChainState, params: ChainParams) -> jax.Array:
        """Never: the chain ends with its last step."""
        return jnp.zeros((), bool)

    def reset_env(self, key: jax.Array, params: ChainParams) -> tuple[jax.Array, ChainState]:
        """Draws the sign: observation and state."""
        context = jax.random.bernoulli(key).astype(jnp.int32)
        state = ChainState(context=context, time=jnp.zeros((), jnp.int32))
        return self.observe_state(state, params), state

    def step_env(
        self, key: jax.Array, state: ChainState, action: jax.Array, params: ChainParams
    ) -> tuple[jax.Array, ChainState, jax.Array, jax.Array, dict[str, jax.Array]]:
        """Goes on, and judges the last action: observation, state, reward, terminated and info."""
        after = ChainState(context=state.context, time=state.time + 1)
        terminated = after.time >= params.max_steps_in_episode
        right = action == state.context
        reward = jnp.where(terminated, jnp.where(right, 1.0, -1.0), 0.0)
        return self.observe_state(after, params), after, reward, terminated, {"solved": terminated & right}
