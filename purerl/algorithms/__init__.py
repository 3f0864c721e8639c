"""Learning algorithms: each a configuration, `init` and `update`, in one file that ends with its entry.

The entry, `ALGORITHM = Registered(...)`, is all that experiments and the command line need to know: whatever
module of this package has one is offered by its name.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from purerl.types import Algorithm

NetworkFamily = Literal["actor_critic", "q", "soft"]
"""What a network gives: actions and values of states, values of actions, or what SAC and TD3 need."""
Cut = Literal["rollouts", "batches", "nothing"]
"""What several devices share: environments and minibatches of rollouts, environments and batches of the
replay, or nothing."""
_NONE: Mapping[str, Any] = MappingProxyType({})


class Registered(NamedTuple):
    """An algorithm, as experiments find it.

    Attributes:
        name: by which it is asked for; options of its configuration begin with it on the command line.
        config: class of its configuration.
        make: `(env, network, axis_name, curriculum) -> Algorithm`.
        network: the family of networks that it needs.
        cut: what several devices share.
        network_options: what the network's configuration must say, such as `layer_norm`.
    """

    name: str
    config: type[Any]
    make: Callable[..., Algorithm]
    network: NetworkFamily
    cut: Cut = "rollouts"
    network_options: Mapping[str, Any] = _NONE


@cache
def _of_this_package() -> Mapping[str, Registered]:
    names = [found.name for found in pkgutil.iter_modules(__path__, f"{__name__}.")]
    modules = [importlib.import_module(name) for name in names]
    return {module.ALGORITHM.name: module.ALGORITHM for module in modules if hasattr(module, "ALGORITHM")}


_of_others: dict[str, Registered] = {}


def register(entry: Registered) -> Registered:
    """Offers an algorithm from outside this package, too; returns its entry. The last of a name counts."""
    _of_others[entry.name] = entry
    return entry


def registered() -> Mapping[str, Registered]:
    """Every algorithm by its name, in alphabetical order; imports all of this package."""
    return dict(sorted({**_of_this_package(), **_of_others}.items()))


def named(name: str) -> Registered:
    """The algorithm of a name.

    Raises:
        ValueError: there is none.
    """
    if name not in registered():
        raise ValueError(f"there is no algorithm {name!r}; there are {', '.join(registered())}")
    return registered()[name]


def of_config(config: Any) -> Registered:
    """The algorithm that a configuration is of.

    Raises:
        ValueError: none is known.
    """
    by_class = {entry.config: entry for entry in registered().values()}
    for kind in type(config).__mro__:  # its own class first: it may be made from another algorithm's
        if kind in by_class:
            return by_class[kind]
    raise ValueError(f"no algorithm has a configuration of the kind {type(config).__name__}")
