"""Action values: an encoder, a hidden layer by option, and a plain or a dueling head."""

import flax.linen as nn
import jax
from flax import struct

from purerl.networks.by_name import NetworkConfig, NetworkName, check_choice, make_encoder
from purerl.networks.layers import MLP, Dense, EncoderFactory
from purerl.ranges import Count, CountOrZero
from purerl.types import Environment, Params, PyTree


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
        encoder: makes the encoder.
        head_width: hidden width of the head; 0 for a linear head.
        dueling: whether the head is a dueling one.
        activation: name of a function in `jax.nn`, for the head.
        layer_norm: whether features are normalized before each activation of the head.
    """

    num_actions: int
    encoder: EncoderFactory
    head_width: int = 84
    dueling: bool = False
    activation: str = "relu"
    layer_norm: bool = False

    @nn.compact
    def __call__(self, observation: PyTree) -> jax.Array:
        """Returns the values, actions first: float32 [A, B]."""
        features = self.encoder(name="encoder")(observation).T
        hidden = (self.head_width,) if self.head_width else ()
        advantage = self._head("advantage", hidden, self.num_actions, features)
        if not self.dueling:
            return advantage
        return self._head("value", hidden, 1, features) + advantage - advantage.mean(0, keepdims=True)

    @nn.nowrap
    def initial_carry(self, batch: int) -> None:
        """There is nothing to remember."""

    def step(self, carry: None, observation: PyTree, is_first: jax.Array) -> tuple[None, jax.Array]:
        """Carry and values: the form that networks with a memory share."""
        return carry, self(observation)

    def _head(self, name: str, hidden: tuple[int, ...], size: int, features: jax.Array) -> jax.Array:
        features = MLP(hidden, self.activation, self.layer_norm, name=f"{name}_hidden")(features)
        # Small at first, so that no action looks better than another before there is a reason.
        return Dense(size, scale=0.1, name=f"{name}_out")(features)


def make_q_network(
    env: Environment, params: Params, name: NetworkName = "mlp", config: QNetworkConfig | None = None
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
    check_choice(env, params, name, config)
    space = env.action_space(params)
    if not hasattr(space, "n"):
        raise ValueError(
            "action values need discrete actions, and this environment has continuous ones; use PPO or SAC"
        )
    return QNetwork(
        num_actions=int(space.n),
        encoder=make_encoder(name, config, config.layer_norm),
        head_width=config.head_width,
        dueling=config.dueling,
        activation=config.activation,
        layer_norm=config.layer_norm,
    )
