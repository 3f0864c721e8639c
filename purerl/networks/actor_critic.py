"""An actor and a critic on encoders of their own or on a shared one, and the choice of network by name."""

import math
from collections.abc import Mapping
from typing import Any, Literal

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from purerl import ranges
from purerl.networks.encoders import DeepSetsEncoder, MLPEncoder, SetAttentionEncoder
from purerl.networks.grids import (
    AGENT_CHANNEL,
    PropagationEncoder,
    Readout,
    Recurrence,
    RecurrentConvEncoder,
    ResidualConvEncoder,
)
from purerl.networks.images import ImageEncoder
from purerl.networks.layers import MLP, Dense
from purerl.ranges import Count, CountOrZero, Positive
from purerl.spaces import TwoViews
from purerl.types import PyTree, Views

SetNetworkName = Literal["attention", "deepsets", "mlp"]
"""Networks for observations made of tokens."""
GridNetworkName = Literal["mlp", "cnn", "recurrent"]
"""Networks for observations that are a grid of cells; "mlp" takes any observation."""
NetworkName = Literal["attention", "deepsets", "mlp", "cnn", "recurrent", "image"]
"""All of them; "image" is a convolution for small pictures, such as those of MinAtar."""


@struct.dataclass
class NetworkConfig:
    """Shape of the actor and the critic; every field changes the compiled program."""

    width: Count = struct.field(pytree_node=False, default=32)
    """Width of the embeddings (attention, deepsets), of each hidden layer (mlp) or of what is read from the
    grid or picture (cnn, recurrent, image)."""
    num_heads: Count = struct.field(pytree_node=False, default=4)
    """Attention heads; must divide the width."""
    num_self_layers: CountOrZero = struct.field(pytree_node=False, default=0)
    """Self-attention layers among the tokens; the cost is quadratic in the number of tokens."""
    num_summary_layers: CountOrZero = struct.field(pytree_node=False, default=2)
    """Layers in which a summary attends to the tokens; the cost is linear in the number of tokens."""
    feed_forward: Count = struct.field(pytree_node=False, default=64)
    """Hidden width of the feed-forward sub-layers."""
    normalization: Literal["pre", "post", "none"] = struct.field(pytree_node=False, default="pre")
    """Where attention normalizes features: what enters a residual branch, the sum after it, or nowhere."""
    residual_start: Literal["depth", "one", "zero"] = struct.field(pytree_node=False, default="depth")
    """How large residual branches of attention are at the start: 1 / sqrt(2 layers), 1 or 0."""
    num_layers: Count = struct.field(pytree_node=False, default=2)
    """Hidden layers of the mlp network."""
    channels: Count = struct.field(pytree_node=False, default=16)
    """Features of each cell (cnn, recurrent) or pixel (image)."""
    num_blocks: Count = struct.field(pytree_node=False, default=4)
    """Residual blocks of two convolutions (cnn); information travels two cells in each."""
    recurrence: Recurrence = struct.field(pytree_node=False, default="propagate")
    """What is iterated (recurrent): the spread of values from cell to cell, or a convolution."""
    num_maps: CountOrZero = struct.field(pytree_node=False, default=0)
    """Maps of values that spread (recurrent, propagate); 0 for one a plane of the grid."""
    num_iterations: CountOrZero = struct.field(pytree_node=False, default=0)
    """Iterations, each carries information one cell further (recurrent); 0 for half the number of cells. The
    parameters do not depend on it."""
    readout: Readout = struct.field(pytree_node=False, default="agent")
    """Where features are read (cnn, and recurrent with convolve): at the agent's cell, with the mean and
    maximum of all cells, which fits any size of grid; or everywhere."""
    head_width: CountOrZero = struct.field(pytree_node=False, default=64)
    """Hidden width of the policy head and of the value head; 0 for linear heads."""
    activation: Literal["relu", "gelu", "tanh", "silu"] = struct.field(pytree_node=False, default="relu")
    """Activation function."""
    shared_encoder: bool = struct.field(pytree_node=False, default=True)
    """Whether actor and critic share one encoder."""
    initial_std: Positive = struct.field(pytree_node=False, default=0.6)
    """Standard deviation of a continuous policy at the start, in units of the action."""


def make_encoder(name: NetworkName, config: NetworkConfig, module_name: str) -> nn.Module:
    """Builds the encoder that `--network` names.

    Raises:
        ValueError: where the heads do not divide the width.
    """
    if name == "mlp":
        return MLPEncoder((config.width,) * config.num_layers, config.activation, name=module_name)
    if name == "cnn":
        return ResidualConvEncoder(
            channels=config.channels,
            num_blocks=config.num_blocks,
            width=config.width,
            activation=config.activation,
            readout=config.readout,
            name=module_name,
        )
    if name == "recurrent":
        return _make_recurrent(config, module_name)
    if name == "image":
        return ImageEncoder(config.channels, config.width, config.activation, name=module_name)
    if name == "deepsets":
        return DeepSetsEncoder(config.width, config.activation, name=module_name)
    return SetAttentionEncoder(
        width=config.width,
        num_heads=config.num_heads,
        num_self_layers=config.num_self_layers,
        num_summary_layers=config.num_summary_layers,
        feed_forward=config.feed_forward,
        activation=config.activation,
        normalization=config.normalization,
        residual_start=config.residual_start,
        name=module_name,
    )


def _make_recurrent(config: NetworkConfig, module_name: str) -> nn.Module:
    if config.recurrence == "convolve":
        return RecurrentConvEncoder(
            channels=config.channels,
            num_iterations=config.num_iterations,
            width=config.width,
            activation=config.activation,
            readout=config.readout,
            name=module_name,
        )
    return PropagationEncoder(
        channels=config.channels,
        num_maps=config.num_maps,
        num_iterations=config.num_iterations,
        width=config.width,
        activation=config.activation,
        name=module_name,
    )


