"""An actor and a critic on encoders of their own or on a shared one."""

import math
from typing import Literal

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp

from purerl.networks.layers import MLP, Dense, EncoderFactory
from purerl.types import PyTree, Views


def seen_by(observation: PyTree, who: Literal["actor", "critic"]) -> PyTree:
    """What the policy, or the critic, sees of an observation: all of it, or its part of `Views`."""
    return getattr(observation, who) if isinstance(observation, Views) else observation


class Heads(nn.Module):
    """The heads of a policy and a critic; what comes before them is made by those who inherit.

    Attributes:
        action_size: number of actions (discrete) or of action dimensions (continuous).
        discrete: whether the policy is categorical; else a diagonal Gaussian whose standard deviation is the
            exponential of a free parameter, never clamped.
        encoder: makes an encoder.
        head_width: hidden width of the policy head and of the value head; 0 for linear heads.
        shared_encoder: whether actor and critic share one encoder.
        initial_std: standard deviation of a continuous policy at the start, in units of the action.
    """

    action_size: int
    discrete: bool
    encoder: EncoderFactory
    head_width: int = 64
    shared_encoder: bool = True
    initial_std: float = 0.6

    def setup(self):
        """Builds the heads."""
        hidden = (self.head_width,) if self.head_width else ()
        self.actor_hidden = MLP(hidden, "tanh")
        self.critic_hidden = MLP(hidden, "tanh")
        self.actor_out = Dense(self.action_size, scale=0.01)
        self.critic_out = Dense(1, scale=1.0)
        if not self.discrete:
            start = nn.initializers.constant(math.log(self.initial_std))
            self.log_std = self.param("log_std", start, (self.action_size,))

    def policy_head(self, features: jax.Array) -> distrax.Distribution:
        """The policy of features, float32 [W, ...]: a batch [...] of distributions."""
        out = jnp.moveaxis(self.actor_out(self.actor_hidden(features)), 0, -1)  # [A, ...] -> [..., A]
        if self.discrete:
            return distrax.Categorical(logits=out)
        scale = jnp.broadcast_to(jnp.exp(self.log_std), out.shape)
        return distrax.MultivariateNormalDiag(out, scale)

    def value_head(self, features: jax.Array) -> jax.Array:
        """The values of features, float32 [W, ...]: float32 [...]."""
        return self.critic_out(self.critic_hidden(features))[0]


class ActorCritic(Heads):
    """A policy and a value for each observation of a batch."""

    def setup(self):
        """Builds the encoders and the heads."""
        super().setup()
        self.actor_encoder = self.encoder(name="actor_encoder")
        if not self.shared_encoder:
            self.critic_encoder = self.encoder(name="critic_encoder")

    def __call__(self, observation: PyTree) -> tuple[distrax.Distribution, jax.Array]:
        """Returns the policy, a batch of B distributions, and the values, float32 [B]."""
        features = self.actor_encoder(seen_by(observation, "actor")).T
        policy = self.policy_head(features)
        if not self.shared_encoder:
            features = self.critic_encoder(seen_by(observation, "critic")).T
        return policy, self.value_head(features)

    def value(self, observation: PyTree) -> jax.Array:
        """Returns the values alone, float32 [B]."""
        encoder = self.actor_encoder if self.shared_encoder else self.critic_encoder
        return self.value_head(encoder(seen_by(observation, "critic")).T)

    @nn.nowrap
    def initial_carry(self, batch: int) -> None:
        """There is nothing to remember."""

    def step(
        self, carry: None, observation: PyTree, is_first: jax.Array
    ) -> tuple[None, distrax.Distribution, jax.Array]:
        """Carry, policy and values: the form that networks with a memory share."""
        return carry, *self(observation)

    def next_value(self, carry: None, observation: PyTree) -> jax.Array:
        """The values of what follows, float32 [B]: the form that networks with a memory share."""
        return self.value(observation)
