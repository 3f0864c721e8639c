"""An environment of your own: a line of eleven places, on which to walk to the one in the middle.

python examples/own_environment.py
"""

from collections import namedtuple
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp

from purerl import spaces
from purerl.algorithms.ppo import PPOConfig
from purerl.experiment import experiment
from purerl.run import cli
from purerl.run.experiment import Experiment, RunOptions

Params = namedtuple("Params", "max_steps_in_episode")
State = namedtuple("State", "place time")


class Line:
    name = "Line"
    default_params = Params(20)

    def reset_env(self, key, params):
        state = State(jax.random.randint(key, (), -5, 6), jnp.int32(0))
        return self.observe(state, params), state

    def step_env(self, key, state, action, params):  # 0 is a step to the left, 1 to the right
        state = State(jnp.clip(state.place + 2 * action - 1, -5, 5), state.time + 1)
        arrived = state.place == 0
        return self.observe(state, params), state, jnp.where(arrived, 1.0, -0.05), arrived, {}

    def is_truncated(self, state, params):  # cut by the clock: the return goes on, unseen
        return state.time >= params.max_steps_in_episode

    def observe(self, state, params):
        return jnp.stack([state.place / 5.0, 1.0])

    def observation_space(self, params):
        return spaces.Box(-1.0, 1.0, (2,))

    def action_space(self, params):
        return spaces.Discrete(2)


@dataclass(frozen=True)
class Config(RunOptions):
    ppo: PPOConfig = field(default_factory=lambda: PPOConfig(num_envs=64, num_steps=16, microbatch_size=0))


def build(config: Config) -> Experiment:
    return experiment("own-environment", Line(), config.ppo)


if __name__ == "__main__":
    cli.main(Config, build, description=__doc__)
