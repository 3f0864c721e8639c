"""A fake experiment with a real program: random walks that take no time to compile, for tests of the host.

Run it as a script, like a real experiment.
"""

import functools
import signal
import time
from dataclasses import dataclass, field
from typing import Literal

import jax
import jax.numpy as jnp
import optax
from flax import struct

from purerl.compile import placement
from purerl.functional.metrics import pack
from purerl.ranges import Count, NotNegative, Number, Positive, Unlimited
from purerl.run import cli
from purerl.run.experiment import Experiment, RunOptions, Steps
from purerl.types import Algorithm, Mean, TrainState

UPDATES_PER_CHUNK = 2
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


@struct.dataclass
class FakeConfig:
    """The algorithm."""

    learning_rate: NotNegative = 1e-2
    """Step size of Adam."""
    max_grad_norm: Unlimited = float("inf")
    """Largest norm of the gradient."""
    num_envs: Count = struct.field(default=4, pytree_node=False)
    """Environments side by side."""
    width: Count = struct.field(default=8, pytree_node=False)
    """Units in the layer."""


@struct.dataclass
class FakeEnvParams:
    """The environment."""

    wind: Number = 1.5
    """Speed of the wind, in meters a second."""
    gains: tuple[NotNegative, NotNegative] = (1.0, 2.0)
    """Gain of each motor."""
    limit: Positive | None = None
    """Highest speed, in meters a second, that the motors may reach with the wind behind them and both gains
    at their largest. No limit where it is
    not given."""


@dataclass(frozen=True)
class Config(RunOptions):
    """A fake experiment: it learns nothing and takes no time."""

    total_steps: Steps = 160
    """Environment steps for each seed."""
    network: Literal["mlp", "attention"] = "mlp"
    """The network."""
    nan_at_update: int = -1
    """Update in which the loss of the first seed becomes NaN."""
    seconds_per_chunk: float = 0.0
    """How long each chunk sleeps."""
    num_fast_chunks: int = 0
    """How many chunks come before the first that sleeps."""
    tally_devices: bool = False
    """Whether the state holds one number for each device."""
    algorithm: FakeConfig = field(default_factory=FakeConfig)
    env: FakeEnvParams = field(default_factory=FakeEnvParams)


def make_algorithm(settings: FakeConfig) -> Algorithm:
    optimizer = optax.adam(settings.learning_rate)

    def init(key, settings):
        key, child = jax.random.split(key)
        params = {
            "dense": {
                "kernel": jax.random.normal(child, (3, settings.width)),
                "bias": jnp.zeros(settings.width),
            }
        }
        learner = {"params": params, "optimizer": optimizer.init(params), "count": jnp.zeros((), jnp.int32)}
        actor = {
            "position": jnp.zeros((settings.num_envs, 2)),
            "ended": jnp.zeros(settings.num_envs, bool),
            "tally": jnp.zeros(1),
        }
        return TrainState(
            learner=learner, actor=actor, curriculum=(), key=key, num_updates=jnp.zeros((), jnp.int32)
        )

    def update(state, settings):
        key, noise_key = jax.random.split(state.key)
        params = state.learner["params"]
        loss, gradient = jax.value_and_grad(loss_of)(params, noise_key)
        updates, optimizer_state = optimizer.update(gradient, state.learner["optimizer"])
        learner = {
            "params": optax.apply_updates(params, updates),
            "optimizer": optimizer_state,
            "count": state.learner["count"] + 1,
        }
        actor = {
            "position": state.actor["position"] + jax.random.normal(key, (settings.num_envs, 2)),
            "ended": ~state.actor["ended"],
            "tally": state.actor["tally"] + 1,
        }
        one = jnp.ones(())
        metrics = {
            "policy_loss": Mean(total=loss, weight=one),
            "gradient_norm": Mean(total=optax.tree.norm(gradient), weight=one),
            "episode_return": Mean(total=actor["position"].sum(), weight=one),
            "learning_rate": Mean(total=one * settings.learning_rate, weight=one),
            "never": Mean(total=0 * one, weight=0 * one),
        }
        state = state.replace(learner=learner, actor=actor, key=key, num_updates=state.num_updates + 1)
        return state, pack(metrics)

    return Algorithm(
        init=init, update=update, policy=None, steps_per_update=lambda settings: settings.num_envs
    )


def loss_of(params, key):
    target = jax.random.normal(key, params["dense"]["kernel"].shape)
    return jnp.square(params["dense"]["kernel"] + params["dense"]["bias"] - target).mean()


class Program:
    """What `purerl.compile.program.build_program` gives, made by hand."""

    compile_seconds = 0.0

    def __init__(self, config, algorithm, *, seed, num_seeds, total_steps, num_devices=1, shard=None):
        self.steps_per_chunk = UPDATES_PER_CHUNK * algorithm.steps_per_update(config.algorithm)
        self.num_chunks = total_steps // self.steps_per_chunk
        init, self.compiled = compiled(config.algorithm, num_devices if config.tally_devices else 1)
        self.num_devices = min(num_devices, len(placement.devices()))
        # What is drawn depends on the number of devices, as it does in a program that is spread over them.
        keys = jax.vmap(jax.random.key)(1000 * num_devices + jnp.arange(seed, seed + num_seeds))
        self.init = lambda: init(keys)
        self.state_shape = jax.eval_shape(init, keys)
        self.seconds = iter([0.0] * config.num_fast_chunks + [config.seconds_per_chunk] * self.num_chunks)
        self.nan_at_update = jnp.full(num_seeds, -1).at[0].set(config.nan_at_update)

    def chunk(self, state):
        # Like a compiled program, keep Python from running its signal handlers meanwhile.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        time.sleep(next(self.seconds))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return self.compiled(state, self.nan_at_update)


@functools.cache
def compiled(settings, num_tallies):
    algorithm = make_algorithm(settings)

    def one_seed(state, nan_at_update):
        totals = []
        for _ in range(UPDATES_PER_CHUNK):
            poison = jnp.where(state.num_updates == nan_at_update, jnp.nan, 0.0)
            params = poisoned(state.learner["params"], poison)
            state = state.replace(learner=state.learner | {"params": params})
            state, metrics = algorithm.update(state, settings)
            totals.append(metrics)
        return state, jax.tree.map(lambda *values: sum(values), *totals)

    def init(key):
        state = algorithm.init(key, settings)
        return state.replace(actor=state.actor | {"tally": jnp.zeros(num_tallies)})

    return jax.jit(jax.vmap(init)), jax.jit(jax.vmap(one_seed), donate_argnums=0)


def poisoned(params, poison):
    return jax.tree.map(lambda leaf: leaf + poison, params)


def evaluate(learner, seed):
    kernel = learner["params"]["dense"]["kernel"]
    return {"seed": seed, "kernel_sum": kernel.sum(axis=(1, 2)), "nested": {"steps": learner["count"]}}


def build(config):
    if config.total_steps % (UPDATES_PER_CHUNK * config.algorithm.num_envs):
        raise ValueError(
            f"total_steps = {config.total_steps} is not divisible by {2 * config.algorithm.num_envs}"
        )
    algorithm = make_algorithm(config.algorithm)
    return Experiment(
        name="fake",
        algorithm=algorithm,
        algorithm_config=config.algorithm,
        num_devices=1,
        build_program=lambda **sizes: Program(config, algorithm, **sizes),
        evaluate=evaluate,
    )


if __name__ == "__main__":
    cli.main(Config, build)
