"""A synthetic experiment with a moving optimum, for sweeps and populations: what a member learns in an update
is known, and it is the more the nearer its rate is to an optimum that rises from 0.001 to 0.1.
"""

from dataclasses import dataclass, field
from functools import partial

import jax
import jax.numpy as jnp
from flax import struct

from purerl.compile.program import build_program
from purerl.functional.metrics import as_mean, pack
from purerl.run import cli
from purerl.run.experiment import Experiment, RunOptions, Steps
from purerl.types import Algorithm, Mean, TrainState

LOW, HIGH = 1e-3, 1e-1


@struct.dataclass
class TrackerConfig:
    """The learner."""

    rate: float = 1e-2
    """To be near the optimum, above 0."""
    bonus: float = 0.0
    """Added to what an update gains."""
    noise: float = 0.1
    """Standard deviation of what chance adds."""
    width: int = struct.field(pytree_node=False, default=1)
    """Numbers that are learned."""
    episode_length: int = 1
    """Updates that an episode takes; its return is told in the last one of them."""
    total_updates: int = 1
    """Set by the program."""


@dataclass(frozen=True)
class Config(RunOptions):
    """A task that is known."""

    total_steps: Steps = 100
    """Updates."""
    scale: float = 1.0
    """Closed over by the program."""
    tracker: TrackerConfig = field(default_factory=TrackerConfig)


def gain(rate, progress):
    """What an update gains, at most 1; half a unit of the logarithm away from the optimum it is 1 / e."""
    optimum = jnp.log(LOW) + progress * jnp.log(HIGH / LOW)
    return jnp.exp(-(((jnp.log(rate) - optimum) / 0.5) ** 2))


def make_tracker(scale, axis_name=None):
    def init(key, config):
        return TrainState(
            learner={"skill": jnp.zeros(config.width)},
            actor={},
            curriculum={},
            key=key,
            num_updates=jnp.int32(0),
        )

    def update(state, config):
        key, child = jax.random.split(state.key)
        gained = gain(config.rate, state.num_updates / config.total_updates) + config.bonus
        chance = config.noise * jax.random.normal(child, (config.width,))
        learner = {"skill": state.learner["skill"] + scale * gained + chance}
        ends = jnp.float32((state.num_updates + 1) % config.episode_length == 0)
        metrics = pack(
            {
                "episode_return": Mean(total=ends * learner["skill"].mean(), weight=ends),
                "loss": as_mean(gained),
            }
        )
        return state.replace(learner=learner, key=key, num_updates=state.num_updates + 1), metrics

    return Algorithm(init=init, update=update, policy=None, steps_per_update=lambda config: 1)


def build(config):
    if not config.tracker.rate > 0:
        raise ValueError(f"rate = {config.tracker.rate} must be above 0")
    make = partial(make_tracker, config.scale)
    return Experiment(
        name="tracking",
        algorithm=make(),
        algorithm_config=config.tracker,
        num_devices=1,
        build_program=partial(build_program, make, config.tracker),
        evaluate=lambda learner, seed: {"skill": learner["skill"].mean(1)},
    )


if __name__ == "__main__":
    cli.main(Config, build)