def seen_by(observation: PyTree, who: Literal["actor", "critic"]) -> PyTree:
    """What the policy, or the critic, sees of an observation: all of it, or its part of `Views`."""
    return getattr(observation, who) if isinstance(observation, Views) else observation


class Heads(nn.Module):
    """The heads of a policy and a critic; what comes before them is made by those who inherit.

    Attributes:
        action_size: number of actions (discrete) or of action dimensions (continuous).
        discrete: whether the policy is categorical; else a diagonal Gaussian whose standard deviation is the
            exponential of a free parameter, never clamped.
        encoder: name of the encoder.
        config: sizes.
    """

    action_size: int
    discrete: bool
    encoder: NetworkName
    config: NetworkConfig

    def setup(self):
        """Builds the heads."""
        hidden = (self.config.head_width,) if self.config.head_width else ()
        self.actor_hidden = MLP(hidden, "tanh")
        self.critic_hidden = MLP(hidden, "tanh")
        self.actor_out = Dense(self.action_size, scale=0.01)
        self.critic_out = Dense(1, scale=1.0)
        if not self.discrete:
            start = nn.initializers.constant(math.log(self.config.initial_std))
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
        self.actor_encoder = make_encoder(self.encoder, self.config, "actor_encoder")
        if not self.config.shared_encoder:
            self.critic_encoder = make_encoder(self.encoder, self.config, "critic_encoder")

    def __call__(self, observation: PyTree) -> tuple[distrax.Distribution, jax.Array]:
        """Returns the policy, a batch of B distributions, and the values, float32 [B]."""
        features = self.actor_encoder(seen_by(observation, "actor"))
        policy = self.policy_head(features)
        if not self.config.shared_encoder:
            features = self.critic_encoder(seen_by(observation, "critic"))
        return policy, self.value_head(features)

    def value(self, observation: PyTree) -> jax.Array:
        """Returns the values alone, float32 [B]."""
        encoder = self.actor_encoder if self.config.shared_encoder else self.critic_encoder
        return self.value_head(encoder(seen_by(observation, "critic")))

    @nn.nowrap
    def initial_carry(self, batch: int) -> None:
        """There is nothing to remember."""

    def step(
        self, carry: None, observation: PyTree, begins: jax.Array
    ) -> tuple[None, distrax.Distribution, jax.Array]:
        """Carry, policy and values: the form that networks with a memory share."""
        return carry, *self(observation)

    def next_value(self, carry: None, observation: PyTree) -> jax.Array:
        """The values of what follows, float32 [B]: the form that networks with a memory share."""
        return self.value(observation)


def make_actor_critic(
    env: Any, params: Any, name: NetworkName = "attention", config: NetworkConfig | None = None
) -> ActorCritic:
    """An `ActorCritic` that fits the action space of an environment.

    Args:
        env: an environment; its action space is discrete (has `n`) or a box.
        params: its parameters.
        name: encoder; "attention" and "deepsets" need token observations, "cnn" and "recurrent" grids.
        config: sizes; the defaults of `NetworkConfig` where absent.

    Raises:
        ValueError: where a size is out of its range, heads do not divide the width, tokens or a grid are
            needed and not observed, or a critic that sees more than the policy is to share its encoder.
    """
    config = config or NetworkConfig()
    check_network(env, params, name, config)
    space = env.action_space(params)
    discrete = hasattr(space, "n")
    size = int(space.n) if discrete else math.prod(space.shape)
    return ActorCritic(action_size=size, discrete=discrete, encoder=name, config=config)


def check_network(env: Any, params: Any, name: NetworkName, config: NetworkConfig) -> None:
    """Raises ValueError, with one line that names the remedy, where a network cannot be built."""
    ranges.check(config)
    if name == "attention" and config.width % config.num_heads:
        raise ValueError(f"num_heads = {config.num_heads} does not divide width = {config.width}")
    if name == "attention" and config.num_self_layers + config.num_summary_layers < 1:
        raise ValueError(
            "num_self_layers and num_summary_layers are both 0; attention needs at least one layer"
        )
    space = env.observation_space(params)
    views = (space.actor, space.critic) if isinstance(space, TwoViews) else (space,)
    if len(views) > 1 and config.shared_encoder:
        raise ValueError("a critic that sees more needs an encoder of its own; use --net.no-shared-encoder")
    for view in views:
        _check_encoder(view, name)


def _check_encoder(space: Any, name: NetworkName) -> None:
    parts = getattr(space, "spaces", {})
    tokens = isinstance(parts, Mapping) and all(hasattr(part, "num_tokens") for part in parts.values())
    if hasattr(space, "n") or hasattr(space, "nvec") or not tokens:
        raise ValueError(
            f"networks do not read observations of the kind {type(space).__name__} as they are; wrap the "
            "environment by envs.encoded.encoded(env, params)"
        )
    if name in ("attention", "deepsets") and not hasattr(space, "spaces"):
        raise ValueError(f"network {name!r} needs observations made of tokens; use network 'mlp' here")
    shape = getattr(space, "shape", None)
    if name == "image" and (shape is None or len(shape) != 3):
        raise ValueError("network 'image' needs observations [height, width, channels]; use network 'mlp'")
    if name in ("cnn", "recurrent") and (shape is None or len(shape) != 3 or shape[2] <= AGENT_CHANNEL):
        seen = f"of shape {tuple(shape)}" if shape is not None else "made of tokens"
        raise ValueError(
            f"network {name!r} needs a grid [height, width, channels] with the agent in channel "
            f"{AGENT_CHANNEL}, not an observation {seen}; observe the grid, or use network 'mlp'"
        )
