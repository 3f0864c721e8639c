"""Where the runs of a program lie on the devices: environments cut over them, or seeds dealt out to them.

Environments are cut into parts, and what is drawn depends on how many; each device has one part or, where
there are fewer devices than parts, several side by side, with the same draws. Seeds stay whole: nothing is
exchanged between devices, and each run is what it would be alone.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from purerl.compile.platforms import devices_share_threads
from purerl.compile.sharding import over_devices
from purerl.types import AxisName, PyTree, TrainState

Shard = Literal["environments", "seeds"]
DEVICES, PARTS = "devices", "parts"
EVERYWHERE: Any = PartitionSpec()
_WHOLE: Any = None
_OF_PARTS = TrainState(learner=_WHOLE, actor=0, curriculum=0, key=_WHOLE, num_updates=_WHOLE)


_use: list[int] = []


def use(count: int) -> None:
    """From now on, programs of this process run on its first few devices; 0 for all there are."""
    _use[:] = [count] if count else []


def devices() -> list[jax.Device]:
    """The devices that programs run on: all of all processes, or as many as `use` has said."""
    return jax.devices()[: _use[0]] if _use else jax.devices()


def local_devices() -> list[jax.Device]:
    """Those of them that belong to this process."""
    return [device for device in devices() if device in jax.local_devices()]


def even_share(count: int, most: int) -> int:
    """The most devices, up to `most`, that `count` parts or seeds can be dealt out to evenly."""
    return next(size for size in range(min(count, most), 0, -1) if count % size == 0)


class Placement(NamedTuple):
    """How a program is laid out.

    Attributes:
        mesh: its devices, of all processes.
        axis: over which the environments of a run are cut; None where they are whole.
        num_parts: parts of a run's environments on each device.
        state: which axes of the state lie across devices: axis 1 (environments) of the actor and of the
            curriculum, or axis 0 (seeds) of everything.
        by_seed: the same for what else has a leading axis of seeds.
    """

    mesh: Mesh
    axis: AxisName
    num_parts: int
    state: Any
    by_seed: Any

    def over_devices(self, function: Callable, in_specs: Any, out_specs: Any) -> Callable:
        """The function on each device's part of its arguments; itself where there is one device."""
        if self.mesh.size == 1:
            return function
        return over_devices(function, self.mesh, in_specs, out_specs)

    def in_parts(self, function: Callable) -> Callable:
        """A function of one run, for the parts of its environments that this device has, side by side.

        Of its arguments and results, states are cut into parts; all else is the same for every part.
        """
        if self.num_parts == 1:
            return function

        def of_all_parts(*arguments: Any) -> Any:
            axes = tuple(_OF_PARTS if isinstance(each, TrainState) else None for each in arguments)
            of_parts = jax.vmap(function, in_axes=axes, axis_name=PARTS, axis_size=self.num_parts)
            found = of_parts(*map(self._cut, arguments))
            return tuple(map(_join, found)) if isinstance(found, tuple) else _join(found)

        return of_all_parts

    def _cut(self, argument: Any) -> Any:
        if not isinstance(argument, TrainState):
            return argument

        def cut(leaf: jax.Array) -> jax.Array:
            return leaf.reshape(self.num_parts, leaf.shape[0] // self.num_parts, *leaf.shape[1:])

        parts = jax.tree.map(cut, (argument.actor, argument.curriculum))
        return dataclasses.replace(argument, actor=parts[0], curriculum=parts[1])

    def put(self, tree: PyTree, spec: Any) -> PyTree:
        """Host arrays on the devices, which have all of them or a part, as the spec says."""
        return jax.device_put(tree, NamedSharding(self.mesh, spec))

    def everywhere(self) -> NamedSharding:
        """Where lies what every device has whole."""
        return NamedSharding(self.mesh, EVERYWHERE)

    def shardings(self) -> TrainState:
        """Where each part of a state lies."""
        is_spec = lambda x: isinstance(x, PartitionSpec)  # noqa: E731
        return jax.tree.map(lambda spec: NamedSharding(self.mesh, spec), self.state, is_leaf=is_spec)

    def shapes(self, shapes: TrainState) -> TrainState:
        """Attaches to each leaf of a state where it lies."""
        return jax.tree.map(self._attach, self.state, shapes, is_leaf=lambda x: isinstance(x, PartitionSpec))

    def shape_by_seed(self, shapes: PyTree) -> PyTree:
        """Attaches to each leaf where what has a leading axis of seeds lies."""
        return self._attach(self.by_seed, shapes)

    def _attach(self, spec: Any, shapes: PyTree) -> PyTree:
        sharding = NamedSharding(self.mesh, spec)
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), shapes)


def _join(result: Any) -> Any:
    """What parts return, leaves [parts, ...]: the environments one after another, and one of all else."""
    if not isinstance(result, TrainState):
        return jax.tree.map(lambda leaf: leaf[0], result)

    def join(leaf: jax.Array) -> jax.Array:
        return leaf.reshape(leaf.shape[0] * leaf.shape[1], *leaf.shape[2:])

    first = jax.tree.map(lambda leaf: leaf[0], (result.learner, result.key, result.num_updates))
    return TrainState(
        learner=first[0],
        actor=jax.tree.map(join, result.actor),
        curriculum=jax.tree.map(join, result.curriculum),
        key=first[1],
        num_updates=first[2],
    )


def must_loop(shard: Shard) -> bool:
    """Whether seeds on one device have to run one after another.

    Devices that are cores share their threads, and loops of mapped seeds on several of them wait for each
    other for ever.
    """
    return shard == "seeds" and devices_share_threads(len(devices()))


def choose_shard(wanted: Shard, num_parts: int, num_seeds: int) -> Shard:
    """What to shard: seeds, whatever was wanted, where environments stay whole and devices would idle.

    What is drawn is the same. Several processes do what they were told.
    """
    would_idle = num_parts == 1 and num_seeds > 1 and jax.process_count() == 1
    return "seeds" if would_idle else wanted


def arrange(shard: Shard, num_parts: int, num_seeds: int, most: int | None = None) -> Placement:
    """Lays a program out over the devices in use, of all processes.

    Args:
        shard: what is sharded.
        num_parts: into how many the environments are cut; where seeds are sharded, they are whole.
        num_seeds: of the program.
        most: devices to use at most; by default all that are in use.
    """
    count = num_seeds if shard == "seeds" else num_parts
    size = even_share(count, most or len(devices()))
    mesh = Mesh(np.array(devices()[:size]), (DEVICES,))
    if shard == "seeds":
        by_seed: Any = PartitionSpec(DEVICES)
        state = TrainState(
            learner=by_seed, actor=by_seed, curriculum=by_seed, key=by_seed, num_updates=by_seed
        )
        return Placement(mesh=mesh, axis=None, num_parts=1, state=state, by_seed=by_seed)
    axes = [DEVICES] * (size > 1) + [PARTS] * (size < num_parts)
    environments = PartitionSpec(None, DEVICES)
    state = TrainState(
        learner=EVERYWHERE,
        actor=environments,
        curriculum=environments,
        key=EVERYWHERE,
        num_updates=EVERYWHERE,
    )
    axis = tuple(axes) if len(axes) > 1 else axes[0] if axes else None
    return Placement(mesh=mesh, axis=axis, num_parts=num_parts // size, state=state, by_seed=EVERYWHERE)
