r"""Where experience lies: rings of rows, one ring an environment, and views on them.

A row holds an observation, and the action, reward and end of the step that was taken from it; the next row
holds the observation that follows. Where an episode is truncated, the reset overwrites the true successor: it
gets a row of its own, from which no step was ever taken. So every observation is stored once, truncated steps
bootstrap from what really followed, and the price is one row for each truncated episode. Because of those
rows each environment writes at a place of its own.

A row without a step is marked `OPEN`: rows never written, successors of truncated steps, and the row that
follows the newest step of each environment. What may be sampled, where windows of n steps end and what
belongs to one episode can all be read from the marks.

`index` means environment * T + row, int32.
"""

from operator import itemgetter

import jax
import jax.numpy as jnp
from flax import struct

from purerl.functional.trees import select
from purerl.replay.rows import Rows, init_rows, put, take
from purerl.types import PyTree

OPEN, CONTINUES, TERMINATED, TRUNCATED = 0, 1, 2, 3


@struct.dataclass
class Experience:
    """One step of E environments, leaves [E, ...]; any trees, any dtypes.

    Attributes:
        observation: what the policy saw.
        action: what it did.
        reward: float32.
        terminated: bool: nothing follows.
        truncated: bool: the episode was cut, the return goes on unseen.
        next_observation: the true next observation, from before any reset; of no effect where terminated.
    """

    observation: PyTree
    action: PyTree
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    next_observation: PyTree


@struct.dataclass
class Sample:
    """Windows of up to n steps, leaves [B, ...].

    Attributes:
        observation: where the window begins.
        action: the first action in it.
        reward: discounted sum of the rewards in it, float32.
        discount: factor for the value of `next_observation`, float32; 0 where the episode terminated.
        next_observation: the observation after the window; some other one where the episode terminated.
    """

    observation: PyTree
    action: PyTree
    reward: jax.Array
    discount: jax.Array
    next_observation: PyTree


@struct.dataclass
class Row:
    """One row, or several; leaves [..., ...].

    Attributes:
        observation: of stacked frames the newest alone.
        action: taken from it.
        reward: float32.
        mark: int32, how the step ended, or that there was none.
    """

    observation: PyTree
    action: PyTree
    reward: jax.Array
    mark: jax.Array


@struct.dataclass
class Storage:
    """Rings of rows.

    Attributes:
        rows: T rows of each of E environments, a `Row` each.
        head: row that each environment writes next, int32 [E].
        num_rows: rows in use, int32 [1].
    """

    rows: Rows
    head: jax.Array
    num_rows: jax.Array


def init_storage(example: Experience, num_rows: int, num_envs: int, num_frames: int) -> Storage:
    """Rings without a step for experience of this form.

    Leaves of the example are [...], of one environment: arrays, which every row holds until it is written, or
    their shapes, for zeros. A draw may meet such a row, with a weight of 0, and a network may have no finite
    answer to zeros: give an observation that exists.
    """
    example = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype) if isinstance(leaf, jax.ShapeDtypeStruct) else leaf,
        example,
    )
    row = Row(
        observation=newest_frame(example.observation, num_frames),
        action=example.action,
        reward=jnp.float32(0.0),
        mark=jnp.int32(OPEN),
    )
    return Storage(
        rows=init_rows(row, num_envs, num_rows),
        head=jnp.zeros(num_envs, jnp.int32),
        num_rows=jnp.zeros(1, jnp.int32),
    )


def newest_frame(observation: PyTree, num_frames: int) -> PyTree:
    """What is stored of observations that stack frames along their last axis, the newest last."""
    return observation if num_frames == 1 else jax.tree.map(lambda leaf: leaf[..., -1], observation)


def ring_size(storage: Storage) -> int:
    """T."""
    return storage.rows.words.shape[1]


