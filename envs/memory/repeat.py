"""Repeat what was seen: at the start of the episode, or some steps ago.

After RepeatFirst and RepeatPrevious of POPGym (Morad et al. 2023, arXiv:2303.01859), with symbols drawn
independently and not from a deck of cards, so that counting those seen is of no use.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from purerl import ranges, spaces
from purerl.ranges import Count, CountOrZero


@struct.dataclass
class RepeatParams:
    """What may be traced and swept.

    Attributes:
        max_steps_in_episode: steps after which the episode ends; there is nothing after them.
    """

    max_steps_in_episode: Count = 52


@struct.dataclass
class RepeatState:
    """State of one episode.

    Attributes:
        symbols: the last k + 1, newest first, int32 [k + 1]; of RepeatFirst the newest and the first.
        time: steps since the episode began, int32 [].
    """

    symbols: jax.Array
    time: jax.Array


@dataclass(frozen=True)
class _Repeat:
    """What both have in common: n symbols, as many actions, and 1 / T for each right answer, else -1 / T.

    Attributes:
        num_symbols: n.
    """

    num_symbols: Count = 4

    @property
    def num_actions(self) -> int:
        """One for each symbol."""
        return self.num_symbols

    @property
    def default_params(self) -> RepeatParams:
        """Episodes of 52 steps."""
        return RepeatParams()

    def check(self, params: RepeatParams) -> None:
        """Raises ValueError, on the host, for what cannot be meant."""
        ranges.check(self)
        ranges.check(params)

    def action_space(self, params: RepeatParams | None = None) -> spaces.Discrete:
        """The symbols."""
        return spaces.Discrete(self.num_symbols)

    def observation_space(self, params: RepeatParams | None = None) -> spaces.Box:
        """The newest symbol, one-hot, and 1 at the start of the episode."""
        return spaces.Box(0.0, 1.0, (self.num_symbols + 1,))

    def observe_state(self, state: RepeatState, params: RepeatParams) -> jax.Array:
        """What the agent sees of a state: float32 [n + 1]."""
        symbol = jax.nn.one_hot(state.symbols[0], self.num_symbols)
        return jnp.append(symbol, (state.time == 0).astype(jnp.float32))

    def is_truncated(self, state: RepeatState, params: RepeatParams) -> jax.Array:
        """Never: the last step ends the task, and no reward is cut off."""
        return jnp.zeros((), bool)

    def _draw(self, key: jax.Array) -> jax.Array:
        return jax.random.randint(key, (), 0, self.num_symbols)

    def _reward(self, right: jax.Array, num_answers: Any) -> jax.Array:
        return jnp.where(right, 1.0, -1.0) / num_answers


@dataclass(frozen=True)
class RepeatFirst(_Repeat):
    """At every step, name the first symbol of the episode. The return lies in [-1, 1]."""

    @property
    def name(self) -> str:
        """Name of the environment."""
        return "RepeatFirst"

    def reset_env(self, key: jax.Array, params: RepeatParams) -> tuple[jax.Array, RepeatState]:
        """Draws the symbol: observation and state."""
        state = RepeatState(symbols=jnp.full(2, self._draw(key)), time=jnp.zeros((), jnp.int32))
        return self.observe_state(state, params), state

    def step_env(
        self, key: jax.Array, state: RepeatState, action: jax.Array, params: RepeatParams
    ) -> tuple[jax.Array, RepeatState, jax.Array, jax.Array, dict[str, jax.Array]]:
        """Judges the answer and shows another symbol: observation, state, reward, terminated and info."""
        reward = self._reward(action == state.symbols[1], params.max_steps_in_episode)
        after = RepeatState(symbols=state.symbols.at[0].set(self._draw(key)), time=state.time + 1)
        return self.observe_state(after, params), after, reward, after.time >= params.max_steps_in_episode, {}


@dataclass(frozen=True)
class RepeatPrevious(_Repeat):
    """Name the symbol of k steps ago; the first k answers do not count. The return lies in [-1, 1].

    Attributes:
        lag: k.
    """

    lag: CountOrZero = 4

    @property
    def name(self) -> str:
        """Name of the environment."""
        return "RepeatPrevious"

    def check(self, params: RepeatParams) -> None:
        """Raises ValueError, on the host, for what cannot be meant."""
        super().check(params)
        if params.max_steps_in_episode <= self.lag:
            raise ValueError(
                f"max_steps_in_episode = {params.max_steps_in_episode} ends before the first answer that "
                f"counts; take at least {self.lag + 1}"
            )

    def reset_env(self, key: jax.Array, params: RepeatParams) -> tuple[jax.Array, RepeatState]:
        """Draws the first symbol: observation and state."""
        symbols = jnp.zeros(self.lag + 1, jnp.int32).at[0].set(self._draw(key))
        state = RepeatState(symbols=symbols, time=jnp.zeros((), jnp.int32))
        return self.observe_state(state, params), state

    def step_env(
        self, key: jax.Array, state: RepeatState, action: jax.Array, params: RepeatParams
    ) -> tuple[jax.Array, RepeatState, jax.Array, jax.Array, dict[str, jax.Array]]:
        """Judges the answer and shows another symbol: observation, state, reward, terminated and info."""
        counts = state.time >= self.lag
        reward = self._reward(action == state.symbols[-1], params.max_steps_in_episode - self.lag)
        symbols = jnp.roll(state.symbols, 1).at[0].set(self._draw(key))
        after = RepeatState(symbols=symbols, time=state.time + 1)
        terminated = after.time >= params.max_steps_in_episode
        return self.observe_state(after, params), after, jnp.where(counts, reward, 0.0), terminated, {}
