"""The human signal: where a person who sees the target would look, and what an eye tracker makes of it.

    focus_t = focus_{t-1} + (1 - lag) (point_{t-delay} - focus_{t-1})
    gaze_t  = clip(focus_t + offset + N(0, std^2), 0, 1)

`point` is the target, or a uniform point where the source is `uniform`. An `external` gaze is passed on as
it is handed in.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

from envs.bikkle.params import GAZE_SOURCES, MAX_GAZE_DELAY, BikkleParams
from envs.random import normals, points, unit

NONE, TARGET, UNIFORM, EXTERNAL = range(len(GAZE_SOURCES))
NUM_WORDS = 4


@struct.dataclass
class GazeState:
    """What the gaze is and remembers.

    Attributes:
        point: as the agent sees it, float32 [2] in [0, 1].
        present: whether the agent sees it, bool [].
        source: index into `GAZE_SOURCES`, int32 []; `none` also in an episode whose draw was absence.
        focus: before offset and noise, float32 [2].
        history: points of the last 8 steps, newest first, float32 [8, 2].
        offset: constant of this episode, float32 [2].
        lost: steps for which the gaze is still lost, int32 [].
    """

    point: jax.Array
    present: jax.Array
    source: jax.Array
    focus: jax.Array
    history: jax.Array
    offset: jax.Array
    lost: jax.Array


def reset(
    words: jax.Array,
    offset_words: jax.Array,
    target: jax.Array,
    params: BikkleParams,
) -> GazeState:
    """Draws an episode's source, presence and offset, and looks for the first time.

    Args:
        words: uint32 [NUM_WORDS], uniform, for the first look.
        offset_words: uint32 [3], uniform, for what is constant in an episode.
        target: position of the target, float32 [2].
        params: the arena's parameters.
    """
    choice, presence = unit(offset_words[2] >> 16), unit(offset_words[2] & 0xFFFF)
    edges = jnp.cumsum(jnp.asarray(params.gaze_source, jnp.float32))
    # A cumulative sum may end just below 1: the last source with a probability takes the rest.
    source = jnp.sum(choice * edges[-1] >= edges[:-1]).astype(jnp.int32)
    absent = jnp.asarray(params.gaze_presence_per_episode) & (presence >= params.gaze_presence)
    absent &= source != EXTERNAL
    source = jnp.where(absent, NONE, source)
    first = jnp.where(source == UNIFORM, jnp.stack(points(words[0])), target)
    state = GazeState(
        point=first,
        present=jnp.zeros((), bool),
        source=source,
        focus=first,
        history=jnp.tile(first, (MAX_GAZE_DELAY, 1)),
        offset=normals(offset_words[:2]) * jnp.asarray(params.gaze_offset_std, jnp.float32),
        lost=jnp.zeros((), jnp.int32),
    )
    nothing = (jnp.zeros(2, jnp.float32), jnp.zeros((), bool))
    return look(words, state, target, nothing, params)


def look(
    words: jax.Array,
    state: GazeState,
    target: jax.Array,
    external: tuple[jax.Array, jax.Array],
    params: BikkleParams,
) -> GazeState:
    """One step of the gaze.

    Args:
        words: uint32 [NUM_WORDS], uniform.
        state: of the step before.
        target: position of the target now, float32 [2].
        external: the point handed in, float32 [2] in [0, 1], and whether it is there, bool [].
        params: the arena's parameters.
    """
    is_external = state.source == EXTERNAL
    point = jnp.where(state.source == UNIFORM, jnp.stack(points(words[0])), target)
    delayed = _delayed(point, state.history, jnp.asarray(params.gaze_delay))
    focus = state.focus + (1.0 - params.gaze_lag) * (delayed - state.focus)
    noisy = focus + state.offset + params.gaze_std * normals(words[2:4])
    presence, dropout = unit(words[1] >> 16), unit(words[1] & 0xFFFF)
    begins = jnp.where(dropout < params.gaze_dropout_rate, params.gaze_dropout_length, 0).astype(jnp.int32)
    lost = jnp.where(state.lost > 0, state.lost - 1, begins)
    seen = jnp.asarray(params.gaze_presence_per_episode) | (presence < params.gaze_presence)
    seen &= (state.source != NONE) & (lost == 0)
    return dataclasses.replace(
        state,
        point=jnp.clip(jnp.where(is_external, external[0], noisy), 0.0, 1.0),
        present=jnp.where(is_external, external[1], seen),
        focus=focus,
        history=jnp.concatenate([point[None], state.history[:-1]]),
        lost=lost,
    )


def _delayed(point: jax.Array, history: jax.Array, delay: jax.Array) -> jax.Array:
    """The point `delay` steps ago, 0 to 8: float32 [2]."""
    for steps in range(1, MAX_GAZE_DELAY + 1):
        point = jnp.where(delay == steps, history[steps - 1], point)
    return point
