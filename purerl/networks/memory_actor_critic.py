"""An actor and a critic that remember: an encoder of each observation, a memory across steps, and heads.

Axes: T time, B samples, W width; the leaves of a carry are [B, ...].
"""

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp

from purerl.networks.actor_critic import ActorCritic, Heads, seen_by
from purerl.networks.by_name import NetworkConfig, NetworkName, make_actor_critic
from purerl.networks.layers import Dense, EncoderFactory
from purerl.networks.memory import MemoryConfig, MemoryFactory, MemoryName, check_memory, make_memory
from purerl.types import Environment, Params, PyTree


class Trunk(nn.Module):
    """What comes before a head: an encoder, a map to the width of the memory, and the memory."""

    encoder: EncoderFactory
    memory: MemoryFactory

    def setup(self):
        """Builds the three."""
        self.encode = self.encoder(name="encode")
        self.remember = self.memory(name="remember")
        self.embed = Dense(self.remember.width, scale=1.0)

    def step(self, carry: PyTree, observation: PyTree, is_first: jax.Array) -> tuple[PyTree, jax.Array]:
        """One step: the new carry, and features, float32 [W, B]."""
        return self.remember.step(carry, self.embed(self.encode(observation).T), is_first)

    def __call__(self, carry: PyTree, observation: PyTree, is_first: jax.Array) -> jax.Array:
        """A segment of observations [T, B, ...]: features, float32 [W, T, B]."""
        samples = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), observation)
        features = self.embed(self.encode(samples).T)  # [W, T * B]
        return self.remember(carry, features.reshape(-1, *is_first.shape), is_first)


class MemoryActorCritic(Heads, kw_only=True):
    """A policy and a value for each step of an episode, knowing the steps before.

    Attributes:
        memory: makes a memory.
    """

    memory: MemoryFactory

    def setup(self):
        """Builds the trunks and the heads."""
        super().setup()
        self.actor_trunk = Trunk(self.encoder, self.memory)
        if not self.shared_encoder:
            self.critic_trunk = Trunk(self.encoder, self.memory)

    @nn.nowrap
    def initial_carry(self, batch: int) -> dict[str, PyTree]:
        """What B environments remember before their first step: nothing; leaves [B, ...]."""
        names = ("actor",) if self.shared_encoder else ("actor", "critic")
        return {name: self.memory().initial(batch) for name in names}

    def step(
        self, carry: dict[str, PyTree], observation: PyTree, is_first: jax.Array
    ) -> tuple[dict[str, PyTree], distrax.Distribution, jax.Array]:
        """One step of B environments.

        Args:
            carry: what they remember.
            observation: leaves [B, ...].
            is_first: bool [B], True where an episode begins with this observation.

        Returns:
            What they remember afterward, the policy, a batch [B] of distributions, and the values, float32
            [B].
        """
        after = {}
        inputs = (carry["actor"], seen_by(observation, "actor"), is_first)
        after["actor"], features = self.actor_trunk.step(*inputs)
        policy = self.policy_head(features)
        if not self.shared_encoder:
            inputs = (carry["critic"], seen_by(observation, "critic"), is_first)
            after["critic"], features = self.critic_trunk.step(*inputs)
        return after, policy, self.value_head(features)

    def next_value(self, carry: dict[str, PyTree], observation: PyTree) -> jax.Array:
        """The values, float32 [B], of observations that follow on what is remembered."""
        name, trunk = ("actor", self.actor_trunk)
        if not self.shared_encoder:
            name, trunk = ("critic", self.critic_trunk)
        is_first = jnp.zeros(jax.tree.leaves(observation)[0].shape[0], bool)
        return self.value_head(trunk.step(carry[name], seen_by(observation, "critic"), is_first)[1])

    def __call__(
        self, observation: PyTree, carry: dict[str, PyTree], is_first: jax.Array
    ) -> tuple[distrax.Distribution, jax.Array]:
        """A segment of T steps of B environments: what `step` gives, one step after another.

        Args:
            observation: leaves [T, B, ...].
            carry: what was remembered before the segment.
            is_first: bool [T, B].

        Returns:
            The policy, a batch [T, B] of distributions, and the values, float32 [T, B].
        """
        features = self.actor_trunk(carry["actor"], seen_by(observation, "actor"), is_first)
        policy = self.policy_head(features)
        if not self.shared_encoder:
            features = self.critic_trunk(carry["critic"], seen_by(observation, "critic"), is_first)
        return policy, self.value_head(features)


def make_memory_actor_critic(
    env: Environment,
    params: Params,
    name: NetworkName = "mlp",
    config: NetworkConfig | None = None,
    memory: MemoryName = "gru",
    memory_config: MemoryConfig | None = None,
) -> ActorCritic | MemoryActorCritic:
    """A network that fits the action space of an environment; with memory "none", an `ActorCritic`.

    Args:
        env: an environment; its action space is discrete (has `n`) or a box.
        params: its parameters.
        name: encoder of each observation.
        config: sizes of encoder and heads.
        memory: kind of the memory.
        memory_config: its sizes.

    Raises:
        ValueError: where encoder or memory cannot be built.
    """
    plain = make_actor_critic(env, params, name, config)
    if memory == "none":
        return plain
    memory_config = memory_config or MemoryConfig()
    check_memory(memory, memory_config)
    return MemoryActorCritic(
        action_size=plain.action_size,
        discrete=plain.discrete,
        encoder=plain.encoder,
        head_width=plain.head_width,
        shared_encoder=plain.shared_encoder,
        initial_std=plain.initial_std,
        memory=make_memory(memory, memory_config),
    )
