"""Whole runs as pure functions, and their compilation: seeds in one program, environments over devices."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from purerl.metrics import Packed, add_up
from purerl.types import Algorithm, Config, TrainState

AXIS = "devices"
# Compiling without optimisation takes a third of the time, and is the better deal for what runs once.
_RUNS_ONCE: Any = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
MakeAlgorithm = Callable[[str | None], Algorithm]


def train(
    algorithm: Algorithm, config: Config, key: jax.Array, num_updates: int
) -> tuple[TrainState, Packed]:
    """A whole run: `init`, then `num_updates` updates; metrics stacked, leaves [num_updates].

    Pure: `jit` it, `vmap` it over keys (see `sweep`) or over leaves of the config.
    """

    def step(state, _):
        return algorithm.update(state, config)

    return jax.lax.scan(step, algorithm.init(key, config), None, length=num_updates)


def sweep(
    algorithm: Algorithm, config: Config, keys: jax.Array, num_updates: int
) -> tuple[TrainState, Packed]:
    """One run a key, keys [S], in one program; every leaf of the result has a leading axis S."""
    return jax.vmap(lambda key: train(algorithm, config, key, num_updates))(keys)


class Program(NamedTuple):
    """A compiled run, cut into chunks between which the host may look, save and stop.

    Attributes:
        init: the state of all seeds, leading axis S, on the devices.
        chunk: K updates; its argument is donated; metrics are sums over them, with what the state tells at
            their end, float32 [S, K, 2].
        state_shape: shapes, dtypes and shardings of the state.
        compile_seconds: time that compilation took, or reading the compiled program from the cache.
        steps_per_chunk: environment steps of each seed in one chunk.
        num_chunks: chunks in the whole run.
        num_devices: devices over which environments are sharded.
    """

    init: Callable[[], TrainState]
    chunk: Callable[[TrainState], tuple[TrainState, Packed]]
    state_shape: TrainState
    compile_seconds: float
    steps_per_chunk: int
    num_chunks: int
    num_devices: int


def usable_devices(num_envs: int, num_samples: int, num_minibatches: int) -> int:
    """The most local devices over which the environments and the minibatches of a rollout can be split."""
    count = len(jax.local_devices())
    while num_envs % count or num_samples % (count * num_minibatches):
        count -= 1
    return count


def map_seeds(function: Callable, *arguments: Any, loop: bool) -> Any:
    """Applies a function to each seed, leading axis S: side by side, or one after another.

    On a CPU one after another is faster, because the arrays of one seed stay in the cache; on a GPU side by
    side is. What is drawn is the same.
    """
    if jax.tree.leaves(arguments)[0].shape[0] == 1:
        result = function(*jax.tree.map(lambda leaf: leaf[0], arguments))
        return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], result)
    if loop:
        return jax.lax.map(lambda packed: function(*packed), arguments)
    return jax.vmap(function)(*arguments)


def build_program(
    make_algorithm: MakeAlgorithm,
    config: Config,
    *,
    seed: int,
    num_seeds: int,
    total_steps: int,
    num_devices: int = 1,
    target_chunks: int = 50,
    loop_seeds: bool | None = None,
) -> Program:
    """Compiles a run.

    Args:
        make_algorithm: the algorithm, given the name of the axis over which environments are sharded.
        config: its configuration; `total_updates` is set here.
        seed: seed k of the run draws from `jax.random.key(seed + k)`: the same as a run of that seed alone.
        num_seeds: S.
        total_steps: environment steps of each seed; rounded up to whole chunks.
        num_devices: local devices to shard the environments over.
        target_chunks: about how many chunks to cut the run into.
        loop_seeds: whether seeds run one after another; by default so on CPU only.
    """
    started = time.perf_counter()
    steps_per_update = make_algorithm(None).steps_per_update(config)
    num_updates = -(-total_steps // steps_per_update)
    updates_per_chunk = -(-num_updates // target_chunks)
    num_chunks = -(-num_updates // updates_per_chunk)
    config = config.replace(total_updates=num_chunks * updates_per_chunk)
    config = jax.tree.map(jnp.asarray, config)
    loop = jax.default_backend() == "cpu" if loop_seeds is None else loop_seeds
    algorithm = make_algorithm(AXIS if num_devices > 1 else None)

    def init(keys, config):
        return map_seeds(lambda key: algorithm.init(key, config), keys, loop=loop)

    def chunk(state, config):
        def one_seed(state):
            def step(state, _):
                return algorithm.update(state, config)

            state, metrics = jax.lax.scan(step, state, None, length=updates_per_chunk)
            return state, add_up(metrics)

        return map_seeds(one_seed, state, loop=loop)

    def diagnose(state, metrics, config):
        def one_seed(state, metrics):
            return metrics | algorithm.diagnose(state, config) if algorithm.diagnose else metrics

        return map_seeds(one_seed, state, metrics, loop=loop)

    mesh = Mesh(np.array(jax.local_devices()[:num_devices]), (AXIS,))
    specs = state_specs(num_devices)
    if num_devices > 1:
        everywhere = PartitionSpec()
        init = jax.shard_map(
            init, mesh=mesh, in_specs=(everywhere, everywhere), out_specs=specs, check_vma=False
        )
        chunk = jax.shard_map(
            chunk, mesh=mesh, in_specs=(specs, everywhere), out_specs=(specs, everywhere), check_vma=False
        )
        diagnose = jax.shard_map(
            diagnose,
            mesh=mesh,
            in_specs=(specs, everywhere, everywhere),
            out_specs=everywhere,
            check_vma=False,
        )
    keys = jax.vmap(jax.random.key)(jnp.arange(seed, seed + num_seeds))
    keys, config = jax.device_put((keys, config), NamedSharding(mesh, PartitionSpec()))
    lowered_init = jax.jit(init).lower(keys, config)
    state_shape = with_shardings(lowered_init.out_info, specs, mesh)
    with ThreadPoolExecutor(1) as beside:
        compiling_init = beside.submit(lowered_init.compile, _RUNS_ONCE)
        lowered_chunk = jax.jit(chunk, donate_argnums=0).lower(state_shape, config)
        metrics_shape = on_all_devices(lowered_chunk.out_info[1], mesh)
        lowered_diagnose = jax.jit(diagnose).lower(state_shape, metrics_shape, config)
        compiling_diagnose = beside.submit(lowered_diagnose.compile, _RUNS_ONCE)
        compiled_chunk = lowered_chunk.compile()
    compiled_init, compiled_diagnose = compiling_init.result(), compiling_diagnose.result()

    def run_chunk(state):
        state, metrics = compiled_chunk(state, config)
        return state, compiled_diagnose(state, metrics, config)

    return Program(
        init=lambda: jax.device_put(
            compiled_init(keys, config), jax.tree.map(lambda x: x.sharding, state_shape)
        ),
        chunk=run_chunk,
        state_shape=state_shape,
        compile_seconds=time.perf_counter() - started,
        steps_per_chunk=steps_per_update * updates_per_chunk,
        num_chunks=num_chunks,
        num_devices=num_devices,
    )


def state_specs(num_devices: int) -> Any:
    """Which axis of the state lies across devices: axis 1 (environments) of the actor and of the levels."""
    replicated: Any = PartitionSpec()
    sharded = PartitionSpec(None, AXIS) if num_devices > 1 else replicated
    return TrainState(
        learner=replicated, actor=sharded, curriculum=sharded, key=replicated, num_updates=replicated
    )


def on_all_devices(shapes: Any, mesh: Mesh) -> Any:
    """Attaches to each leaf that every device has all of it."""
    everywhere = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere), shapes)


def with_shardings(shapes: TrainState, specs: Any, mesh: Mesh) -> TrainState:
    """Attaches to each leaf of `shapes` the sharding of its part of the state."""

    def attach(spec, part):
        sharding = NamedSharding(mesh, spec)
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), part)

    is_spec = lambda x: isinstance(x, PartitionSpec)  # noqa: E731
    return jax.tree.map(attach, specs, shapes, is_leaf=is_spec)
