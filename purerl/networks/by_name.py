"""The choice of a network by name: sizes, encoders, and what fits an environment."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Literal, get_args

from flax import struct

from purerl import ranges
from purerl.networks.actor_critic import ActorCritic
from purerl.networks.grids import (
    AGENT_CHANNEL,
    PropagationEncoder,
    Readout,
    Recurrence,
    RecurrentConvEncoder,
    ResidualConvEncoder,
)
from purerl.networks.images import ImageEncoder
from purerl.networks.layers import EncoderFactory, MLPEncoder
from purerl.networks.sets import DeepSetsEncoder, SetAttentionEncoder
from purerl.ranges import Count, CountOrZero, Positive
from purerl.spaces import TwoViews
from purerl.types import Environment, Params, Space

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


def make_encoder(name: NetworkName, config: NetworkConfig, layer_norm: bool = False) -> EncoderFactory:
    """What makes the encoder that `--network` names.

    Args:
        name: of the encoder.
        config: its sizes.
        layer_norm: whether mlp and image normalize features before each activation.

    Raises:
        ValueError: where no encoder has that name.
    """
    width, activation = config.width, config.activation
    if name == "mlp":
        return partial(MLPEncoder, (width,) * config.num_layers, activation, layer_norm)
    if name == "image":
        return partial(ImageEncoder, config.channels, width, activation, layer_norm)
    if name == "deepsets":
        return partial(DeepSetsEncoder, width, activation)
    if name == "cnn":
        return partial(
            ResidualConvEncoder, config.channels, config.num_blocks, width, activation, config.readout
        )
    if name == "recurrent":
        return _make_recurrent(config)
    if name != "attention":
        raise ValueError(f"there is no network {name!r}; choose one of {', '.join(get_args(NetworkName))}")
    return partial(
        SetAttentionEncoder,
        width=width,
        num_heads=config.num_heads,
        num_self_layers=config.num_self_layers,
        num_summary_layers=config.num_summary_layers,
        feed_forward=config.feed_forward,
        activation=activation,
        normalization=config.normalization,
        residual_start=config.residual_start,
    )


def _make_recurrent(config: NetworkConfig) -> EncoderFactory:
    width, activation = config.width, config.activation
    if config.recurrence == "convolve":
        return partial(
            RecurrentConvEncoder, config.channels, config.num_iterations, width, activation, config.readout
        )
    sizes = (config.channels, config.num_maps, config.num_iterations)
    return partial(PropagationEncoder, *sizes, width, activation)


def make_actor_critic(
    env: Environment, params: Params, name: NetworkName = "attention", config: NetworkConfig | None = None
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
    check_choice(env, params, name, config)
    space = env.action_space(params)
    discrete = hasattr(space, "n")
    size = int(space.n) if hasattr(space, "n") else math.prod(space.shape)
    return ActorCritic(
        action_size=size,
        discrete=discrete,
        encoder=make_encoder(name, config),
        head_width=config.head_width,
        shared_encoder=config.shared_encoder,
        initial_std=config.initial_std,
    )


def check_choice(env: Environment, params: Params, name: NetworkName, config: NetworkConfig) -> None:
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


def _check_encoder(space: Space, name: NetworkName) -> None:
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
