"""What a session takes over from an earlier one: its checkpoint, the shapes in it, the number of devices."""

from functools import partial
from typing import Any

import jax

from purerl.compile.placement import even_share
from purerl.host import printing, serialization
from purerl.host.errors import UserError
from purerl.run import checkpoint, device_choice, directory
from purerl.run.experiment import Session
from purerl.types import PyTree, TrainState


def chosen(session: Session) -> checkpoint.Checkpoint | None:
    """The checkpoint to go on from, which must have been written with the same configuration.

    Returns:
        The one that was asked for; by default the newest whole one, None where there is none.

    Raises:
        UserError: it was written with another configuration, or the configuration was changed meanwhile.
    """
    saved = checkpoint.find(
        session.run_dir / directory.CHECKPOINTS, session.checkpoint, partial(printing.warn, session.console)
    )
    if saved is not None:
        changes = serialization.difference(saved.manifest["config"], identity(session))
        if changes:
            file = session.run_dir / directory.CONFIG_FILE
            raise UserError(f"{file} is not what {saved.path.name} was made with: {'; '.join(changes[:4])}")
    directory.check_unchanged(session.run_dir, session.options, session.experiment)
    return saved


def identity(session: Session) -> serialization.Json:
    """What a checkpoint is made with: the configuration of what is learned, and for how many devices."""
    return directory.training_config(session.options) | {"num_devices": num_devices(session)}


def state_shape(session: Session, saved: checkpoint.Checkpoint) -> PyTree:
    """Shapes of the state of all seeds, without compiling anything.

    Where the run was spread over devices, what is not the learner's lies there in parts: a leaf may hold one
    number a device, or what each device remembers of its environments. Of it only the seeds are compared.
    """
    experiment = session.experiment
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), session.options.num_seeds))
    init = jax.vmap(lambda key: experiment.algorithm.init(key, experiment.algorithm_config))
    lengths = {leaf["path"]: leaf["shape"][1:] for leaf in saved.manifest["leaves"]}

    def as_saved(path, leaf):
        name = jax.tree_util.keystr(path).lstrip(".")
        if name.startswith("learner") or name not in lengths:
            return leaf
        return leaf.update(shape=(*leaf.shape[:1], *lengths[name]))

    return jax.tree_util.tree_map_with_path(as_saved, jax.eval_shape(init, keys))


def num_devices(session: Session) -> int:
    """For how many devices the run was cut when it began, which decides what it draws."""
    return directory.num_devices(session.run_dir)


def start(session: Session, program: Any, saved: checkpoint.Checkpoint | None) -> TrainState:
    """The state to train from: the saved one, or a new one where nothing was saved.

    Args:
        session: the run; told where it cannot end with the bits that it would have had on its own devices.
        program: what will train.
        saved: the checkpoint.

    Raises:
        UserError: the checkpoint does not fit the program.
    """
    num_parts = num_devices(session)
    begun_on = even_share(num_parts, device_choice.of_run(session.run_dir) or num_parts)
    if session.options.shard == "environments" and num_parts > 1 and begun_on != program.num_devices:
        printing.warn(
            session.console,
            f"the run began on {begun_on} devices and goes on with {program.num_devices}: it draws the same "
            "random numbers, and rounds otherwise",
        )
    return checkpoint.restore(saved, program.state_shape) if saved else program.init()
