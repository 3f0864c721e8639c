"""Which mazes are held out for evaluation: a rule on their walls, so that no list has to be kept.

A hash of the walls decides, whatever the seed, the goal and the start: an eighth of all mazes is held out.
Training draws mazes conditioned on not being among them.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from envs import random
from envs.maze import boards
from envs.maze.named import NAMED, SIZE, parse

SHARE = 8
"""One in so many mazes is held out."""
SALT = 4
"""Of the fingerprints. With this one, one of the four perfect mazes of 5 x 5 is held out."""


def fingerprint(walls: jax.Array) -> jax.Array:
    """A hash of walls, uint32 [N, W, ...] -> uint32 [...]: equal for equal walls, else equal by chance only.

    Each word is hashed with its place, and the hashes are combined (Zobrist, 1970).
    """
    size, words = walls.shape[:2]
    combined = jnp.zeros_like(walls[0, 0])
    for row in range(size):
        for word in range(words):
            place = random.finalize(jnp.uint32(SALT + row * words + word))
            combined ^= random.finalize(walls[row, word] ^ place)
    return random.finalize(combined)


def level_fingerprint(walls: jax.Array, goal: jax.Array, start: jax.Array) -> jax.Array:
    """A hash of a level: uint32 [] of walls uint32 [N, W], goal and start int32 [2]."""
    size = walls.shape[0]
    places = jnp.stack([goal[0] * size + goal[1], start[0] * size + start[1]]).astype(jnp.uint32)
    return random.finalize(random.finalize(fingerprint(walls) + places[0]) + places[1])


def is_held_out(walls: jax.Array) -> jax.Array:
    """Whether mazes are held out: uint32 [N, W, ...] -> bool [...].

    The named mazes always are. The open room never is: training at difficulty 0 has no other maze.
    """
    found = fingerprint(walls)
    held_out = found % SHARE == 0
    if walls.shape[0] == SIZE:
        for named in _named_fingerprints():
            held_out |= found == jnp.uint32(named)
    return held_out & (found != jnp.uint32(_open_room_fingerprint(walls.shape[0])))


@cache
def _named_fingerprints() -> tuple[int, ...]:
    grids = np.stack([parse(maze.text).walls for maze in NAMED.values()], axis=-1)
    with jax.ensure_compile_time_eval():
        return tuple(np.unique(jax.jit(_of_grids)(grids)).tolist())


@cache
def _open_room_fingerprint(size: int) -> int:
    with jax.ensure_compile_time_eval():
        border = np.pad(np.zeros((size - 2, size - 2), bool), 1, constant_values=True)
        return int(jax.jit(_of_grids)(border[..., None])[0])


def _of_grids(walls: jax.Array) -> jax.Array:
    """Fingerprints of grids: bool [N, N, B] -> uint32 [B]."""
    return fingerprint(boards.pack(walls))
