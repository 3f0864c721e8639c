r"""Where experience lies: rings of rows, one ring an environment, and views on them.

A row holds an observation, and the action, reward and end of the step that was taken from it; the next row
holds the observation that follows. Where an episode is truncated, the reset overwrites the true successor: it
gets a row of its own, from which no step was ever taken. So every observation is stored once, truncated steps
bootstrap from what really followed, and the price is one row for each truncated episode. Because of those
rows each environment writes at a place of its own.

A row without a step is marked `OPEN`: rows never written, successors of truncated steps, and the row that
follows the newest step of each environment. What may be sampled, where windows of n steps end and what
belongs to one episode can all be read from the marks.

Leaves are [T, E, ...], T rows of E environments; `index` means row * E + environment, int32.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from purerl.types import PyTree

CONTINUES, TERMINATED, TRUNCATED, OPEN = 0, 1, 2, 3


@struct.dataclass
class Experience:
    """One step of E environments, leaves [E, ...]; any trees, any dtypes.

    Attributes:
        observation: what the policy saw.
        action: what it did.
        reward: float32.
        terminated: bool: nothing follows.
        truncated: bool: the episode was cut, the return goes on unseen.
        successor: the true next observation, from before any reset.
    """

    observation: PyTree
    action: PyTree
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    successor: PyTree


@struct.dataclass
class Sample:
    """Windows of up to n steps, leaves [B, ...].

    Attributes:
        observation: where the window begins.
        action: the first action in it.
        reward: discounted sum of the rewards in it, float32.
        discount: factor for the value of `successor`, float32; 0 where the episode terminated.
        successor: the observation after the window.
    """

    observation: PyTree
    action: PyTree
    reward: jax.Array
    discount: jax.Array
    successor: PyTree


@struct.dataclass
class Storage:
    """Rings of rows.

    Attributes:
        observation: leaves [T, E, ...]; of stacked frames the newest alone.
        action: leaves [T, E, ...].
        reward: float32 [T, E].
        mark: uint8 [T, E], how the step ended, or that there was none.
        head: row that each environment writes next, int32 [E].
        num_rows: rows in use, int32 [1].
    """

    observation: PyTree
    action: PyTree
    reward: jax.Array
    mark: jax.Array
    head: jax.Array
    num_rows: jax.Array


def init_storage(example: Experience, num_rows: int, num_envs: int, num_frames: int) -> Storage:
    """Empty rings for experience of this form; leaves of the example are [...], of one environment."""

    def empty(leaf: Any) -> jax.Array:
        return jnp.zeros((num_rows, num_envs, *leaf.shape), leaf.dtype)

    frame = jax.eval_shape(lambda tree: newest_frame(tree, num_frames), example.observation)
    return Storage(
        observation=jax.tree.map(empty, frame),
        action=jax.tree.map(empty, example.action),
        reward=jnp.zeros((num_rows, num_envs), jnp.float32),
        mark=jnp.full((num_rows, num_envs), OPEN, jnp.uint8),
        head=jnp.zeros(num_envs, jnp.int32),
        num_rows=jnp.zeros(1, jnp.int32),
    )


def newest_frame(observation: PyTree, num_frames: int) -> PyTree:
    """What is stored of observations that stack frames along their last axis, the newest last."""
    return observation if num_frames == 1 else jax.tree.map(lambda leaf: leaf[..., -1], observation)


def write(storage: Storage, batch: Experience, num_frames: int) -> Storage:
    """Stores one step of each environment, and the observation that follows it."""
    num_rows, num_envs = storage.mark.shape
    row, column = storage.head, jnp.arange(num_envs)
    next_row = (row + 1) % num_rows
    mark = jnp.where(batch.terminated, TERMINATED, jnp.where(batch.truncated, TRUNCATED, CONTINUES))
    cut = batch.truncated & ~batch.terminated
    advanced = row + 1 + cut

    def put(leaf, row, values):
        return leaf.at[row, column].set(
            values.astype(leaf.dtype), mode="promise_in_bounds", unique_indices=True
        )

    def put_at_row(leaf, values):
        return put(leaf, row, values)

    def put_both(leaf, values, after):
        return put(put(leaf, row, values), next_row, after)

    return Storage(
        observation=jax.tree.map(
            put_both,
            storage.observation,
            newest_frame(batch.observation, num_frames),
            newest_frame(batch.successor, num_frames),
        ),
        action=jax.tree.map(put_at_row, storage.action, batch.action),
        reward=put(storage.reward, row, batch.reward),
        mark=put_both(storage.mark, mark, jnp.full(num_envs, OPEN)),
        head=advanced % num_rows,
        num_rows=jnp.minimum(jnp.maximum(storage.num_rows, advanced.max()), num_rows),
    )


def take(tree: PyTree, index: jax.Array) -> PyTree:
    """Rows of the leaves [T, E, ...] at indices int32 [...]: leaves [..., ...]."""

    def leaf(array):
        flat = array.reshape(-1, *array.shape[2:])
        return flat.at[index].get(mode="promise_in_bounds")

    return jax.tree.map(leaf, tree)


def moved(storage: Storage, index: jax.Array, rows: jax.Array | int) -> jax.Array:
    """Indices so many rows later in the same environments' rings; at most T rows earlier."""
    num_rows, num_envs = storage.mark.shape
    return (index + (rows + num_rows) * num_envs) % (num_rows * num_envs)


