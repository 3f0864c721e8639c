"""Whole runs as pure functions, and their compilation: seeds in one program, environments over devices."""

import time
from collections.abc import Callable, Sequence
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


class Members(NamedTuple):
    """What tells the runs of one program apart, M of them.

    Attributes:
        seeds: M seeds; a member draws from `jax.random.key(seed)`: the same as a run of that seed alone.
        varied: the leaves of the configuration that differ, [M, ...] by their path, as "env_params.wind".
    """

    seeds: Sequence[int]
    varied: dict[str, np.ndarray]


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
        begin: `init` of other members than those that the program was built for, as many.
        place: values of what varies, [M] by path, as `advance` wants them: on the devices.
        advance: `chunk` with other values of what varies.
        num_bytes: memory of a chunk, as the compiler tells it: the state of all members, and all the rest.
    """

    init: Callable[[], TrainState]
    chunk: Callable[[TrainState], tuple[TrainState, Packed]]
    state_shape: TrainState
    compile_seconds: float
    steps_per_chunk: int
    num_chunks: int
    num_devices: int
    begin: Callable[[Members], TrainState]
    place: Callable[[dict[str, Any]], dict[str, jax.Array]]
    advance: Callable[[TrainState, dict[str, Any]], tuple[TrainState, Packed]]
    num_bytes: tuple[int, int]


def usable_devices(num_envs: int, num_samples: int, num_minibatches: int) -> int:
    """The most local devices over which the environments and the minibatches of a rollout can be split."""
    count = len(jax.local_devices())
    while num_envs % count or num_samples % (count * num_minibatches):
        count -= 1
    return count


def map_seeds(function: Callable, *arguments: Any, width: int) -> Any:
    """Applies a function to each seed, leading axis S: `width` of them side by side, then the next.

    On a CPU one after another is faster, because the arrays of one seed stay in the cache; on a GPU all side
    by side are. What is drawn is the same.
    """
    num_seeds = jax.tree.leaves(arguments)[0].shape[0]
    if num_seeds == 1:
        result = function(*jax.tree.map(lambda leaf: leaf[0], arguments))
        return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], result)
    if width >= num_seeds:
        return jax.vmap(function)(*arguments)
    return jax.lax.map(lambda packed: function(*packed), arguments, batch_size=width if width > 1 else None)


def vary(config: Config, varied: dict[str, Any]) -> Config:
    """The configuration with other values for the leaves that are named by their path."""
    return jax.tree_util.tree_map_with_path(lambda path, leaf: varied.get(name_of(path), leaf), config)


def name_of(path: Any) -> str:
    """The path of a leaf in words: "env_params.wind"."""
    return jax.tree_util.keystr(path).lstrip(".")


def build_program(
    make_algorithm: MakeAlgorithm,
    config: Config,
    *,
    seed: int = 0,
    num_seeds: int = 1,
    total_steps: int,
    num_devices: int = 1,
    target_chunks: int = 50,
    width: int | None = None,
    members: Members | None = None,
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
        width: how many seeds run side by side; by default one on CPU, else all.
        members: what to train instead of `num_seeds` seeds from `seed` on: one run a member, M for S.
    """
    started = time.perf_counter()
    steps_per_update = make_algorithm(None).steps_per_update(config)
    num_updates = -(-total_steps // steps_per_update)
    updates_per_chunk = -(-num_updates // target_chunks)
    num_chunks = -(-num_updates // updates_per_chunk)
    config = config.replace(total_updates=num_chunks * updates_per_chunk)
    config = jax.tree.map(jnp.asarray, config)
    members = members or Members(range(seed, seed + num_seeds), {})
    side_by_side = width or (1 if jax.default_backend() == "cpu" else len(members.seeds))
    algorithm = make_algorithm(AXIS if num_devices > 1 else None)

    def init(keys, varied, config):
        def one_seed(key, varied):
            return algorithm.init(key, vary(config, varied))

        return map_seeds(one_seed, keys, varied, width=side_by_side)

    def chunk(state, varied, shared):
        def one_seed(state, varied):
            config = vary(shared, varied)

            def step(state, _):
                return algorithm.update(state, config)

            state, metrics = jax.lax.scan(step, state, None, length=updates_per_chunk)
            return state, add_up(metrics)

        return map_seeds(one_seed, state, varied, width=side_by_side)

    def diagnose(state, varied, metrics, shared):
        def one_seed(state, varied, metrics):
            if algorithm.diagnose is None:
                return metrics
            return metrics | algorithm.diagnose(state, vary(shared, varied))

        return map_seeds(one_seed, state, varied, metrics, width=side_by_side)

    mesh = Mesh(np.array(jax.local_devices()[:num_devices]), (AXIS,))
    specs = state_specs(num_devices)
    everywhere = PartitionSpec()
    init = _over(mesh, init, (everywhere, everywhere, everywhere), specs)
    chunk = _over(mesh, chunk, (specs, everywhere, everywhere), (specs, everywhere))
    diagnose = _over(mesh, diagnose, (specs, everywhere, everywhere, everywhere), everywhere)
    dtypes = {name_of(path): leaf.dtype for path, leaf in jax.tree_util.tree_leaves_with_path(config)}
    replicated = NamedSharding(mesh, everywhere)
    config = jax.device_put(config, replicated)

    def place(varied):
        return {
            name: jax.device_put(jnp.asarray(leaf, dtypes[name]), replicated) for name, leaf in varied.items()
        }

    def keys_of(members):
        return jax.device_put(jax.vmap(jax.random.key)(jnp.array(members.seeds)), replicated)

    varied = place(members.varied)
    lowered_init = jax.jit(init).lower(keys_of(members), varied, config)
    state_shape = with_shardings(lowered_init.out_info, specs, mesh)
    with ThreadPoolExecutor(1) as beside:
        compiling_init = beside.submit(lowered_init.compile, _RUNS_ONCE)
        lowered_chunk = jax.jit(chunk, donate_argnums=0).lower(state_shape, varied, config)
        metrics_shape = on_all_devices(lowered_chunk.out_info[1], mesh)
        lowered_diagnose = jax.jit(diagnose).lower(state_shape, varied, metrics_shape, config)
        compiling_diagnose = beside.submit(lowered_diagnose.compile, _RUNS_ONCE)
        compiled_chunk = lowered_chunk.compile()
    compiled_init, compiled_diagnose = compiling_init.result(), compiling_diagnose.result()

    def begin(members):
        state = compiled_init(keys_of(members), place(members.varied), config)
        return jax.device_put(state, jax.tree.map(lambda x: x.sharding, state_shape))

    def advance(state, varied):
        state, metrics = compiled_chunk(state, varied, config)
        return state, compiled_diagnose(state, varied, metrics, config)

    return Program(
        init=lambda: begin(members),
        chunk=lambda state: advance(state, varied),
        state_shape=state_shape,
        compile_seconds=time.perf_counter() - started,
        steps_per_chunk=steps_per_update * updates_per_chunk,
        num_chunks=num_chunks,
        num_devices=num_devices,
        begin=begin,
        place=place,
        advance=advance,
        num_bytes=_num_bytes(compiled_chunk, state_shape),
    )


def _over(mesh: Mesh, function: Callable, in_specs: Any, out_specs: Any) -> Callable:
    """The function on each device's part of its arguments; itself where there is one device."""
    if mesh.size == 1:
        return function
    return jax.shard_map(function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)


def _num_bytes(compiled: Any, state_shape: TrainState) -> tuple[int, int]:
    state = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state_shape))
    memory = compiled.memory_analysis()
    return state, memory.temp_size_in_bytes if memory else state


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
