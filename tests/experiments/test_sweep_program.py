"""A member of a sweep draws what the same run alone draws, however members are laid out."""

from functools import partial

import jax
import numpy as np
import pytest
from probes import ActionFollowsCue

from purerl.algorithms.ppo import PPOConfig, make_ppo
from purerl.compile.program import Members, build_program
from purerl.networks import NetworkConfig, make_actor_critic

ENV = ActionFollowsCue(num_actions=2)
NETWORK = make_actor_critic(ENV, ENV.default_params, "mlp", NetworkConfig(width=8, head_width=0))
CONFIG = PPOConfig(
    num_envs=8, num_steps=8, num_minibatches=2, microbatch_size=0, env_params=ENV.default_params
)
RATES, GAMMAS, SEEDS = [1e-3, 1e-2, 3e-3, 1e-4], [0.9, 0.99, 0.95, 0.9], [0, 0, 1, 5]
MEMBERS = Members(SEEDS, {"learning_rate": np.array(RATES), "gamma": np.array(GAMMAS)})


def build(members, config, **options):
    make = partial(make_ppo, ENV, NETWORK)
    return build_program(make, config, total_steps=64 * 4, target_chunks=2, members=members, **options)


def on_host(state, metrics):
    return jax.device_get((state.replace(key=jax.random.key_data(state.key)), metrics))


def run(members=None, config=CONFIG, **options):
    program = build(members, config, **options)
    state = program.init()
    for _ in range(2):
        state, metrics = program.chunk(state)
    return on_host(state, metrics)


@pytest.fixture(scope="module")
def looped():
    """Members one after another, in two groups that go through one program."""
    groups = [Members(SEEDS[i : i + 2], {k: v[i : i + 2] for k, v in MEMBERS.varied.items()}) for i in (0, 2)]
    program = build(groups[0], CONFIG, width=1)
    found = []
    for group in groups:
        state, varied = program.begin(group), program.place(group.varied)
        for _ in range(2):
            state, metrics = program.advance(state, varied)
        found.append(on_host(state, metrics))
    return jax.tree.map(lambda *parts: np.concatenate(parts), *found)


def test_a_member_draws_what_the_same_run_alone_draws(looped):
    member = 2
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
