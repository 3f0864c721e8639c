"""The families of networks by name: the configuration of each, and what makes one."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from purerl.networks.by_name import NetworkConfig, make_actor_critic
from purerl.networks.q_network import QNetworkConfig, make_q_network
from purerl.networks.soft_actor_critic import SoftNetworkConfig, make_soft_actor_critic


class Family(NamedTuple):
    """Networks that give the same.

    Attributes:
        config: class of their configuration.
        make: `(env, params, name of the encoder, configuration) -> network`.
    """

    config: type[Any]
    make: Callable[..., Any]


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "actor_critic": Family(NetworkConfig, make_actor_critic),
        "q": Family(QNetworkConfig, make_q_network),
        "soft": Family(SoftNetworkConfig, make_soft_actor_critic),
    }
)