def is_step(storage: Storage, index: jax.Array, num_frames: int) -> jax.Array:
    """Whether a step was taken from these rows, and all frames of its stack are still there; bool [...]."""
    found = take(storage.mark, index) != OPEN
    if num_frames == 1:
        return found
    num_rows, num_envs = storage.mark.shape
    age = (index // num_envs - storage.head[index % num_envs]) % num_rows
    return found & (age >= num_frames)


def read(storage: Storage, index: jax.Array, num_steps: int, num_frames: int, gamma: jax.Array) -> Sample:
    r"""The windows that begin at these rows, int32 [B].

    .. math::
        R = \sum_{j < m} \gamma^j r_{t+j}, \qquad d = \gamma^m (1 - \text{terminated}_{t+m-1})

    A window ends after n steps, with its episode, or where the newest step is; m of its steps are counted.
    """
    rows = jnp.stack([moved(storage, index, step) for step in range(num_steps)])  # [n, B]
    mark, reward = take(storage.mark, rows), take(storage.reward, rows)
    total, length, discount = reward[0], jnp.ones_like(index), jnp.full(index.shape, gamma, jnp.float32)
    terminated, goes_on = mark[0] == TERMINATED, mark[0] == CONTINUES
    for step in range(1, num_steps):
        goes_on = goes_on & (mark[step] != OPEN)
        total = total + jnp.where(goes_on, discount * reward[step], 0.0)
        discount = jnp.where(goes_on, discount * gamma, discount)
        length = length + goes_on
        terminated = terminated | (goes_on & (mark[step] == TERMINATED))
        goes_on = goes_on & (mark[step] == CONTINUES)
    after = moved(storage, index, length)
    return Sample(
        observation=_observation(storage, index, num_frames, within=False),
        action=take(storage.action, index),
        reward=total,
        discount=jnp.where(terminated, 0.0, discount),
        successor=_observation(storage, after, num_frames, within=True),
    )


def _observation(storage: Storage, index: jax.Array, num_frames: int, within: bool) -> PyTree:
    """Observations at these rows; frames before the first of an episode are copies of the first.

    With `within`, the row before belongs to the same episode, whatever it is marked as: it may be the
    truncated step that these rows follow.
    """
    if num_frames == 1:
        return take(storage.observation, index)
    earlier, reaches = [index], jnp.ones(index.shape, bool)
    for frame in range(1, num_frames):
        before = moved(storage, index, -frame)
        if not (within and frame == 1):
            reaches = reaches & (take(storage.mark, before) == CONTINUES)
        earlier.append(jnp.where(reaches, before, earlier[-1]))
    rows = jnp.stack(earlier[::-1], axis=-1)  # [B, k], newest last
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, rows.ndim - 1, -1), take(storage.observation, rows))
