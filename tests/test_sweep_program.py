"""A member of a sweep draws what the same run alone draws, however members are laid out."""

from functools import partial

import jax
import numpy as np
import pytest
from probes import ActionFollowsCue

from purerl.algorithms.ppo import PPOConfig, make_ppo
from purerl.networks import NetworkConfig, make_actor_critic
from purerl.train import Members, build_program

ENV = ActionFollowsCue(num_actions=2)
NETWORK = make_actor_critic(ENV, ENV.default_params, "mlp", NetworkConfig(width=8, head_width=0))
CONFIG = PPOConfig(
    num_envs=8, num_steps=8, num_minibatches=2, microbatch_size=0, env_params=ENV.default_params
)
RATES, GAMMAS, SEEDS = [1e-3, 1e-2, 3e-3, 1e-4], [0.9, 0.99, 0.95, 0.9], [0, 0, 1, 5]
MEMBERS = Members(SEEDS, {"learning_rate": np.array(RATES), "gamma": np.array(GAMMAS)})


def run(members=None, config=CONFIG, num_chunks=2, **options):
    program = build_program(
        partial(make_ppo, ENV, NETWORK),
        config,
        total_steps=64 * 4,
        target_chunks=2,
        members=members,
        **options,
    )
    state = program.init()
    for _ in range(num_chunks):
        state, metrics = program.chunk(state)
    return jax.device_get((state.replace(key=jax.random.key_data(state.key)), metrics))


@pytest.fixture(scope="module")
def looped():
    return run(MEMBERS, width=1)


@pytest.mark.parametrize("member", [1, 2])
def test_a_member_draws_what_the_same_run_alone_draws(looped, member):
    alone = CONFIG.replace(learning_rate=RATES[member], gamma=GAMMAS[member])
    state, metrics = run(config=alone, seed=SEEDS[member])
    together = jax.tree.map(lambda leaf: leaf[member : member + 1], looped)
    np.testing.assert_array_equal(state.key, together[0].key)
    np.testing.assert_array_equal(state.actor.env_state.cue, together[0].actor.env_state.cue)
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5),
        (state.learner, metrics),
        (together[0].learner, together[1]),
    )
    other = jax.tree.map(lambda leaf: leaf[0], looped[0].learner.params)
    assert any(jax.tree.leaves(jax.tree.map(lambda a, b: (a != b).any(), state.learner.params, other)))


@pytest.mark.parametrize("width", [2, 4])
def test_the_layout_does_not_change_what_is_drawn(looped, width):
    state, metrics = run(MEMBERS, width=width)
    np.testing.assert_array_equal(state.key, looped[0].key)
    np.testing.assert_array_equal(state.actor.env_state.cue, looped[0].actor.env_state.cue)
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4),
        (state.learner.params, metrics),
        (looped[0].learner.params, looped[1]),
    )


def test_one_program_trains_one_group_after_another(looped):
    halves = [Members(SEEDS[i : i + 2], {k: v[i : i + 2] for k, v in MEMBERS.varied.items()}) for i in (0, 2)]
    program = build_program(
        partial(make_ppo, ENV, NETWORK),
        CONFIG,
        total_steps=64 * 4,
        target_chunks=2,
        members=halves[0],
        width=1,
    )
    state = program.begin(halves[1])
    varied = program.place(halves[1].varied)
    for _ in range(2):
        state, _ = program.advance(state, varied)
    jax.tree.map(
        lambda a, b: np.testing.assert_array_equal(a, b[2:]),
        jax.device_get(state.learner.params),
        looped[0].learner.params,
    )
