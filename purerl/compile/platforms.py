"""Where CPUs and all other platforms part, each branch by its name; nothing else asks what it runs on.

Programs are traced for the default backend. One that is lowered or exported for another is traced under
`tracing_for`:

    with platforms.tracing_for("cuda"):
        lowered = jax.jit(f).trace(x).lower(lowering_platforms=("cuda",))

    with platforms.tracing_for(platforms.ANY):
        exported = jax.export.export(jax.jit(policy), platforms=("cpu", "cuda"))(learner, observation, key)
"""

from contextlib import AbstractContextManager
from typing import Any

import jax
from jax.experimental.layout import Layout, with_layout_constraint

ANY = "any"
"""A program of no platform's own, as `jax.export` wants it: equal to a CPU's up to rounding."""
FEW_SAMPLES = 64
"""So few samples are turned before a product on a CPU: a vector unit would find too little to run over."""
_CPU_BLOCK = 128

# JAX traces anew where its value changes: a cached trace of another platform is never taken.
_traced_for: Any = jax.make_user_context(None)


def tracing_for(platform: str) -> AbstractContextManager:
    """Within it, programs are traced for a platform as `lowering_platforms` names it, or for `ANY`."""
    return _traced_for(platform)


def on_cpu() -> bool:
    """Whether what is traced now will run on a CPU."""
    return (_traced_for.value or jax.default_backend()) == "cpu"


def turns_samples(num_samples: Any) -> bool:
    """Whether products of so few samples are turned; an exported program's free number of them is none."""
    return on_cpu() and isinstance(num_samples, int) and num_samples <= FEW_SAMPLES


def rows_first(x: jax.Array) -> jax.Array:
    """The matrix, laid out row by row; for what `turns_samples`.

    What XLA makes of products and sums of few samples, and so their rounding, depends on the program that
    they are in, unless their layouts are fixed.
    """
    return with_layout_constraint(x, Layout((0, 1)))


def seeds_side_by_side(num_seeds: int) -> int:
    """How many of a device's seeds to run at once: on a CPU the arrays of one stay in the cache."""
    return 1 if on_cpu() else num_seeds


def episodes_side_by_side(num_episodes: int) -> int:
    """How many of so many episodes of an evaluation to step at once, for the same reason."""
    return min(_CPU_BLOCK, num_episodes) if on_cpu() else num_episodes


def devices_share_threads(num_devices: int) -> bool:
    """Whether so many devices are cores: loops of mapped seeds on several wait for each other for ever."""
    return on_cpu() and num_devices > 1


def takes_cpu_options() -> bool:
    """Whether XLA may be told what only its compiler for CPUs knows."""
    return on_cpu()


def is_small_machine() -> bool:
    """Whether an experiment of a GPU's size is to begin with one that a few cores can train."""
    return on_cpu()
