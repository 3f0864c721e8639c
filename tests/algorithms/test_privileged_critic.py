"""A critic that sees what is hidden from its policy: where it flows, and where it must not."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes import RewardIsCue

from envs.bikkle import Bikkle
from envs.memory import StatelessCartPole
from envs.wrappers import Occlusion
from purerl.algorithms.ppo import PPOConfig, make_ppo
from purerl.compile.program import train
from purerl.networks import MemoryConfig, NetworkConfig, make_memory_actor_critic
from purerl.rollout.unroll import unroll
from purerl.types import Views

NET = NetworkConfig(width=16, num_layers=1, head_width=0, activation="tanh", shared_encoder=False)
CONFIG = PPOConfig(
    num_envs=16,
    num_steps=8,
    num_epochs=1,
    num_minibatches=1,
    microbatch_size=0,
    learning_rate=1e-2,
    normalize_rewards=False,
)


def network_of(env, memory, encoder="mlp"):
    params = env.default_params
    return make_memory_actor_critic(env, params, encoder, NET, memory, MemoryConfig(width=16))


def batch_of(env, shape, key):
    """Observations of the space, leaves [*shape, ...]."""
    sample = env.observation_space(env.default_params).sample
    for _ in shape:
        sample = jax.vmap(sample)
    return sample(jax.random.split(key, shape))


@pytest.mark.parametrize(
    ("env", "encoder", "memory"),
    [
        (Occlusion(StatelessCartPole(), privileged=True), "mlp", "none"),
        (Occlusion(Bikkle(4), privileged=True), "attention", "gru"),
    ],
    ids=["array", "tokens and a memory"],
)
def test_the_policy_knows_nothing_of_what_the_critic_sees_and_the_critic_does(env, encoder, memory):
    network = network_of(env, memory, encoder)
    is_first = jnp.zeros((5, 3), bool)

    def outputs(params, views):
        """What the policy, and what the critic says, while acting, while learning and of successors."""
        carry, first = network.initial_carry(3), jax.tree.map(lambda leaf: leaf[0], views)
        _, acting, value = network.apply(params, carry, first, is_first[0], method="step")
        next_value = network.apply(params, carry, first, method="next_value")
        if memory == "none":
            learning, values = network.apply(params, jax.tree.map(jnp.concatenate, views))
        else:
            learning, values = network.apply(params, views, carry, is_first)
        said = [policy.log_prob(jnp.zeros_like(policy.mode())) for policy in (acting, learning)]
        return [sum(jnp.square(each).sum() for each in part) for part in (said, (value, values, next_value))]

    @jax.jit
    def gradients(params):
        views = batch_of(env, (5, 3), jax.random.key(1))
        one = lambda part: lambda views: outputs(params, views)[part]  # noqa: E731
        return [jax.grad(one(part), allow_int=True)(views) for part in (0, 1)]

    first = jax.eval_shape(partial(batch_of, env, (3,)), jax.random.key(1))
    init = partial(network.init, method="step")
    shapes = jax.eval_shape(init, jax.random.key(0), network.initial_carry(3), first, is_first[0])
    draw = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: 0.3 * draw.standard_normal(leaf.shape, np.float32), shapes)

    def size(tree):
        return max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(tree) if leaf.dtype == jnp.float32)

    of_policy, of_value = gradients(params)
    assert (size(of_policy.critic), size(of_value.actor)) == (0.0, 0.0)
    assert size(of_policy.actor) > 1e-4
    assert size(of_value.critic) > 1e-4


@dataclass(frozen=True)
class Aged(StatelessCartPole):
    """The critic sees how many steps the episode is old; the limit cuts it."""

    def observe_state(self, state, params):
        return Views(actor=super().observe_state(state, params), critic=state.time[None] * 1.0)


def test_what_follows_a_cut_episode_is_judged_by_what_the_critic_would_have_seen_there():
    env, num_envs = Aged(), 4
    params = env.default_params.replace(max_steps_in_episode=3)
    network = network_of(Occlusion(StatelessCartPole(), privileged=True), "none")
    state = make_ppo(env, network).init(
        jax.random.key(0), CONFIG.replace(num_envs=num_envs, env_params=params, stagger=False)
    )

    def act(carry, observation, is_first, key):
        return carry, jnp.zeros(num_envs, jnp.int32), jnp.zeros(num_envs), observation.critic[:, 0]

    _, transitions, _, _ = unroll(
        env, params, state.actor, state.curriculum.pool, jax.random.key(1), 5, act,
        value_of=lambda carry, observation: 100.0 + observation.critic[:, 0],
    )  # fmt: skip
    np.testing.assert_array_equal(transitions.value[:, 0], [0, 1, 2, 0, 1])
    np.testing.assert_array_equal(transitions.observation.critic[:, 0, 0], [0, 1, 2, 0, 1])
    # The third step is cut: its successor has the time 3. The last one is judged however it came about.
    np.testing.assert_array_equal(transitions.next_value[:, 0], [1, 2, 103, 1, 102])


@pytest.mark.parametrize("memory", ["none", "gru"])
@pytest.mark.parametrize("privileged", [False, True])
def test_a_privileged_critic_knows_the_value_of_what_nobody_sees(memory, privileged):
    # The reward is the cue, which is always hidden: the value is the cue for one, and 0 for the other.
    env = Occlusion(RewardIsCue(), privileged=privileged)
    config = CONFIG.replace(
        env_params=env.default_params.replace(share=1.0), normalize_observations=True, total_updates=60
    )
    algorithm = make_ppo(env, network_of(env, memory))
    _, metrics = jax.jit(partial(train, algorithm, num_updates=60))(config, jax.random.key(0))
    assert (float(metrics["explained_variance"][-1]) > 0.9) == privileged
    assert (metrics["approx_kl"][:2] < 1e-10).all()  # acting and learning see the same


def test_a_critic_that_sees_more_does_not_share_its_encoder():
    env = Occlusion(RewardIsCue(), privileged=True)
    shared = NET.replace(shared_encoder=True)
    with pytest.raises(ValueError, match=r"use --net\.no-shared-encoder"):
        make_memory_actor_critic(env, env.default_params, "mlp", shared, "gru")
