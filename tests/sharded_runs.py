"""Small runs on several devices, for `test_sharding.py`: `python sharded_runs.py ROOM`."""

import sys
from functools import partial
from pathlib import Path
from unittest import mock

import jax
import numpy as np
from probes import ActionFollowsCue

from purerl.algorithms.dqn import DQNConfig, make_dqn
from purerl.algorithms.ppo import PPOConfig, make_ppo
from purerl.algorithms.pqn import PQNConfig, make_pqn
from purerl.compile.program import build_program
from purerl.compile.runtime import enable_compilation_cache
from purerl.networks import NetworkConfig, QNetworkConfig, make_actor_critic, make_q_network
from purerl.run import checkpoint

ENV = ActionFollowsCue(num_actions=2)
NETWORK = make_actor_critic(ENV, ENV.default_params, "mlp", NetworkConfig(width=8, head_width=0))
SIZES = {"num_envs": 16, "num_steps": 8, "num_minibatches": 4, "microbatch_size": 0}
PPO = partial(make_ppo, ENV, NETWORK), PPOConfig(**SIZES, env_params=ENV.default_params)


def by_value(make):
    """As `PPO`, for an algorithm that learns values of actions."""
    return partial(make, ENV, make_q_network(ENV, ENV.default_params, "mlp", QNetworkConfig(width=64)))


PQN = by_value(make_pqn), PQNConfig(**SIZES, env_params=ENV.default_params)
DQN = (
    by_value(make_dqn),
    DQNConfig(
        num_envs=16,
        num_steps=8,
        learn_every=2,
        buffer_size=512,
        warmup_steps=64,
        env_params=ENV.default_params,
    ),
)


def program_on(count, algorithm=PPO, **options):
    """Four chunks of 128 steps, on the first `count` devices."""
    devices = jax.devices()[:count]
    with mock.patch("jax.devices", lambda: devices):
        return build_program(*algorithm, total_steps=4 * 128, target_chunks=4, **options)


def advance(program, state, num_chunks):
    """The state after so many chunks, on the host; metrics of the last; and the state, which goes on."""
    for _ in range(num_chunks):
        state, metrics = program.chunk(state)
    return checkpoint.snapshot(state), jax.device_get(metrics), state


def same(ours, theirs):
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def near(ours, theirs):
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5), ours, theirs)


def main(room):
    assert len(jax.devices()) == 8
    alone = program_on(1, seed=5)
    by_itself = advance(alone, alone.init(), 4)[:2]
    seeds, together = program_on(4, num_seeds=8, shard="seeds"), program_on(1, num_seeds=8)
    assert (seeds.num_devices, together.num_devices) == (4, 1)
    start = seeds.init()
    assert len(start.num_updates.sharding.device_set) == 4
    dealt, looped = advance(seeds, start, 4)[:2], advance(together, together.init(), 4)[:2]
    same(dealt, looped)
    same(jax.tree.map(lambda leaf: leaf[5:6], looped), by_itself)
    for algorithm in (PQN, DQN):
        alone, looped = (program_on(1, algorithm, **which) for which in ({"seed": 5}, {"num_seeds": 6}))
        by_itself, among = (advance(each, each.init(), 4)[:2] for each in (alone, looped))
        same(by_itself, jax.tree.map(lambda leaf: leaf[5:6], among))

    found = {}
    for count in (8, 2):
        program = program_on(count, num_devices=8)
        assert program.num_devices == count
        before, _, state = advance(program, program.init(), 2)
        if count == 8:
            assert len(state.actor.observation.sharding.device_set) == 8
            written = checkpoint.describe(program.state_shape)
            settings = {"architecture": written, "chunk": 2, "config": {}, "keep": 1}
            checkpoint.save(room, before, **settings)
        else:
            saved = checkpoint.latest(room, print)
            state = checkpoint.restore(saved, program.state_shape)
            near(before, checkpoint.snapshot(state))
        found[count] = advance(program, state, 2)[:2]
    near(found[8], found[2])
    print("all as one")


if __name__ == "__main__":
    enable_compilation_cache()
    main(Path(sys.argv[1]))
