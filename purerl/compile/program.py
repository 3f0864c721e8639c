"""Whole runs as pure functions, and their compilation: seeds in one program, environments over devices."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from purerl.compile import xla
from purerl.compile.placement import EVERYWHERE, Shard, arrange, must_loop
from purerl.compile.platforms import seeds_side_by_side, takes_cpu_options
from purerl.compile.runtime import num_cores
from purerl.compile.sharding import trace
from purerl.compile.waiting import safe
from purerl.functional.metrics import Packed, add_up, means
from purerl.types import Algorithm, AxisName, Config, TrainState

MakeAlgorithm = Callable[[AxisName], Algorithm]
LEAST_ENVS = 8
"""Fewer environments are not worth a device of their own: to exchange gradients costs more than it saves."""


def train(
    algorithm: Algorithm, config: Config, key: jax.Array, num_updates: int
) -> tuple[TrainState, dict[str, jax.Array]]:
    """A whole run: `init`, then `num_updates` updates.

    Pure: `jit` it, `vmap` it over keys (see `sweep`) or over leaves of the config.

    Args:
        algorithm: what learns.
        config: its configuration.
        key: a `jax.random.key`, used up here.
        num_updates: N.

    Returns:
        The state after the last update, and metrics by name, float32 [N]: `episode_return` of an update is
        the mean over the episodes that ended in it, NaN where none did.

    Raises:
        ValueError: where JAX computes in float64.
    """
    state, sums = train_sums(algorithm, config, key, num_updates)
    return state, means(sums)


def train_sums(
    algorithm: Algorithm, config: Config, key: jax.Array, num_updates: int
) -> tuple[TrainState, Packed]:
    """`train` with metrics as sums, [N, K, 2], which can be added up over updates, seeds and shards."""
    check_precision()

    def step(state, _):
        return algorithm.update(state, config)

    return jax.lax.scan(step, algorithm.init(key, config), None, length=num_updates)


def sweep(
    algorithm: Algorithm, config: Config, keys: jax.Array, num_updates: int
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One run a key, keys [S], in one program: `train` with a leading axis S, metrics float32 [S, N]."""
    return jax.vmap(lambda key: train(algorithm, config, key, num_updates))(keys)


def check_precision() -> None:
    """Raises ValueError, in one line, where JAX makes float64 of what no type is given for."""
    if jax.config.read("jax_enable_x64"):
        raise ValueError(
            "JAX_ENABLE_X64 is set, and PureRL computes in float32; unset it, or begin with "
            'jax.config.update("jax_enable_x64", False)'
        )


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
        num_devices: devices that it runs on.
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


