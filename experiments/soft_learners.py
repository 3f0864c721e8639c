"""What experiments with SAC share: devices, and the memory of the replay."""

from functools import partial
from typing import Any

import jax
from value_learners import ValueLearner, announced

from purerl.algorithms.exploration import action_form, check_bounded
from purerl.algorithms.off_policy import check_off_policy, example_experience, replay_of
from purerl.algorithms.sac import SACConfig, make_sac
from purerl.compile.program import build_program
from purerl.compile.runtime import available_memory
from purerl.networks.soft_actor_critic import SoftActorCritic
from purerl.replay import check_fits
from purerl.replay.buffers import events_in
from purerl.replay.memory import in_words


def make_sac_learner(
    env: Any, network: SoftActorCritic, config: SACConfig, num_seeds: int, max_devices: int
) -> ValueLearner:
    """SAC, ready for an `Experiment`.

    Args:
        env: an environment of the gymnax contract.
        network: that fits it.
        config: with the parameters of the environment in it.
        num_seeds: runs side by side, each with a replay of its own.
        max_devices: over how many devices to spread environments and batches at most; 0 for all there are.

    Raises:
        ValueError: one line, where it cannot be run, or its replay does not fit into memory.
    """
    check_off_policy(config, 1)
    check_bounded(env.action_space(config.env_params))
    example = example_experience(env, config.env_params, action_form(network))
    needed = check_fits(
        replay_of(config), example, config.capacity, config.num_envs, num_seeds, available_memory()
    )
    make = partial(make_sac, env, network)
    there_are = len(jax.devices())
    counts = range(min(max_devices or there_are, there_are), 0, -1)
    # Each part draws its own share of events, which must not be less than one sample.
    num_devices = next(
        n
        for n in counts
        if config.num_envs % n == 0
        and config.batch_size % n == 0
        and (not config.event_share or events_in(config.batch_size // n, config.event_share))
    )
    build = partial(announced, f"replay: {in_words(needed)}", partial(build_program, make, config))
    return ValueLearner(make=make, config=config, num_devices=num_devices, build_program=build)
