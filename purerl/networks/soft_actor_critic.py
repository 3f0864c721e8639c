"""A policy and several action values for each observation: the networks of soft actor-critic."""

import math
from typing import Any

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from purerl.functional.distributions import TanhNormal
from purerl.networks.actor_critic import NetworkConfig, NetworkName, check_network, make_encoder
from purerl.networks.encoders import flatten_observation
from purerl.networks.layers import MLP, Dense
from purerl.ranges import Count
from purerl.types import PyTree


@struct.dataclass
class SoftNetworkConfig(NetworkConfig):
    """Shape of the actor and the critics; every field changes the compiled program."""

    shared_encoder: bool = struct.field(pytree_node=False, default=False)
    """Whether the actor reads the encoder of the critics, which learns from their loss alone; an mlp has none
    to share."""
    layer_norm: bool = struct.field(pytree_node=False, default=False)
    """Normalize each hidden layer of the critics' heads before its activation; keeps values from running off
    where many gradient steps are taken for each step of the environment."""
    num_critics: Count = struct.field(pytree_node=False, default=2)
    """Heads of the critic; targets are the least of their values."""


class CriticHead(nn.Module):
    """From features, joined with the action where it is continuous, to values: [F, B] -> [num_values, B].

    Attributes:
        sizes: width of each hidden layer.
        num_values: 1 for continuous actions, their number for discrete ones.
        activation: name of a function in `jax.nn`.
        layer_norm: whether each hidden layer is normalized before its activation.
    """

    sizes: tuple[int, ...]
    num_values: int
    activation: str
    layer_norm: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps x, float32 [F, B], to float32 [num_values, B]."""
        x = MLP(self.sizes, self.activation, self.layer_norm)(x)
        # Nearly zero at first: no action looks better than another before there is a reason.
        return Dense(self.num_values, scale=0.01)(x)


class SoftActorCritic(nn.Module):
    """Policy and action values on encoders of their own or on one that only the critics train.

    Attributes:
        action_size: number of actions (discrete) or of action dimensions (continuous).
        discrete: whether the policy is categorical; else a squashed Gaussian on [-1, 1].
        encoder: name of the encoder; heads of an "mlp" read the observation itself, joined with the action.
        config: sizes.
        periodic: whether pairs of action dimensions are points of a plane that stand for their direction.
    """

    action_size: int
    discrete: bool
    encoder: NetworkName
    config: SoftNetworkConfig
    periodic: bool = False

    def setup(self):
        """Builds the encoders and the heads."""
        config, is_mlp = self.config, self.encoder == "mlp"
        self.shares = config.shared_encoder and not is_mlp
        hidden = (config.head_width,) if config.head_width else ()
        if not self.shares:
            self.actor_encoder = make_encoder(self.encoder, config, "actor_encoder")
        if not is_mlp:
            self.critic_encoder = make_encoder(self.encoder, config, "critic_encoder")
        self.actor_hidden = MLP(hidden, config.activation)
        self.actor_out = Dense(self.action_size * (1 if self.discrete else 2), scale=0.01)
        sizes = (config.width,) * config.num_layers if is_mlp else ()
        num_values = self.action_size if self.discrete else 1
        self.critic_heads = [
            CriticHead(sizes + hidden, num_values, config.activation, config.layer_norm)
            for _ in range(config.num_critics)
        ]

    def __call__(self, observation: PyTree, action: jax.Array) -> tuple[Any, jax.Array]:
        """The policy, and the values of actions: all parameters are used once."""
        return self.policy(observation), self.values(self.features(observation), action)

    def features(self, observation: PyTree) -> jax.Array:
        """What the critics' heads read, float32 [F, B]; it does not depend on the action."""
        return flatten_observation(observation) if self.encoder == "mlp" else self.critic_encoder(observation)

    def values(self, features: jax.Array, action: jax.Array) -> jax.Array:
        """Action values of all K critics.

        Args:
            features: float32 [F, B], see `features`.
            action: float32 [B, A] in [-1, 1]; ignored where actions are discrete.

        Returns:
            float32 [K, B]; where actions are discrete, those of all actions, [K, B, A].
        """
        if self.discrete:
            return jnp.stack([head(features).T for head in self.critic_heads])
        joined = jnp.concatenate([features, action.T])  # [F + A, B]
        return jnp.concatenate([head(joined) for head in self.critic_heads])

    def policy(self, observation: PyTree) -> TanhNormal | distrax.Categorical:
        """The policy, a batch of B distributions over [-1, 1]^A or over A actions."""
        if self.shares:
            features = jax.lax.stop_gradient(self.critic_encoder(observation))
        else:
            features = self.actor_encoder(observation)
        out = self.actor_out(self.actor_hidden(features)).T  # [A, B] -> [B, A]
        if self.discrete:
            return distrax.Categorical(logits=out)
        mean, log_std = jnp.split(out, 2, axis=-1)
        return TanhNormal(mean=mean, log_std=log_std + math.log(self.config.initial_std))


def make_soft_actor_critic(
    env: Any,
    params: Any,
    name: NetworkName = "mlp",
    config: SoftNetworkConfig | None = None,
    periodic: bool = False,
) -> SoftActorCritic:
    """A `SoftActorCritic` that fits the action space of an environment.

    Args:
        env: an environment; its action space is discrete (has `n`) or a box with finite bounds.
        params: its parameters.
        name: encoder; "attention" and "deepsets" need token observations, "cnn" and "recurrent" grids.
        config: sizes; the defaults of `SoftNetworkConfig` where absent.
        periodic: whether the two ends of a box are the same action, as those of an angle are. Then the policy
            chooses a point of a plane for each entry, whose direction is the action, and nothing is an end.

    Raises:
        ValueError: where the network cannot be built; one line that names the remedy.
    """
    config = config or SoftNetworkConfig()
    check_network(env, params, name, config)
    if name != "mlp" and not config.head_width:
        raise ValueError("head_width = 0 leaves critics no layer to join action and features in; try 64")
    space = env.action_space(params)
    discrete = hasattr(space, "n")
    size = int(space.n) if discrete else math.prod(space.shape) * (2 if periodic else 1)
    return SoftActorCritic(
        action_size=size, discrete=discrete, encoder=name, config=config, periodic=periodic and not discrete
    )