def usable_devices(algorithm: Algorithm, config: Config, most: int = 0, least_envs: int = LEAST_ENVS) -> int:
    """The most devices over which an algorithm can split its environments.

    Several processes use all of their devices, however few environments each gets.

    Args:
        algorithm: says by its `check` what it can split.
        config: its configuration.
        most: a limit; 0 for none.
        least_envs: environments that each has at least.
    """
    count = min(most or len(jax.devices()), len(jax.devices()))
    if jax.process_count() == 1:
        count = max(min(count, config.num_envs // least_envs), 1)
    return next((number for number in range(count, 1, -1) if _runs_on(algorithm, config, number)), 1)


def _runs_on(algorithm: Algorithm, config: Config, num_devices: int) -> bool:
    try:
        algorithm.check(config, num_devices)
    except ValueError:
        return False
    return True


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


def training_options(algorithm: Algorithm, mesh: Mesh) -> dict[str, Any]:
    """What XLA is told when it compiles training for these devices; nothing but on a CPU."""
    if not takes_cpu_options():
        return {}
    busy = len(mesh.local_devices) >= num_cores()
    return xla.training_options(algorithm.lower_level, busy)


def build_program(
    make_algorithm: MakeAlgorithm,
    config: Config,
    *,
    seed: int = 0,
    num_seeds: int = 1,
    total_steps: int,
    num_devices: int = 1,
    shard: Shard = "environments",
    target_chunks: int = 50,
    width: int | None = None,
    members: Members | None = None,
    most_devices: int | None = None,
) -> Program:
    """Compiles a run.

    Args:
        make_algorithm: the algorithm, given the axis over which environments are sharded.
        config: its configuration; `total_updates` is set here.
        seed: seed k of the run draws from `jax.random.key(seed + k)`: the same as a run of that seed alone.
        num_seeds: S.
        total_steps: environment steps of each seed; rounded up to whole chunks.
        num_devices: devices to cut the environments for, which decides what is drawn; where there are fewer,
            each has several parts. Of no effect where seeds are sharded.
        shard: what is sharded over devices: the environments of every seed, or seeds, as many on each.
        target_chunks: about how many chunks to cut the run into.
        width: how many seeds run side by side; by default one on CPU, else all.
        members: what to train instead of `num_seeds` seeds from `seed` on: one run a member, M for S.
        most_devices: devices to use at most; by default all that are in use. A program with linear algebra in
            it, in its environment for instance, has one where they are cores (`purerl.compile.waiting`).

    Raises:
        ValueError: where seeds side by side would wait for each other for ever, or JAX computes in float64.
    """
    asked = dict(locals())
    check_precision()
    _check_width(width, shard)
    started = time.perf_counter()
    steps_per_update = make_algorithm(None).steps_per_update(config)
    num_chunks, updates_per_chunk = _in_chunks(-(-total_steps // steps_per_update), target_chunks)
    config = config.replace(total_updates=num_chunks * updates_per_chunk)
    members = members or Members(range(seed, seed + num_seeds), {})
    placement = arrange(shard, num_devices, len(members.seeds), most_devices)
    algorithm = make_algorithm(placement.axis)
    on_one_device = len(members.seeds) // (placement.mesh.size if shard == "seeds" else 1)
    side_by_side = width or seeds_side_by_side(on_one_device)

    def init(keys, varied, config):
        def one_seed(key, varied):
            return algorithm.init(key, vary(config, varied))

        return map_seeds(placement.in_parts(one_seed), keys, varied, width=side_by_side)

    def chunk(state, varied, shared):
        def one_seed(state, varied):
            config = vary(shared, varied)

            def step(state, _):
                return algorithm.update(state, config)

            state, metrics = jax.lax.scan(step, state, None, length=updates_per_chunk)
            return state, add_up(metrics)

        return map_seeds(placement.in_parts(one_seed), state, varied, width=side_by_side)

    def diagnose(state, varied, metrics, shared):
        def one_seed(state, varied, metrics):
            if algorithm.diagnose is None:
                return metrics
            return metrics | algorithm.diagnose(state, vary(shared, varied))

        return map_seeds(placement.in_parts(one_seed), state, varied, metrics, width=side_by_side)

    specs, by_seed = placement.state, placement.by_seed
    init = placement.over_devices(init, (by_seed, by_seed, EVERYWHERE), specs)
    chunk = placement.over_devices(chunk, (specs, by_seed, EVERYWHERE), (specs, by_seed))
    diagnose = placement.over_devices(diagnose, (specs, by_seed, by_seed, EVERYWHERE), by_seed)
    config = jax.tree.map(lambda leaf: np.asarray(jnp.asarray(leaf)), config)
    dtypes = {name_of(path): leaf.dtype for path, leaf in jax.tree_util.tree_leaves_with_path(config)}
    config = placement.put(config, EVERYWHERE)

    def place(varied):
        return {name: placement.put(np.asarray(leaf, dtypes[name]), by_seed) for name, leaf in varied.items()}

    def keys_of(members):
        seeds = placement.put(np.array(members.seeds, np.uint32), by_seed)
        return jax.jit(jax.vmap(jax.random.key), out_shardings=seeds.sharding)(seeds)

    varied = place(members.varied)
    once = xla.run_once_options() if takes_cpu_options() else {}
    traced_init = trace(init, keys_of(members), varied, config, out_shardings=placement.shardings())
    state_shape = placement.shapes(traced_init.out_info)
    # Training takes longest, so it comes first: XLA compiles it while Python lowers and traces the rest.
    with ThreadPoolExecutor(2) as beside:
        traced_chunk = trace(chunk, state_shape, varied, config, donate_argnums=0)
        if not safe(list(placement.mesh.devices.flat), traced_init.jaxpr, traced_chunk.jaxpr):
            return build_program(**asked | {"most_devices": 1})  # type: ignore[arg-type]
        lowered_chunk = traced_chunk.lower()
        compiling_chunk = beside.submit(lowered_chunk.compile, training_options(algorithm, placement.mesh))
        compiling_init = beside.submit(traced_init.lower().compile, once)
        metrics_shape = placement.shape_by_seed(lowered_chunk.out_info[1])
        arguments, out = (state_shape, varied, metrics_shape, config), placement.everywhere()
        compiled_diagnose = trace(diagnose, *arguments, out_shardings=out).lower().compile(once)
    compiled_init, compiled_chunk = compiling_init.result(), compiling_chunk.result()

    def begin(members):
        return compiled_init(keys_of(members), place(members.varied), config)

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
        num_devices=placement.mesh.size,
        begin=begin,
        place=place,
        advance=advance,
        num_bytes=_num_bytes(compiled_chunk, state_shape),
    )


def _check_width(width: int | None, shard: Shard) -> None:
    if width is not None and width > 1 and must_loop(shard):
        raise ValueError(
            f"width = {width} runs seeds side by side, which never ends on several devices that are cores; "
            "use width = 1, or shard environments"
        )


def _in_chunks(num_updates: int, target_chunks: int) -> tuple[int, int]:
    """How many chunks, about as many as wanted, and updates in each."""
    updates_per_chunk = -(-num_updates // target_chunks)
    return -(-num_updates // updates_per_chunk), updates_per_chunk


def _num_bytes(compiled: Any, state_shape: TrainState) -> tuple[int, int]:
    state = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state_shape))
    memory = compiled.memory_analysis()
    return state, memory.temp_size_in_bytes if memory else state
