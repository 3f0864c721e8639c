"""Programs of an experiment without compiling them: `jax.jit` traces, lowers for CUDA, and returns zeros."""

import re

import jax
import jax.numpy as jnp
import numpy as np

from purerl.compile import platforms

# What jaxlib calls by name on a GPU: factorisations of matrices, hashing, and marks for the partitioner.
OF_CUDA = ("cusolver", "cublas", "cudnn", "cu_threefry2x32", "Sharding", "SPMD", "xla.sdy")


class Lowered:
    """What `jax.jit(f).trace(...)` and `.lower(...)` return, for CUDA; compiled, it answers with zeros."""

    def __init__(self, traced, programs):
        self.traced, self.programs = traced, programs
        self.out_info, self.jaxpr = traced.out_info, traced.jaxpr

    def lower(self):
        self.programs.append(self.traced.lower(lowering_platforms=("cuda",)).as_text())
        return self

    def compile(self, *_):
        return self

    def memory_analysis(self):
        return None

    def __call__(self, *_):
        return jax.tree.map(_zeros, self.out_info)


def _zeros(info):
    if jnp.issubdtype(info.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(np.zeros((*info.shape, 2), np.uint32))
    return np.zeros(info.shape, info.dtype)


class Jitted:
    """What `jax.jit(f)` returns."""

    def __init__(self, jitted, programs):
        self.jitted, self.programs = jitted, programs

    def trace(self, *arguments, **named):
        return Lowered(self.jitted.trace(*arguments, **named), self.programs)

    def lower(self, *arguments, **named):
        return self.trace(*arguments, **named).lower()

    def __call__(self, *arguments, **named):
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((arguments, named))):
            return self.jitted(*arguments, **named)
        return self.lower(*arguments, **named)()


def lowered_for_cuda(build, monkeypatch, total_steps, evaluates=True, traced_for="cuda", num_devices=1):
    """The StableHLO of everything that an experiment compiles to train and to evaluate, in order.

    Args:
        build: `() -> Experiment`.
        monkeypatch: of pytest.
        total_steps: of the run.
        evaluates: whether to evaluate, too.
        traced_for: the platform that branches are taken for.
        num_devices: over which environments are cut.
    """
    programs, jit = [], jax.jit
    with platforms.tracing_for(traced_for), monkeypatch.context() as patch:
        experiment = build()
        patch.setattr(jax, "jit", lambda *arguments, **named: Jitted(jit(*arguments, **named), programs))
        program = experiment.build_program(
            seed=0, num_seeds=2, total_steps=total_steps, num_devices=num_devices, shard="environments"
        )
        if evaluates:
            experiment.evaluate(program.init().learner, 0)
    return programs


def assert_of_cuda(programs):
    """What these programs call by name is known to CUDA."""
    named = set().union(*map(custom_calls, programs))
    unknown = sorted(name for name in named if not name.startswith(OF_CUDA))
    assert not unknown, f"CUDA does not know {unknown}"


def custom_calls(text):
    """Targets of what a program calls by name, which some platforms alone may know."""
    return set(re.findall(r"custom_call @([\w.$]+)", text))
