"""Replay buffers: uniform, with a share of events by option, and prioritized.

    replay = uniform(num_steps=3)
    state = replay.init(example, buffer_size, num_envs)
    state = replay.add(state, experience)
    sample, index, weight = replay.sample(state, key, batch_size, gamma)

A loop draws what chance decides ahead of it, with `replay.draw` under a `vmap`, and calls `replay.read`: on a
CPU, each draw within the loop is a loop itself.

Keep the state where environments live, in the `actor` part of a `TrainState`: evaluation reads the learner
alone, and over several devices each has the replay of its own environments. Write it with `add` once a step
and let no `cond` pass it through, or the compiled program copies it.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from purerl.replay import storage, sum_tree
from purerl.replay.storage import Experience, Sample, Storage
from purerl.replay.sum_tree import SumTree
from purerl.types import PyTree

NUM_CANDIDATES = 2


@struct.dataclass
class ReplayState:
    """What a replay remembers.

    Attributes:
        storage: the experience.
        tree: a `SumTree` of all steps (prioritized) or of those with a reward (events); else None.
        max_priority: highest priority ever given, float32 [1]; None where there are none.
    """

    storage: Storage
    tree: Any
    max_priority: Any


class Replay(NamedTuple):
    """A kind of replay: pure functions over a `ReplayState`.

    Attributes:
        init: `(example, buffer_size, num_envs) -> state`: empty; the example is the experience of one
            environment, leaves [...] or their shapes; `buffer_size` counts rows of all environments together.
        add: `(state, experience [E, ...]) -> state`: one step of each environment.
        sample: `(state, key, batch_size, gamma, num_batches=1) -> (sample [G * B, ...], index int32 [G * B],
            weight float32 [G * B])`: G batches of B, one after another, each of them a sample of the whole.
            Weights are 1 / (N P(i)), 1 on average: 1 for uniform draws, 0 where there was nothing to draw.
            For prioritized replay, take them to the power beta and divide by the highest.
        draw: `(state, key, batch_size, num_batches=1) -> chance`: what chance decides in `sample`; the state
            tells shapes.
        read: `(state, chance, gamma) -> ...`: as `sample`, which is both together.
        update: `(state, index, priority float32 [B]) -> state`; uniform replay ignores it.
    """

    init: Callable[[Experience, int, int], ReplayState]
    add: Callable[[ReplayState, Experience], ReplayState]
    draw: Callable[..., PyTree]
    read: Callable[..., tuple[Sample, jax.Array, jax.Array]]
    update: Callable[[ReplayState, jax.Array, jax.Array], ReplayState]

    def sample(
        self,
        state: ReplayState,
        key: jax.Array,
        batch_size: int,
        gamma: jax.Array | float,
        num_batches: int = 1,
    ) -> tuple[Sample, jax.Array, jax.Array]:
        """See above."""
        return self.read(state, self.draw(state, key, batch_size, num_batches), gamma)


def uniform(
    num_steps: int = 1, num_frames: int = 1, event_share: float = 0.0, event_size: float = 0.0
) -> Replay:
    """All steps alike.

    Args:
        num_steps: longest window, n.
        num_frames: frames that observations stack along their last axis, the newest last; stored once.
        event_share: share of each batch that is drawn from events, steps with a reward other than 0, in
            [0, 1], as long as there are any; the weights do not undo it.
        event_size: magnitude that the reward of an event exceeds; above 0 where every step has some reward.
    """
    events = event_share > 0

    def init(example: Experience, buffer_size: int, num_envs: int) -> ReplayState:
        rows = count_rows(buffer_size, num_envs, num_steps, num_frames)
        return ReplayState(
            storage=storage.init_storage(example, rows, num_envs, num_frames),
            tree=sum_tree.init_tree(rows * num_envs) if events else None,
            max_priority=None,
        )

    def add(state: ReplayState, batch: Experience) -> ReplayState:
        tree = state.tree
        if tree is not None:
            is_event = (jnp.abs(batch.reward) > event_size).astype(jnp.float32)
            tree = _enter(tree, state.storage, is_event, num_frames)
        return ReplayState(
            storage=storage.write(state.storage, batch, num_frames), tree=tree, max_priority=None
        )

    def draw(state: ReplayState, key: jax.Array, batch_size: int, num_batches: int = 1):
        if not events:  # Then the key is not split: within a loop that would cost as much as the draw.
            return draw_bits(key, num_batches, batch_size), None
        steps_key, events_key = jax.random.split(key)
        num_events = events_in(batch_size, event_share)
        return (
            draw_bits(steps_key, num_batches, batch_size),
            sum_tree.draw(state.tree, events_key, num_batches, num_events),
        )

    def read(state: ReplayState, chance: PyTree, gamma: jax.Array):
        bits, uniforms = chance
        index, weight = _choose_steps(state.storage, bits.reshape(NUM_CANDIDATES, -1), num_frames)
        if events:  # They come first in each batch.
            chosen = sum_tree.choose_leaves(state.tree, uniforms).reshape(bits.shape[1], -1)
            there_are = sum_tree.total(state.tree) > 0

            def with_events(drawn, of_events):
                drawn = drawn.reshape(bits.shape[1:])
                first = jnp.where(there_are, of_events, drawn[:, : chosen.shape[1]])
                return jnp.concatenate([first, drawn[:, chosen.shape[1] :]], axis=1).ravel()

            index, weight = with_events(index, chosen), with_events(weight, 1.0)
        return storage.read(state.storage, index, num_steps, num_frames, gamma), index, weight

    def update(state: ReplayState, index: jax.Array, priority: jax.Array) -> ReplayState:
        return state

    return Replay(init=init, add=add, draw=draw, read=read, update=update)


def prioritized(num_steps: int = 1, num_frames: int = 1) -> Replay:
    r"""Each step in proportion to its priority, :math:`P(i) = p_i / \sum_j p_j`; new ones get the highest.

    Priorities are what `update` is given: take errors to the power alpha before.

    Args:
        num_steps: longest window, n.
        num_frames: frames that observations stack along their last axis, the newest last; stored once.

    Source: Schaul et al. 2016 (arXiv:1511.05952), equation 1.
    """

    def init(example: Experience, buffer_size: int, num_envs: int) -> ReplayState:
        rows = count_rows(buffer_size, num_envs, num_steps, num_frames)
        return ReplayState(
            storage=storage.init_storage(example, rows, num_envs, num_frames),
            tree=sum_tree.init_tree(rows * num_envs),
            max_priority=jnp.ones(1),
        )

    def add(state: ReplayState, batch: Experience) -> ReplayState:
        priority = jnp.broadcast_to(state.max_priority, batch.reward.shape)
        return ReplayState(
            storage=storage.write(state.storage, batch, num_frames),
            tree=_enter(state.tree, state.storage, priority, num_frames),
            max_priority=state.max_priority,
        )

    def draw(state: ReplayState, key: jax.Array, batch_size: int, num_batches: int = 1):
        return sum_tree.draw(state.tree, key, num_batches, batch_size)

    def read(state: ReplayState, chance: PyTree, gamma: jax.Array):
        index = sum_tree.choose_leaves(state.tree, chance)
        priority = state.tree[0][index]
        count = state.storage.num_rows[0] * state.storage.head.shape[0]
        mean = sum_tree.total(state.tree) / jnp.maximum(count, 1)
        weight = jnp.where(priority > 0, mean / jnp.where(priority > 0, priority, 1.0), 0.0)
        return storage.read(state.storage, index, num_steps, num_frames, gamma), index, weight

    def update(state: ReplayState, index: jax.Array, priority: jax.Array) -> ReplayState:
        # A leaf of priority 0 is no step: it is drawn only where there is nothing else, and stays 0.
        priority = jnp.where(state.tree[0][index] > 0, priority, 0.0)
        return dataclasses.replace(
            state,
            tree=sum_tree.set_priorities(state.tree, index, priority),
            max_priority=jnp.maximum(state.max_priority, priority.max()),
        )

    return Replay(init=init, add=add, draw=draw, read=read, update=update)


def count_rows(buffer_size: int, num_envs: int, num_steps: int, num_frames: int) -> int:
    """T, the rows of each environment.

    Raises:
        ValueError: where a window and its frames would not fit.
    """
    rows, least = -(-buffer_size // num_envs), num_steps + num_frames + 1
    if rows < least:
        raise ValueError(
            f"buffer_size = {buffer_size} leaves {rows} rows to each of {num_envs} environments, and windows "
            f"of {num_steps} steps need {least}; try buffer_size = {least * num_envs}"
        )
    return rows


def _enter(tree: SumTree, before: Storage, priority: jax.Array, num_frames: int) -> SumTree:
    """Priorities of the rows that a step writes: the step's own, and 0 for those it makes unusable.

    These are the row after it, and, with stacks of k frames, those whose oldest frames are overwritten.
    """
    num_rows, num_envs = storage.ring_size(before), before.head.size
    lost = 1 if num_frames == 1 else num_frames + 1
    rows = (before.head + jnp.arange(lost + 1)[:, None]) % num_rows  # [1 + lost, E]
    values = jnp.zeros(rows.shape).at[0].set(priority)
    index = jnp.arange(num_envs) * num_rows + rows
    return sum_tree.set_priorities(tree, index.ravel(), values.ravel())


def draw_bits(key: jax.Array, num_batches: int, batch_size: int) -> jax.Array:
    """Random bits for the candidates of G * B draws, uint32 [C, G, B]."""
    return jax.random.bits(key, (NUM_CANDIDATES, num_batches, batch_size))


def events_in(batch_size: int, event_share: float) -> int:
    """How many samples of a batch are drawn from events."""
    return round(event_share * batch_size)


def check_event_share(batch_size: int, event_share: float, event_size: float) -> None:
    """Raises ValueError where events are described and none are drawn, or a batch is too small for one."""
    if event_size and not event_share:
        raise ValueError(
            f"event_size = {event_size} has no meaning without event_share; set that, or leave it out"
        )
    if event_share and not events_in(batch_size, event_share):
        raise ValueError(
            f"event_share = {event_share} of a batch of {batch_size} is less than one sample; "
            f"try event_share = {math.ceil(100 / batch_size) / 100}, or a larger batch"
        )


def _choose_steps(stored: Storage, bits: jax.Array, num_frames: int) -> tuple[jax.Array, jax.Array]:
    """Rows with a step, uniformly: indices int32 [B], and weights that are 0 where none was met.

    A few rows hold no step. Of several candidates the first that holds one is taken, so all steps stay
    equally likely.
    """
    num_envs = stored.head.size
    count = stored.num_rows[0] * num_envs
    # The remainder favors small indices by no more than the buffer_size in 2 ** 32.
    number = bits % jnp.maximum(count, 1).astype(bits.dtype)
    candidates = (number % num_envs * storage.ring_size(stored) + number // num_envs).astype(jnp.int32)
    index, met = candidates[0], storage.is_step(stored, candidates[0], num_frames)
    for candidate in candidates[1:]:
        index = jnp.where(met, index, candidate)  # what is looked at again lies in the cache
        met = storage.is_step(stored, index, num_frames)
    return index, met.astype(jnp.float32)
