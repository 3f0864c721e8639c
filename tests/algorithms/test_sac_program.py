"""SAC as a compiled program: mapped, sharded, stopped and resumed, without a copy of its replay."""

import re
from functools import partial

import jax
import numpy as np
import pytest
from probes import ContinuousTarget

from purerl.algorithms.sac import SACConfig, make_sac
from purerl.compile.program import build_program
from purerl.networks.soft_actor_critic import SoftNetworkConfig, make_soft_actor_critic
from purerl.replay.rows import unpack
from purerl.run import checkpoint
from purerl.run.checkpoint import snapshot

ENV = ContinuousTarget()
NETWORK = make_soft_actor_critic(ENV, ENV.default_params, "mlp", SoftNetworkConfig(width=16, head_width=0))
CONFIG = SACConfig(
    num_envs=8,
    num_iterations=16,
    num_gradient_steps=2,
    batch_size=32,
    capacity=2048,
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


@pytest.mark.parametrize("num_devices", [1, 2])
def test_a_seed_alone_equals_the_same_seed_among_others(num_devices):
    if len(jax.local_devices()) < num_devices:
        pytest.skip("one device only")
    together = run(program_of(num_devices, num_seeds=3))
    alone = run(program_of(num_devices, seed=2))
    equal(together, jax.tree.map(lambda leaf: leaf[0], alone), where=lambda leaf: leaf[2])


def test_looping_over_seeds_and_mapping_over_them_draw_the_same():
    looped, mapped = (run(program_of(num_seeds=2, width=width), num_chunks=1) for width in (1, 2))
    equal(looped.key, mapped.key)
    close = partial(np.testing.assert_allclose, atol=1e-4)
    jax.tree.map(close, looped.learner.params, mapped.learner.params)
    rows = (unpack(state.actor.replay.storage.rows) for state in (looped, mapped))
    jax.tree.map(close, *rows)


def test_a_run_resumed_in_mid_replay_ends_with_the_same_bits(tmp_path):
    program = program_of()
    whole = run(program)
    half = run(program, num_chunks=2)
    assert 0 < half.actor.replay.storage.num_rows < half.actor.replay.storage.rows.words.shape[2]
    architecture = checkpoint.describe(program.state_shape)
    checkpoint.save(tmp_path, half, architecture=architecture, chunk=2, config={}, keep=1)
    saved = checkpoint.restore(checkpoint.latest(tmp_path, print), program.state_shape)
    equal(run(program, saved, num_chunks=2), whole)


def test_no_step_copies_the_replay():
    config = CONFIG.replace(capacity=8 * 4321)
    algorithm = make_sac(ENV, NETWORK)
    update = jax.jit(lambda state: algorithm.update(state, config)[0], donate_argnums=0)
    state = jax.eval_shape(lambda key: algorithm.init(key, config), jax.random.key(0))
    lines = update.lower(state).compile().as_text().splitlines()
    rings = [line for line in lines if re.search(r"= \w+\[(8,4321|34568),", line)]
    assert rings
    assert not [line for line in rings if " copy(" in line]


def test_no_key_is_used_twice():
    algorithm = make_sac(ENV, NETWORK)
    with jax.debug_key_reuse(True):
        state = jax.jit(algorithm.init)(jax.random.key(0), CONFIG)
        jax.jit(algorithm.update)(state, CONFIG)