def write(storage: Storage, batch: Experience, num_frames: int) -> Storage:
    """Stores one step of each environment, and the observation that follows it."""
    num_rows, num_envs = ring_size(storage), storage.head.size
    mark = jnp.where(batch.terminated, TERMINATED, jnp.where(batch.truncated, TRUNCATED, CONTINUES))
    cut = batch.truncated & ~batch.terminated
    advanced = storage.head + 1 + cut
    index = jnp.arange(num_envs) * num_rows + storage.head
    observation = newest_frame(batch.observation, num_frames)
    # A row without a step can be met by a draw, with a weight of 0, and what is seen behind a termination may
    # be NaN: so it is not even remembered.
    next_observation = select(batch.terminated, observation, newest_frame(batch.next_observation, num_frames))
    step = Row(observation, batch.action, batch.reward, mark)
    after = Row(next_observation, batch.action, batch.reward, jnp.full_like(mark, OPEN))
    both = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), step, after)  # [2 * E, ...]: one write
    rows = put(storage.rows, jnp.concatenate([index, moved(storage, index, 1)]), both)
    return Storage(
        rows=rows,
        head=advanced % num_rows,
        num_rows=jnp.minimum(jnp.maximum(storage.num_rows, advanced.max()), num_rows),
    )


def moved(storage: Storage, index: jax.Array, rows: jax.Array | int) -> jax.Array:
    """Indices so many rows later in the same environments' rings; at most T rows earlier."""
    num_rows = ring_size(storage)
    row = index % num_rows
    return index - row + (row + rows + num_rows) % num_rows


def is_step(storage: Storage, index: jax.Array, num_frames: int) -> jax.Array:
    """Whether a step was taken from these rows, and all frames of its stack are still there; bool [...]."""
    found = take(storage.rows, index).mark != OPEN
    if num_frames == 1:
        return found
    num_rows = ring_size(storage)
    age = (index % num_rows - storage.head[index // num_rows]) % num_rows
    return found & (age >= num_frames)


def read(storage: Storage, index: jax.Array, num_steps: int, num_frames: int, gamma: jax.Array) -> Sample:
    r"""The windows that begin at these rows, int32 [B].

    .. math::
        R = \sum_{j < m} \gamma^j r_{t+j}, \qquad d = \gamma^m (1 - \text{terminated}_{t+m-1})

    A window ends after n steps, with its episode, or where the newest step is; m of its steps are counted.
    """
    rows = jnp.stack(
        [index, *(moved(storage, index, step) for step in range(1, num_steps + 1))]
    )  # [n + 1, B]
    window = take(storage.rows, rows)
    mark, reward = window.mark, window.reward
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
    if num_frames == 1:
        ends = window if num_steps == 1 else take(storage.rows, jnp.stack([index, after]))
        observation, next_observation = (jax.tree.map(itemgetter(end), ends.observation) for end in (0, 1))
    else:
        observation = _stacked(storage, index, num_frames, within=False)
        next_observation = _stacked(storage, after, num_frames, within=True)
    return Sample(
        observation=observation,
        action=jax.tree.map(itemgetter(0), window.action),
        reward=total,
        discount=jnp.where(terminated, 0.0, discount),
        next_observation=next_observation,
    )


def _stacked(storage: Storage, index: jax.Array, num_frames: int, within: bool) -> PyTree:
    """Stacks of frames that end at these rows; frames before the first of an episode are copies of the first.

    With `within`, the row before belongs to the same episode, whatever it is marked as: it may be the
    truncated step that these rows follow.
    """
    earlier, reaches = [index], jnp.ones(index.shape, bool)
    for frame in range(1, num_frames):
        before = moved(storage, index, -frame)
        if not (within and frame == 1):
            reaches = reaches & (take(storage.rows, before).mark == CONTINUES)
        earlier.append(jnp.where(reaches, before, earlier[-1]))
    rows = jnp.stack(earlier[::-1], axis=-1)  # [B, k], newest last
    frames = take(storage.rows, rows).observation
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, rows.ndim - 1, -1), frames)
