"""A policy and several action values for each observation: the networks of soft actor-critic."""

import math

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from purerl.functional.distributions import TanhNormal
from purerl.networks.by_name import NetworkConfig, NetworkName, check_choice, make_encoder
from purerl.networks.layers import MLP, Dense, EncoderFactory, flatten_observation
from purerl.ranges import Count
from purerl.types import Environment, Params, PyTree


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
        encoder: makes an encoder: that of the actor, and that of the critics if `critics_encode`.
        critics_encode: whether the critics' heads read features; else the observation itself, flattened.
            Either is joined with the action, where that is continuous.
        critic_sizes: width of each hidden layer of a critic's head.
        actor_sizes: width of each hidden layer of the policy's head.
        shared_encoder: whether the actor reads the encoder of the critics, which their loss alone trains.
        num_critics: K.
        activation: name of a function in `jax.nn`, for the heads.
        layer_norm: whether hidden layers of the critics' heads are normalized before their activation.
        initial_std: standard deviation of a continuous policy at the start, before squashing.
        periodic: whether pairs of action dimensions are points of a plane that stand for their direction.
    """

    action_size: int
    discrete: bool
    encoder: EncoderFactory
    critics_encode: bool = True
    critic_sizes: tuple[int, ...] = (64,)
    actor_sizes: tuple[int, ...] = (64,)
    shared_encoder: bool = False
    num_critics: int = 2
    activation: str = "relu"
    layer_norm: bool = False
    initial_std: float = 0.6
    periodic: bool = False

    def setup(self):
        """Builds the encoders and the heads."""
        if not self.shared_encoder:
            self.actor_encoder = self.encoder(name="actor_encoder")
        if self.critics_encode:
            self.critic_encoder = self.encoder(name="critic_encoder")
        self.actor_hidden = MLP(self.actor_sizes, self.activation)
        self.actor_out = Dense(self.action_size * (1 if self.discrete else 2), scale=0.01)
        num_values = self.action_size if self.discrete else 1
        self.critic_heads = [
            CriticHead(self.critic_sizes, num_values, self.activation, self.layer_norm)
            for _ in range(self.num_critics)
        ]

    def __call__(
        self, observation: PyTree, action: jax.Array
    ) -> tuple[TanhNormal | distrax.Categorical, jax.Array]:
        """The policy, and the values of actions: all parameters are used once."""
        return self.policy(observation), self.values(self.features(observation), action)

    def features(self, observation: PyTree) -> jax.Array:
        """What the critics' heads read, float32 [F, B]; it does not depend on the action."""
        return self.critic_encoder(observation).T if self.critics_encode else flatten_observation(observation)

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
        if self.shared_encoder:
            features = jax.lax.stop_gradient(self.critic_encoder(observation)).T
        else:
            features = self.actor_encoder(observation).T
        out = self.actor_out(self.actor_hidden(features)).T  # [A, B] -> [B, A]
        if self.discrete:
            return distrax.Categorical(logits=out)
        mean, log_std = jnp.split(out, 2, axis=-1)
        return TanhNormal(mean=mean, log_std=log_std + math.log(self.initial_std))


def make_soft_actor_critic(
    env: Environment,
    params: Params,
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
    check_choice(env, params, name, config)
    if name != "mlp" and not config.head_width:
        raise ValueError("head_width = 0 leaves critics no layer to join action and features in; try 64")
    space = env.action_space(params)
    discrete = hasattr(space, "n")
    size = int(space.n) if hasattr(space, "n") else math.prod(space.shape) * (2 if periodic else 1)
    is_mlp = name == "mlp"
    hidden = (config.head_width,) if config.head_width else ()
    return SoftActorCritic(
        action_size=size,
        discrete=discrete,
        encoder=make_encoder(name, config),
        critics_encode=not is_mlp,
        critic_sizes=((config.width,) * config.num_layers if is_mlp else ()) + hidden,
        actor_sizes=hidden,
        shared_encoder=config.shared_encoder and not is_mlp,
        num_critics=config.num_critics,
        activation=config.activation,
        layer_norm=config.layer_norm,
        initial_std=config.initial_std,
        periodic=periodic and not discrete,
    )
