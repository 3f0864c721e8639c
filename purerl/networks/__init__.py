"""Neural networks. flax.linen is used here and nowhere else."""

from purerl.networks.actor_critic import ActorCritic
from purerl.networks.by_name import (
    GridNetworkName,
    NetworkConfig,
    NetworkName,
    SetNetworkName,
    make_actor_critic,
    make_encoder,
)
from purerl.networks.layers import EncoderFactory, MLPEncoder
from purerl.networks.memory import MemoryConfig, MemoryName
from purerl.networks.memory_actor_critic import MemoryActorCritic, make_memory_actor_critic
from purerl.networks.q_network import QNetwork, QNetworkConfig, make_q_network

__all__ = [
    "ActorCritic",
    "EncoderFactory",
    "GridNetworkName",
    "MLPEncoder",
    "MemoryActorCritic",
    "MemoryConfig",
    "MemoryName",
    "NetworkConfig",
    "NetworkName",
    "QNetwork",
    "QNetworkConfig",
    "SetNetworkName",
    "make_actor_critic",
    "make_encoder",
    "make_memory_actor_critic",
    "make_q_network",
]
