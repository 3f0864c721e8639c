"""What a network tells about itself where it is asked: how its residual branches and its attention behave.

Nothing is computed unless the collection `DIAGNOSTICS` is mutable in `apply`; `purerl.algorithms.diagnostics`
asks.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

DIAGNOSTICS = "diagnostics"
"""The collection that values are put into."""


def tell(module: nn.Module, name: str, value: Callable[[], jax.Array]) -> None:
    """Puts the mean of a value into the collection, if somebody asks for it.

    Args:
        module: of which it is told.
        name: of the value; what follows a slash names the part of the module.
        value: gives float32 [...], NaN where there is none; called only where somebody asks.
    """
    if module.is_mutable_collection(DIAGNOSTICS) and not module.is_initializing():
        module.sow(DIAGNOSTICS, name, jnp.nanmean(value()))


def residual_ratio(branch: jax.Array, stream: jax.Array) -> jax.Array:
    """Length of what a residual branch adds over the length of what it adds to: [F, ...] -> [...].

    Well below 1 at the start; a branch far above 1 has overwritten its stream.
    """
    length = lambda x: jnp.linalg.norm(x, axis=0)  # noqa: E731
    return length(branch) / jnp.maximum(length(stream), 1e-6)


def attention_entropy(weights: jax.Array, mask: jax.Array) -> jax.Array:
    """Entropy of attention over the tokens as a share of that of looking at all present ones alike.

    Args:
        weights: float32 [..., N, B], 0 where a token is absent, with sum 1 over N.
        mask: bool [N, B].

    Returns:
        float32 [..., B] in [0, 1]: 0 is one token alone, 1 is all alike; NaN where fewer than two are there.
    """
    entropy = jax.scipy.special.entr(weights).sum(-2)
    present = mask.sum(0)
    return jnp.where(present > 1, entropy / jnp.log(jnp.maximum(present, 2)), jnp.nan)
