"""The three views of an arena: tokens for set attention, a flat vector for an MLP, an image for a CNN."""

import jax
import jax.numpy as jnp

from envs.bikkle.params import BikkleParams
from envs.bikkle.placement import FAR
from envs.bikkle.state import BikkleState, is_blue, present
from purerl import spaces
from purerl.types import TokenGroup

AGENT, PELLETS, GAZE, ROUND = range(4)
FARTHEST = 2.0
"""Offset per axis from one corner to the opposite one, in units of half the arena."""


def centered(position: jax.Array) -> jax.Array:
    """From [0, 1] to [-1, 1], with 0 at the center of the arena."""
    return 2.0 * position - 1.0


def round_phase(state: BikkleState, params: BikkleParams) -> jax.Array:
    """The round's progress t / T, scaled to [-1, 1]: float32 [1]."""
    share = state.round_step / jnp.asarray(params.round_length, jnp.float32)
    return centered(share).astype(jnp.float32)[None]


def tokens(state: BikkleState, params: BikkleParams) -> dict[str, TokenGroup]:
    """The arena as a set; values of absent tokens are zero.

    Returns:
        agent: [1, 2], position in [-1, 1].
        pellets: [N, 3], position less the agent's, in [-2, 2], and 1 for blue, 0 for pink.
        gaze: [1, 2], point in [-1, 1].
        round: [1, 1], progress in [-1, 1]; present where gaze is.
    """
    mask, blue = present(state), is_blue(state.pellet_x.shape[-1])
    dx = jnp.where(mask, 2.0 * (state.pellet_x - state.agent[0]), 0.0)
    dy = jnp.where(mask, 2.0 * (state.pellet_y - state.agent[1]), 0.0)
    flag = (mask & blue).astype(jnp.float32)
    seen = state.gaze.present[None]
    gaze = jnp.where(seen, centered(state.gaze.point), 0.0)[None]
    phase = jnp.where(seen, round_phase(state, params), 0.0)[None]
    return {
        "agent": TokenGroup(values=centered(state.agent)[None], mask=jnp.ones(1, bool), kind=AGENT),
        "pellets": TokenGroup(values=jnp.stack([dx, dy, flag], axis=-1), mask=mask, kind=PELLETS),
        "gaze": TokenGroup(values=gaze, mask=seen, kind=GAZE),
        "round": TokenGroup(values=phase, mask=seen, kind=ROUND),
    }


def tokens_space(max_pellets: int) -> spaces.Dict:
    """The space of `tokens`."""
    low, high = jnp.array([-2.0, -2.0, 0.0]), jnp.array([2.0, 2.0, 1.0])
    return spaces.Dict(
        {
            "agent": spaces.Tokens(1, 2, AGENT),
            "pellets": spaces.Tokens(max_pellets, 3, PELLETS, low, high),
            "gaze": spaces.Tokens(1, 2, GAZE),
            "round": spaces.Tokens(1, 1, ROUND),
        }
    )


def flat(state: BikkleState, params: BikkleParams) -> jax.Array:
    """The arena as one vector, float32 [2 + 2 N + 3 + 2].

    In order: agent, blue offsets from the nearest to the furthest, pink offsets likewise, gaze and its
    presence, round and its presence. A pellet that is absent is as far away as one can be; absent gaze and
    round are zero.
    """
    mask = present(state)
    dx = jnp.where(mask, 2.0 * (state.pellet_x - state.agent[0]), FARTHEST)
    dy = jnp.where(mask, 2.0 * (state.pellet_y - state.agent[1]), FARTHEST)
    gaze = tokens(state, params)
    seen = state.gaze.present[None].astype(jnp.float32)
    return jnp.concatenate(
        [
            centered(state.agent),
            _by_distance(dx[1::2], dy[1::2]),
            _by_distance(dx[0::2], dy[0::2]),
            gaze["gaze"].values[0],
            seen,
            gaze["round"].values[0],
            seen,
        ]
    )


def flat_space(max_pellets: int) -> spaces.Box:
    """The space of `flat`."""
    return spaces.Box(-FARTHEST, FARTHEST, (7 + 2 * max_pellets,))


def _by_distance(dx: jax.Array, dy: jax.Array) -> jax.Array:
    """Offsets [M] and [M] as [2 M], nearest first: by rank, as XLA sorts small rows slowly."""
    distance, order = dx**2 + dy**2, jnp.arange(dx.shape[-1])
    tie = (distance[None] == distance[:, None]) & (order[None] < order[:, None])
    rank = jnp.sum((distance[None] < distance[:, None]) | tie, axis=1)
    chosen = rank[None] == order[:, None]  # [place, pellet]
    offsets = jnp.stack([jnp.where(chosen, dx, 0.0).sum(1), jnp.where(chosen, dy, 0.0).sum(1)], axis=-1)
    return offsets.reshape(-1)


def image(state: BikkleState, params: BikkleParams, image_size: int) -> jax.Array:
    """Discs with soft edges on channels agent, blue, pink and gaze: float32 [size, size, 4] in [0, 1].

    The first row is the top of the arena, where y is 1. The gaze's disc is as large as a pellet's.
    """
    centers = (jnp.arange(image_size) + 0.5) / image_size
    mask, blue = present(state), is_blue(state.pellet_x.shape[-1])
    far = jnp.full_like(state.pellet_x, FAR)

    def disc(x: jax.Array, y: jax.Array) -> jax.Array:
        distance = jnp.sqrt((centers[None, :] - x) ** 2 + (centers[::-1, None] - y) ** 2)
        return jnp.clip((params.pellet_size - distance) * image_size + 0.5, 0.0, 1.0)

    def discs(chosen: jax.Array) -> jax.Array:
        return jax.vmap(disc)(jnp.where(chosen, state.pellet_x, far), state.pellet_y).max(axis=0)

    gaze = disc(*state.gaze.point) * state.gaze.present
    channels = [disc(*state.agent), discs(mask & blue), discs(mask & ~blue), gaze]
    return jnp.stack(channels, axis=-1).astype(jnp.float32)


def image_space(image_size: int) -> spaces.Box:
    """The space of `image`."""
    return spaces.Box(0.0, 1.0, (image_size, image_size, 4))
