"""Neural networks. flax.linen is used here and nowhere else."""

from purerl.networks.actor_critic import (
    ActorCritic,
    GridNetworkName,
    NetworkConfig,
    NetworkName,
    SetNetworkName,
    check_network,
    make_actor_critic,
)

__all__ = [
    "ActorCritic",
    "GridNetworkName",
    "NetworkConfig",
    "NetworkName",
    "SetNetworkName",
    "check_network",
    "make_actor_critic",
]
