"""What the state of a run tells without another step: gradients by layer, the policy, the network inside.

The learning programs keep their last gradient and nothing more. The rest is one forward pass on a few of the
observations that the environments show, once a chunk and in a program of its own, so that the program of the
gradient steps neither grows nor slows down.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from purerl.functional.metrics import Packed, as_means
from purerl.networks.probing import DIAGNOSTICS
from purerl.types import Metrics, PyTree

PROBE_SIZE = 256
"""Observations that a network is asked about, at most."""


class KeptGradient(NamedTuple):
    """The last gradient, float32 [P], as it came: before it was clipped."""

    gradient: jax.Array


def keep_gradient() -> optax.GradientTransformation:
    """Changes nothing, and remembers what it saw: the first link of an optimizer for one flat vector."""

    def update(gradient, state, params=None):
        return gradient, KeptGradient(gradient)

    return optax.GradientTransformation(lambda params: KeptGradient(jnp.zeros_like(params)), update)


def gradient_metrics(optimizer_state: PyTree, params: PyTree) -> Packed:
    """L2 and infinity norm of the last gradient of each layer, and the infinity norm of all.

    Args:
        optimizer_state: of a chain that begins with `keep_gradient`; or several, of which each moves a part
            of the parameters.
        params: whose flat vector the optimizer changes.

    Returns:
        `gradient_max`, `gradient_norm/LAYER` and `gradient_max/LAYER`; a layer is a module with parameters.
    """
    found = optax.tree.get_all_with_path(optimizer_state, "gradient")
    gradient = sum(kept for _, kept in found)
    paths, leaves = zip(*jax.tree_util.tree_flatten_with_path(params)[0], strict=True)
    ends = np.cumsum([leaf.size for leaf in leaves])
    owners = [_layer_of(path) for path in paths]
    layers = tuple(dict.fromkeys(owners))
    belongs = np.array([[owner == layer for owner in owners] for layer in layers])  # [layers, leaves]
    parts = jnp.split(gradient, ends[:-1])
    squares = jnp.stack([jnp.square(part).sum() for part in parts])
    largest = jnp.stack([jnp.abs(part).max() for part in parts])
    norm = jnp.sqrt(jnp.where(belongs, squares, 0.0).sum(1))
    most = jnp.where(belongs, largest, 0.0).max(1)
    names = [f"gradient_norm/{layer}" for layer in layers] + [f"gradient_max/{layer}" for layer in layers]
    return of_values(["gradient_max", *names], jnp.concatenate([most.max()[None], norm, most]))


def _layer_of(path: Sequence[Any]) -> str:
    """The name of the module that a parameter belongs to; its own name where that is the whole network."""
    names = [str(getattr(key, "key", key)) for key in path]
    modules = names[1:-1] if names[0] == "params" else names[:-1]
    return "/".join(modules or names[-1:])


def look_inside(
    network: Any, params: PyTree, *arguments: Any, **options: Any
) -> tuple[Any, Packed | Metrics]:
    """Applies a network and listens to what it tells about itself.

    Returns:
        What `network.apply` returns, and `residual_ratio/...` and `attention_entropy/...` of each layer that
        has them.
    """
    result, told = network.apply(params, *arguments, mutable=[DIAGNOSTICS], **options)
    found: dict[str, jax.Array] = {}
    for path, value in jax.tree_util.tree_flatten_with_path(told)[0]:
        names = [key.key for key in path if isinstance(key, jax.tree_util.DictKey)][1:]
        metric, _, part = names[-1].partition("/")
        found["/".join([metric, *names[:-1], *([part] if part else [])])] = value
    return result, (of_values(list(found), jnp.stack(list(found.values()))) if found else {})


def policy_metrics(policy: Any) -> Packed | Metrics:
    """Standard deviation of a Gaussian policy before any squashing: mean over dimensions and a batch.

    A categorical policy has none.
    """
    if hasattr(policy, "log_std"):
        deviation = jnp.exp(policy.log_std)
    elif hasattr(policy, "scale_diag"):
        deviation = policy.scale_diag
    else:
        return {}
    return of_values(["action_std"], deviation.mean()[None])


def greedy_entropy(value: jax.Array) -> Packed:
    """Entropy of which actions are best over a batch of observations, in nats: 0 where it is always the same.

    Args:
        value: of each action, float32 [A, B].
    """
    share = (value.argmax(0) == jnp.arange(value.shape[0])[:, None]).mean(1)
    return of_values(["greedy_entropy"], jax.scipy.special.entr(share).sum()[None])


def probe(observation: PyTree) -> PyTree:
    """The first few of the observations that environments show, leaves [E, ...]."""
    return jax.tree.map(lambda leaf: leaf[:PROBE_SIZE], observation)


def of_values(names: Sequence[str], values: jax.Array) -> Packed:
    """Metrics of one value each, float32 [K]; one that is NaN, because there is none, has no weight."""
    exists = ~jnp.isnan(values)
    sums = jnp.stack([jnp.where(exists, values, 0.0), exists.astype(jnp.float32)], axis=-1)
    return Packed(values=sums, names=tuple(names))


def action_metrics(action: jax.Array, space: Any) -> Packed | Metrics:
    """How far a continuous policy strays: share of entries outside the bounds, mean and magnitude.

    Nothing is beyond the ends of a periodic box, which turns on there.
    """
    if hasattr(space, "n"):
        return {}
    low, high = (
        jnp.broadcast_to(jnp.asarray(bound), space.shape).ravel() for bound in (space.low, space.high)
    )
    outside = ((action < low) | (action > high)) & (not getattr(space, "periodic", False))
    return as_means({"saturated_share": outside, "action_mean": action, "action_magnitude": jnp.abs(action)})
