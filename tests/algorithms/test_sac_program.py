"""SAC as a compiled program: the bits of its seeds, and no copy of its replay."""

import re
from functools import partial

import jax
import numpy as np
from probes import ContinuousTarget

from purerl.algorithms.sac import SACConfig, make_sac
from purerl.compile.program import build_program
from purerl.networks.soft_actor_critic import SoftNetworkConfig, make_soft_actor_critic
from purerl.run.checkpoint import snapshot

ENV = ContinuousTarget()
NETWORK = make_soft_actor_critic(ENV, ENV.default_params, "mlp", SoftNetworkConfig(width=16, head_width=0))
CONFIG = SACConfig(
    num_envs=8,
    num_steps=16,
    num_gradient_steps=2,
    batch_size=32,
    buffer_size=2048,
    warmup_steps=64,
    num_return_steps=2,
    event_share=0.25,
    learning_rate=1e-2,
    env_params=ENV.default_params,
)


def program_of(num_devices=1, **options):
    settings = {"seed": 0, "num_seeds": 1, "total_steps": 128 * 4, "target_chunks": 4} | options
    return build_program(partial(make_sac, ENV, NETWORK), CONFIG, num_devices=num_devices, **settings)


def run(program, state=None, num_chunks=None):
    """The state after some chunks, on the host."""
    state = program.init() if state is None else state
    for _ in range(num_chunks or program.num_chunks):
        state, _ = program.chunk(state)
    return snapshot(state)


def equal(one, other, where=lambda leaf: leaf):
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(where(a), b), one, other)


def test_a_seed_alone_has_the_bits_of_the_same_seed_among_others():
    num_devices = min(2, len(jax.local_devices()))
    together = run(program_of(num_devices, num_seeds=2))
    alone = run(program_of(num_devices, seed=1))
    equal(together, jax.tree.map(lambda leaf: leaf[0], alone), where=lambda leaf: leaf[1])


def test_no_step_copies_the_replay():
    config = CONFIG.replace(buffer_size=8 * 4321)
    algorithm = make_sac(ENV, NETWORK)
    update = jax.jit(lambda state: algorithm.update(state, config)[0], donate_argnums=0)
    state = jax.eval_shape(lambda key: algorithm.init(key, config), jax.random.key(0))
    lines = update.lower(state).compile().as_text().splitlines()
    rings = [line for line in lines if re.search(r"= \w+\[(8,4321|34568),", line)]
    assert rings
    assert not [line for line in rings if " copy(" in line]
