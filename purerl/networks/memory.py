"""Memory across steps: what every kind of it offers, and the choice by name. Features first, samples last.

A memory is a flax module on features x. It is used in two ways that compute the same function:

    step(carry, x [W, B], is_first [B]) -> (carry, y [W, B])                 one step, while acting
    (carry, x [W, T, B], is_first [T, B]) -> y [W, T, B]                     a whole segment, while learning

`is_first` marks first steps of an episode: there what the carry holds is forgotten before x is looked at.
Leaves of a carry are [B, ...], as the state of a run holds them; `initial(B)` remembers nothing.

Axes: W width, T time, B samples, M past steps, H heads, D width of a head.
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal, TypeAlias

import flax.linen as nn
from flax import struct

from purerl import ranges
from purerl.networks.memory_linear import LinearRecurrentUnits
from purerl.networks.memory_recurrent import GRU, LSTM
from purerl.networks.memory_transformer import GatedTransformerXL
from purerl.ranges import Count, Number, Range

MemoryName = Literal["none", "gru", "lstm", "transformer", "lru"]
"""Kinds of memory; "none" is a network that sees the present alone."""


Radius = Annotated[float, Range(0.0, below=1.0)]
"""Magnitude of an eigenvalue: at 1, what is remembered would never fade."""
MemoryFactory: TypeAlias = Callable[..., nn.Module]
"""Makes a memory, as above and with its `width` W; called with `name=...` alone, or with nothing."""


@struct.dataclass
class MemoryConfig:
    """Shape of the memory; every field changes the compiled program."""

    width: Count = struct.field(pytree_node=False, default=64)
    """Width of what is remembered, and of what comes out."""
    num_layers: Count = struct.field(pytree_node=False, default=2)
    """Layers (transformer, lru)."""
    num_heads: Count = struct.field(pytree_node=False, default=4)
    """Attention heads (transformer); must divide the width."""
    length: Count = struct.field(pytree_node=False, default=32)
    """Past steps that each layer attends to (transformer); through its layers information comes farther."""
    feed_forward: Count = struct.field(pytree_node=False, default=128)
    """Hidden width of the feed-forward sub-layers (transformer)."""
    gate_bias: Number = struct.field(pytree_node=False, default=2.0)
    """How far the gates are closed at the start (transformer): above 0, a layer begins near the identity."""
    min_radius: Radius = struct.field(pytree_node=False, default=0.9)
    """Smallest magnitude of an eigenvalue at the start (lru); it fades over 1 / (1 - magnitude) steps."""
    max_radius: Radius = struct.field(pytree_node=False, default=0.999)
    """Largest magnitude of an eigenvalue at the start (lru)."""


def make_memory(name: MemoryName, config: MemoryConfig) -> MemoryFactory:
    """What makes the module that `--memory` names; not for "none".

    Raises:
        ValueError: one line that names the remedy, where a memory cannot be built.
    """
    check_memory(name, config)
    if name == "gru":
        return partial(GRU, config.width)
    if name == "lstm":
        return partial(LSTM, config.width)
    if name == "lru":
        sizes = (config.width, config.num_layers, config.min_radius, config.max_radius)
        return partial(LinearRecurrentUnits, *sizes)
    return partial(
        GatedTransformerXL,
        width=config.width,
        num_layers=config.num_layers,
        num_heads=config.num_heads,
        length=config.length,
        feed_forward=config.feed_forward,
        gate_bias=config.gate_bias,
    )


def check_memory(name: MemoryName, config: MemoryConfig) -> None:
    """Raises ValueError, with one line that names the remedy, where a memory cannot be built."""
    ranges.check(config, "memory ")
    if name == "transformer" and config.width % config.num_heads:
        raise ValueError(f"memory num_heads = {config.num_heads} does not divide width = {config.width}")
    if config.min_radius >= config.max_radius:
        raise ValueError(f"min_radius = {config.min_radius} must be below max_radius = {config.max_radius}")
