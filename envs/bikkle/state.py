"""Bikkle's state, and what follows from it."""

import jax
import jax.numpy as jnp
from flax import struct

from envs.bikkle.gaze import GazeState
from envs.bikkle.params import BikkleParams


@struct.dataclass
class BikkleState:
    """One arena. Slots of even index hold pink pellets, slots of odd index blue ones.

    Attributes:
        agent: position, float32 [2] in [0, 1].
        pellet_x, pellet_y: positions, float32 [N] each in [0, 1].
        num_pellets: slots in use, from the first on, int32 []; even.
        target: slot of the target, int32 []; even.
        round_step: steps since the round began, int32 [].
        time: steps since the episode began, int32 [].
        gaze: what the human signal is and remembers.
        external_gaze: point to be handed in before a step, float32 [2] in [0, 1].
        external_gaze_present: whether it is there, bool [].
    """

    agent: jax.Array
    pellet_x: jax.Array
    pellet_y: jax.Array
    num_pellets: jax.Array
    target: jax.Array
    round_step: jax.Array
    time: jax.Array
    gaze: GazeState
    external_gaze: jax.Array
    external_gaze_present: jax.Array


def is_blue(max_pellets: int) -> jax.Array:
    """Which slots hold blue pellets: bool [N]."""
    return jnp.arange(max_pellets) % 2 == 1


def present(state: BikkleState) -> jax.Array:
    """Which slots are in use: bool [N]."""
    return jnp.arange(state.pellet_x.shape[-1]) < state.num_pellets


def position_of(slot: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """Position of the pellet in a slot: float32 [2]."""
    here = jnp.arange(x.shape[-1]) == slot
    return jnp.stack([jnp.where(here, x, 0.0).sum(-1), jnp.where(here, y, 0.0).sum(-1)])


def target_position(state: BikkleState) -> jax.Array:
    """Position of the target: float32 [2]."""
    return position_of(state.target, state.pellet_x, state.pellet_y)


def target_value(round_step: jax.Array, params: BikkleParams) -> jax.Array:
    """Reward for touching the target: max(pink reward, target reward * (T - t) / T), float32 []."""
    share = (params.round_length - round_step) / jnp.asarray(params.round_length, jnp.float32)
    return jnp.maximum(params.pink_reward, params.target_reward * share).astype(jnp.float32)
