"""One call makes an experiment: an environment, the configuration of an algorithm, and what differs."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from purerl import ranges
from purerl.algorithms import Registered, of_config
from purerl.compile.program import LEAST_ENVS, Program, build_program, usable_devices
from purerl.compile.runtime import available_memory
from purerl.contracts import check_environment
from purerl.curriculum import CurriculumOptions, make_curriculum
from purerl.curriculum.options import check_pool
from purerl.experiment.evaluation import World
from purerl.networks.families import FAMILIES
from purerl.replay import check_fits
from purerl.replay.memory import in_words
from purerl.rollout.levels import pool_size
from purerl.run.experiment import Experiment, no_report
from purerl.types import Algorithm, Curriculum, Levels, PyTree, TrainState

_MOST_KEPT = 8
_kept: list[tuple[Any, Any]] = []
"""Environments that keep their contract, with the form of their parameters: the last few."""

Evaluate = Callable[[Algorithm, PyTree, int], dict[str, Any]]
Score = Callable[[Algorithm, PyTree, int, int], Any]
Report = Callable[[Algorithm, Path, TrainState, dict[str, Any], Console], None]


def experiment(
    name: str,
    env: Any,
    algorithm: Any,
    network: Any = "mlp",
    *,
    params: Any = None,
    curriculum: Curriculum | CurriculumOptions | None = None,
    levels: Levels | None = None,
    evaluate: Evaluate | None = None,
    score: Score | None = None,
    report: Report | None = None,
    eval_episodes: int = 200,
    title: str | None = None,
    scored: tuple[str, ...] = (),
    return_metric: str = "episode_return",
    num_seeds: int = 1,
    max_devices: int = 0,
    **parts: Any,
) -> Experiment:
    """An experiment, checked, and cut for the devices of this machine.

    Args:
        name: short name, the first part of the default run directory.
        env: an environment of the gymnax contract.
        algorithm: configuration of one; its class says which, as `PPOConfig(learning_rate=1e-3)`.
        network: of the family that the algorithm needs, or the name of an encoder, as "attention".
        params: of the environment; by default those in the configuration, else `default_params`.
        curriculum: what fills the pool of levels, or with `levels` its options; by default fresh ones.
        levels: what the environment offers to a curriculum.
        evaluate: `(algorithm, learners [S, ...], seed) -> nested dict`; by default greedy returns.
        score: `(algorithm, learners, seed, num_episodes) -> [S]`, the same in short, if there is that.
        report: `(algorithm, run_dir, state, summary, console)`; by default a table of greedy returns.
        eval_episodes: of the default evaluation, for each seed.
        title: of the environment in the default table; by default its name.
        scored: names that lead to the part of the evaluation that a run is scored by.
        return_metric: what the display shows, and checkpoints are compared by.
        num_seeds: runs side by side, each with a replay of its own where there is one.
        max_devices: over how many devices environments are cut at most; 0 for all there are.
        **parts: what else the algorithm's `make` takes.

    Raises:
        ValueError: one line that says what is wrong, before anything is compiled.
    """
    _check_counts(eval_episodes=(eval_episodes, 1), max_devices=(max_devices, 0))
    if params is None:
        usual = getattr(env, "default_params", None)
        params = usual if algorithm.env_params is None else algorithm.env_params
    config = algorithm.replace(env_params=params)
    trained = _trained(env, network, config, curriculum, levels, parts, num_seeds, max_devices)
    world = World(title or str(getattr(env, "name", name)), env, params, eval_episodes)
    judged = _judged(trained["algorithm"], world, evaluate, score, report)
    return Experiment(name=name, scored=scored, return_metric=return_metric, **trained, **judged)


def _trained(
    env: Any,
    network: Any,
    config: Any,
    curriculum: Curriculum | CurriculumOptions | None,
    levels: Levels | None,
    parts: dict[str, Any],
    num_seeds: int,
    max_devices: int,
) -> dict[str, Any]:
    """The part of an experiment that trains."""
    entry = of_config(config)
    ranges.check(config)
    _check_contract(env, config.env_params)
    if isinstance(network, str):
        family = FAMILIES[entry.network]
        network = family.make(env, config.env_params, network, family.config(**entry.network_options))
    chosen = _curriculum(curriculum, levels)
    make = partial(entry.make, env, network, curriculum=chosen, **parts)
    algorithm = make()
    algorithm.check(config, 1)
    num_devices = devices_for(entry, algorithm, config, max_devices)
    if isinstance(curriculum, CurriculumOptions) and levels is not None:
        check_pool(curriculum, pool_size(config.num_levels, config.num_envs, num_devices))
    announcement = _replay_in_words(algorithm, config, num_seeds)
    return {
        "algorithm": algorithm,
        "algorithm_config": config,
        "num_devices": num_devices,
        "build_program": partial(_build, announcement, make, config),
    }


def _judged(
    algorithm: Algorithm, world: World, evaluate: Evaluate | None, score: Score | None, report: Report | None
) -> dict[str, Any]:
    """The part of an experiment that judges; an own evaluation goes without the world's score and report."""
    usual = evaluate is None
    score = score or (world.score if usual else None)
    report = report or (world.report if usual else None)
    return {
        "evaluate": partial(evaluate or world.evaluate, algorithm),
        "score": partial(score, algorithm) if score else None,
        "report": partial(report, algorithm) if report else no_report,
    }


def devices_for(entry: Registered, algorithm: Algorithm, config: Any, most: int = 0) -> int:
    """Over how many devices of this machine the environments are cut.

    Args:
        entry: of the algorithm.
        algorithm: as it was made.
        config: its configuration.
        most: at most so many; 0 for all there are.
    """
    if entry.cut == "nothing":
        return 1
    return usable_devices(algorithm, config, most, LEAST_ENVS if entry.cut == "rollouts" else 1)


def _check_counts(**counts: tuple[int, int]) -> None:
    for name, (value, least) in counts.items():
        if value < least:
            raise ValueError(f"{name} = {value} must be {'at least 1' if least else '0 or more'}")


def _check_contract(env: Any, params: Any) -> None:
    """Whether the environment keeps its contract; members of a sweep, which have equal ones, ask once."""
    structure = jax.tree.structure(params)
    try:
        known = (env, structure) in _kept
    except TypeError:  # one that cannot be compared
        known = False
    if not known:
        check_environment(env, params)
        _kept.append((env, structure))
        del _kept[:-_MOST_KEPT]


def _curriculum(asked: Curriculum | CurriculumOptions | None, levels: Levels | None) -> Curriculum | None:
    if not isinstance(asked, CurriculumOptions):
        return asked
    if levels is None:
        raise ValueError("options of a curriculum need levels=...: what the environment offers to it")
    return make_curriculum(levels, asked)


def _replay_in_words(algorithm: Algorithm, config: Any, num_seeds: int) -> str:
    """What the replay takes in memory; nothing where there is none. Refuses one that does not fit."""
    if algorithm.replay is None:
        return ""
    kind, example = algorithm.replay(config)
    needed = check_fits(kind, example, config.buffer_size, config.num_envs, num_seeds, available_memory())
    return f"replay: {in_words(needed)}"


def _build(announcement: str, make: Callable[..., Algorithm], config: Any, **options: Any) -> Program:
    """Says how large everything is, then compiles."""
    if announcement:
        print(announcement, flush=True)
    return build_program(make, config, **options)
