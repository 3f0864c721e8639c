"""Action values: an encoder, a hidden layer by option, and a plain or a dueling head."""

from typing import Any

import flax.linen as nn
import jax
from flax import struct

from purerl.networks.actor_critic import NetworkConfig, NetworkName, check_network, make_encoder
from purerl.networks.encoders import MLPEncoder
from purerl.networks.images import ImageEncoder
from purerl.networks.layers import MLP, Dense
from purerl.ranges import Count, CountOrZero
from purerl.types import PyTree


@struct.dataclass
class QNetworkConfig(NetworkConfig):
    """Shape of a network of action values; every field changes the compiled program."""

    width: Count = struct.field(pytree_node=False, default=120)
    """Width of the embeddings (attention, deepsets), of each hidden layer (mlp) or of what is read from the
    grid or picture (cnn, recurrent, image)."""
    num_layers: Count = struct.field(pytree_node=False, default=1)
    """Hidden layers of the mlp network, before that of the head."""
    head_width: CountOrZero = struct.field(pytree_node=False, default=84)
    """Hidden width of the head; 0 for a linear head."""
    dueling: bool = struct.field(pytree_node=False, default=False)
    """Values and advantages from heads of their own, added up."""
    layer_norm: bool = struct.field(pytree_node=False, default=False)
    """Normalize features before each activation, in the head and in the encoders mlp and image."""


class QNetwork(nn.Module):
    r"""The values of all actions for each observation of a batch.

    A dueling head adds what a state is worth to what each action is worth beyond the mean of all:

    .. math::
        Q(s, a) = V(s) + A(s, a) - \frac1{|A|} \sum_{a'} A(s, a')

    Source: Wang et al. 2016 (arXiv:1511.06581), equation 9.

    Attributes:
        num_actions: A.
        encoder: name of the encoder.
        config: sizes.
    """

    num_actions: int
    encoder: NetworkName
    config: QNetworkConfig

    @nn.compact
    def __call__(self, observation: PyTree) -> jax.Array:
        """Returns the values, actions first: float32 [A, B]."""
        config = self.config
        features = make_q_encoder(self.encoder, config)(observation)
        hidden = (config.head_width,) if config.head_width else ()
        advantage = self._head("advantage", hidden, self.num_actions, features)
        if not config.dueling:
            return advantage
        return self._head("value", hidden, 1, features) + advantage - advantage.mean(0, keepdims=True)

    @nn.nowrap
    def initial_carry(self, batch: int) -> None:
        """There is nothing to remember."""

    def step(self, carry: None, observation: PyTree, begins: jax.Array) -> tuple[None, jax.Array]:
        """Carry and values: the form that networks with a memory share."""
        return carry, self(observation)

    def _head(self, name: str, hidden: tuple[int, ...], size: int, features: jax.Array) -> jax.Array:
        config = self.config
        features = MLP(hidden, config.activation, config.layer_norm, name=f"{name}_hidden")(features)
        # Small at first, so that no action looks better than another before there is a reason.
        return Dense(size, scale=0.1, name=f"{name}_out")(features)


def make_q_encoder(name: NetworkName, config: QNetworkConfig) -> nn.Module:
    """The encoder of that name, normalized where it can be."""
    if name == "mlp":
        sizes = (config.width,) * config.num_layers
        return MLPEncoder(sizes, config.activation, config.layer_norm, name="encoder")
    if name == "image":
        return ImageEncoder(
            config.channels, config.width, config.activation, config.layer_norm, name="encoder"
        )
    return make_encoder(name, config, "encoder")


def make_q_network(
    env: Any, params: Any, name: NetworkName = "mlp", config: QNetworkConfig | None = None
) -> QNetwork:
    """A `QNetwork` that fits an environment.

    Args:
        env: an environment with discrete actions.
        params: its parameters.
        name: encoder; "attention" and "deepsets" need token observations, "cnn" and "recurrent" grids, and
            "image" pictures.
        config: sizes; the defaults of `QNetworkConfig` where absent.

    Raises:
        ValueError: where actions are not discrete or the encoder does not fit; one line with the remedy.
    """
    config = config or QNetworkConfig()
    check_network(env, params, name, config)
    space = env.action_space(params)
    if not hasattr(space, "n"):
        raise ValueError(
            "action values need discrete actions, and this environment has continuous ones; use PPO or SAC"
        )
    return QNetwork(num_actions=int(space.n), encoder=name, config=config)
