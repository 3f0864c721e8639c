r"""Population-based training: what happens between two chunks, as one pure function on the device.

The worst members take the learner of one of the best (exploit, by truncation selection) and change its
hyperparameters a little (explore):

.. math:: h \leftarrow h \cdot f^{\pm 1} \quad\text{or}\quad h \leftarrow h \pm s\,(h_{max} - h_{min})

in logarithmic and in linear ranges, and never leave the range. Environments, keys and replays stay where they
are, so that copies see different episodes from then on.

Source: Jaderberg et al. 2017, "Population based training of neural networks", arXiv:1711.09846, sections 3
and 4.1. Departure: a factor and its inverse are equally likely (0.8 and 1.25 for their 0.8 and 1.2), so that
chance alone moves nothing on average.
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from purerl.functional.metrics import Packed, pack, unpack
from purerl.ranges import MOST_RUNS, Count, PositiveShare, Range, RunsOrZero, ScoreEpisodes, Seed, Share
from purerl.sweep.space import LogUniform, Uniform
from purerl.types import Mean, PyTree, TrainState

PARENT, SCORE, VALUE = "population_parent", "population_score", "population_value_"
"""Names under which the lineage leaves the device among the metrics."""
_REMEMBERED = 1e-6


@dataclass(frozen=True)
class PopulationOptions:
    """How a population is trained."""

    num_members: Annotated[int, Range(2, MOST_RUNS, whole=True)] = 16
    """Members that train side by side."""
    exploit_every: Count = 5
    """Chunks between two selections; a run has about fifty chunks."""
    truncation: Annotated[float, Range(above=0.0, most=0.5)] = 0.2
    """Share of the members that is replaced, and share that they copy from."""
    factor: Annotated[float, Range(above=0.0, below=1.0)] = 0.8
    """Factor, or its inverse, of a change in a logarithmic range."""
    step: PositiveShare = 0.1
    """Share of the range of a change in a linear range."""
    resample: Share = 0.0
    """Probability that a copy draws a hyperparameter afresh instead."""
    sample_seed: Seed = 0
    """Seed of the first hyperparameters, and of selection; those of training are --seed and those that
    follow it."""
    width: RunsOrZero = 0
    """Runs that are computed side by side; 0 measures what is fastest here."""
    score_episodes: ScoreEpisodes = 20
    """Episodes of the greedy policy that members are ranked by at each selection, and five times as many at
    the end; 0: returns of training since the last selection instead."""


@struct.dataclass
class Population:
    """Everything that a population carries from chunk to chunk; M members.

    Attributes:
        run: states of the runs, leaves [M, ...].
        values: hyperparameters in force, float32 [M] by path of the leaf.
        score: the return since the last selection, [M]; since the one before where no episode has ended.
        key: `jax.random.key` of selection.
        num_chunks: chunks done, int32.
    """

    run: TrainState
    values: dict[str, jax.Array]
    score: Mean
    key: jax.Array
    num_chunks: jax.Array

    @property
    def learner(self) -> PyTree:
        """What learning changes, leaves [M, ...]."""
        return self.run.learner


class Rules(NamedTuple):
    """What selection needs to know, static.

    Attributes:
        ranges: of the hyperparameters, by path.
        metric: the return.
        options: of the population.
    """

    ranges: dict[str, Uniform]
    metric: str
    options: PopulationOptions


def evolve(
    population: Population, packed: Packed, rules: Rules, evaluated: jax.Array | None = None
) -> tuple[Population, Packed]:
    """Exploits and explores where that is due.

    Args:
        population: after a chunk.
        packed: metrics of that chunk, [M].
        rules: how.
        evaluated: scores of a greedy evaluation, float32 [M], NaN where there is none; without them, members
            are ranked by returns of training.

    Returns:
        The population, and the metrics with its lineage. What is not finite counts as without a value, since
        its member is the first to be replaced.
    """
    options = rules.options
    key, choice_key, change_key = jax.random.split(population.key, 3)
    num_chunks = population.num_chunks + 1
    due = num_chunks % options.exploit_every == 0
    metrics = {name: finite_mean(mean) for name, mean in unpack(packed).items()}
    score = jax.tree.map(jnp.add, population.score, metrics[rules.metric])
    ranked_by = score if evaluated is None else Mean(evaluated, jnp.isfinite(evaluated).astype(jnp.float32))
    merit, is_known = merits(ranked_by, population.learner)
    members = jnp.arange(merit.shape[0])
    parent = jnp.where(due & is_known.any(), select(choice_key, merit, options.truncation), members)
    learner = jax.tree.map(lambda leaf: leaf[parent], population.learner)
    values = explore(change_key, population.values, parent, rules)
    one = jnp.ones_like(merit)
    metrics[PARENT] = Mean(total=parent.astype(jnp.float32), weight=one)
    metrics[SCORE] = Mean(total=jnp.where(is_known, merit, 0.0), weight=one * is_known)
    metrics |= {VALUE + name: Mean(total=value, weight=one) for name, value in values.items()}
    evolved = Population(
        run=population.run.replace(learner=learner),  # type: ignore[attr-defined]
        values=values,
        score=jax.tree.map(lambda old, new: jnp.where(due, new, old), score, _begun_anew(score, parent)),
        key=key,
        num_chunks=num_chunks,
    )
    return evolved, pack(metrics)


def finite_mean(mean: Mean) -> Mean:
    """The mean, without any weight where it is not finite."""
    finite = jnp.isfinite(mean.total) & jnp.isfinite(mean.weight)
    return Mean(total=jnp.where(finite, mean.total, 0.0), weight=jnp.where(finite, mean.weight, 0.0))


def _begun_anew(score: Mean, parent: jax.Array) -> Mean:
    """Scores after a selection: those of the parents, of next to no weight beside that of a new episode.

    So a member whose episode goes on beyond the next selection has the last score that there is.
    """
    mean = score.total / jnp.maximum(score.weight, _REMEMBERED)
    weight = jnp.where(score.weight > 0, _REMEMBERED, 0.0)
    return Mean(total=(mean * weight)[parent], weight=weight[parent])


def merits(score: Mean, learner: PyTree) -> tuple[jax.Array, jax.Array]:
    """What members are ranked by, float32 [M], and whether that is a score of their own, bool [M].

    A learner with NaN has failed: -inf. One that has no score yet, because its first episode goes on, is
    neither good nor bad: the median of those that have one.
    """
    sound = jnp.ones(score.weight.shape, bool)
    for leaf in jax.tree.leaves(learner):
        if jnp.issubdtype(leaf.dtype, jnp.inexact):
            sound &= jnp.isfinite(leaf).reshape(leaf.shape[0], -1).all(axis=1)
    is_known = sound & (score.weight > 0)
    value = jnp.where(is_known, score.total / jnp.maximum(score.weight, _REMEMBERED), jnp.nan)
    return jnp.where(is_known, value, jnp.where(sound, jnp.nanmedian(value), -jnp.inf)), is_known


def select(key: jax.Array, merit: jax.Array, truncation: float) -> jax.Array:
    """Truncation selection: whom each member copies, int32 [M]; most of them themselves.

    Each of the worst share copies one of the best share, drawn uniformly.
    """
    num_members = merit.shape[0]
    count = num_replaced(num_members, truncation)
    order = jnp.argsort(merit)
    chosen = jax.random.choice(key, order[num_members - count :], (count,))
    return jnp.arange(num_members).at[order[:count]].set(chosen)


def num_replaced(num_members: int, truncation: float) -> int:
    """How many members a selection replaces: at least one."""
    return max(1, int(truncation * num_members))


def explore(
    key: jax.Array, values: dict[str, jax.Array], parent: jax.Array, rules: Rules
) -> dict[str, jax.Array]:
    """Hyperparameters after selection, float32 [M]: a copy has its parent's, changed; others stay."""
    is_copy = parent != jnp.arange(parent.shape[0])
    changed = {}
    for name, name_key in zip(values, jax.random.split(key, len(values)), strict=True):
        sign_key, place_key, which_key = jax.random.split(name_key, 3)
        bounds, inherited = rules.ranges[name], values[name][parent]
        up = jax.random.bernoulli(sign_key, shape=parent.shape)
        moved = move(inherited, up, bounds, rules.options)
        fresh = place(jax.random.uniform(place_key, parent.shape), bounds)
        is_fresh = jax.random.bernoulli(which_key, rules.options.resample, parent.shape)
        changed[name] = jnp.where(is_copy, jnp.where(is_fresh, fresh, moved), values[name])
    return changed


def move(value: jax.Array, up: jax.Array, bounds: Uniform, options: PopulationOptions) -> jax.Array:
    """A small change upwards or downwards, within the range."""
    if isinstance(bounds, LogUniform):
        moved = jnp.where(up, value / options.factor, value * options.factor)
    else:
        step = options.step * (bounds.high - bounds.low)
        moved = jnp.where(up, value + step, value - step)
    return jnp.clip(moved, bounds.low, bounds.high)


def place(share: jax.Array, bounds: Uniform) -> jax.Array:
    """The value at a place in [0, 1] of the range."""
    if isinstance(bounds, LogUniform):
        low, high = jnp.log(bounds.low), jnp.log(bounds.high)
        return jnp.exp(low + share * (high - low))
    return bounds.low + share * (bounds.high - bounds.low)


def begin(run: TrainState, values: dict[str, Any], seed: int) -> Population:
    """A population before its first chunk."""
    num_members = run.num_updates.shape[0]
    return Population(
        run=run,
        values={name: jnp.asarray(value, jnp.float32) for name, value in values.items()},
        score=Mean(total=jnp.zeros(num_members), weight=jnp.zeros(num_members)),
        key=jax.random.key(seed),
        num_chunks=jnp.int32(0),
    )
