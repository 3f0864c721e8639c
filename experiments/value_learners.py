"""What experiments with DQN and PQN share: the choice between them, and the memory of the replay."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

from purerl.algorithms.dqn import ACTION, DQNConfig, make_dqn
from purerl.algorithms.off_policy import check_off_policy, example_experience, replay_of
from purerl.algorithms.pqn import PQNConfig, make_pqn
from purerl.compile.program import Program, build_program, usable_devices
from purerl.compile.runtime import available_memory
from purerl.networks import QNetwork
from purerl.replay import check_fits
from purerl.replay.memory import in_words
from purerl.types import Curriculum

AlgorithmName = Literal["dqn", "pqn"]


def unread_learner(algorithm: AlgorithmName) -> dict[str, str]:
    """The options of the learner that was not chosen, and why they have no effect."""
    return {"pqn" if algorithm == "dqn" else "dqn": f"--algorithm {algorithm}"}


class ValueLearner(NamedTuple):
    """A learner of action values, ready for an `Experiment`.

    Attributes:
        make: `(axis_name) -> Algorithm`.
        config: its configuration, with the parameters of the environment in it.
        num_devices: over how many devices of this machine it can be spread.
        build_program: as `Experiment` wants it.
    """

    make: Callable[..., Any]
    config: Any
    num_devices: int
    build_program: Callable[..., Program]


def make_dqn_learner(
    env: Any, network: QNetwork, config: DQNConfig, num_seeds: int, curriculum: Curriculum | None = None
) -> ValueLearner:
    """DQN. Raises ValueError where it cannot be run, or its replay does not fit into memory."""
    check_off_policy(config, 1)
    example = example_experience(env, config.env_params, ACTION)
    needed = check_fits(
        replay_of(config), example, config.capacity, config.num_envs, num_seeds, available_memory()
    )
    make = partial(make_dqn, env, network, curriculum=curriculum)
    return ValueLearner(
        make=make,
        config=config,
        # Gradient steps are too small to be worth a collective each.
        num_devices=1,
        build_program=partial(announced, f"replay: {in_words(needed)}", partial(build_program, make, config)),
    )


def make_pqn_learner(
    env: Any, network: QNetwork, config: PQNConfig, curriculum: Curriculum | None = None
) -> ValueLearner:
    """PQN. Raises ValueError where it cannot be run."""
    make = partial(make_pqn, env, network, curriculum=curriculum)
    algorithm = make()
    algorithm.check(config, 1)
    return ValueLearner(
        make=make,
        config=config,
        num_devices=usable_devices(algorithm, config),
        build_program=partial(build_program, make, config),
    )


def announced(sentence: str, build: Callable[..., Program], **options: Any) -> Program:
    """Says a sentence, then compiles."""
    print(sentence, flush=True)
    return build(**options)
