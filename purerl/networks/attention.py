"""Blocks of attention over sets of tokens. Features first, samples last.

Axes: W width, H heads, D width of a head, N tokens, B samples.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from purerl.networks.kernels.attention import attend, attention_pool, head_weights, pool_weights
from purerl.networks.layers import Dense, LayerNorm, activate
from purerl.networks.probing import attention_entropy, residual_ratio, tell


class AttentionSettings(NamedTuple):
    """What the blocks below have in common.

    Attributes:
        num_heads: must divide the width.
        feed_forward: hidden width of the feed-forward sub-layer.
        activation: name of a function in `jax.nn`.
        residual_scale: gain of the initialization of the last layer of each residual branch; 0 for zeros.
        normalization: "pre" normalizes what enters a branch, "post" the stream after it, "none" neither.
    """

    num_heads: int
    feed_forward: int
    activation: str
    residual_scale: float
    normalization: str = "pre"


def enter(settings: AttentionSettings, stream: jax.Array) -> jax.Array:
    """What a residual branch sees of its stream, [W, ...]."""
    return LayerNorm()(stream) if settings.normalization == "pre" else stream


def leave(
    module: nn.Module, settings: AttentionSettings, name: str, stream: jax.Array, branch: jax.Array
) -> jax.Array:
    """The stream after a residual branch of that name, both [W, ...]."""
    tell(module, f"residual_ratio/{name}", lambda: residual_ratio(branch, stream))
    return LayerNorm()(stream + branch) if settings.normalization == "post" else stream + branch


def think(module: nn.Module, settings: AttentionSettings, stream: jax.Array) -> jax.Array:
    """The feed-forward sub-layer, [W, ...] -> [W, ...]."""
    hidden = Dense(settings.feed_forward, name="feed_forward_in")(enter(settings, stream))
    hidden = activate(settings.activation, hidden)
    out = Dense(stream.shape[0], scale=settings.residual_scale, name="feed_forward_out")
    return leave(module, settings, "feed_forward", stream, out(hidden))


class SelfAttentionBlock(nn.Module):
    """Transformer encoder layer (Vaswani et al. 2017, section 3.1): [W, N, B] -> [W, N, B].

    Pre-norm by default (Xiong et al. 2020, arXiv:2002.04745).
    """

    settings: AttentionSettings

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        """Maps tokens x, float32 [W, N, B], under mask, bool [N, B]."""
        settings, width = self.settings, x.shape[0]
        head_width = width // settings.num_heads
        qkv = Dense(3 * width, scale=1.0, use_bias=False, name="query_key_value")(enter(settings, x))
        query, key, value = qkv.reshape(3, settings.num_heads, head_width, *x.shape[1:])
        query = query * head_width**-0.5
        tell(self, "attention_entropy", lambda: attention_entropy(_self_weights(query, key, mask), mask))
        attended = attend(query, key, value, mask).reshape(x.shape)
        out = Dense(width, scale=settings.residual_scale, name="attention_out")(attended)
        return think(self, settings, leave(self, settings, "attention", x, out))


def _self_weights(query, key, mask):
    """Attention of the queries that are present, [H, Q, N, B]; NaN where a query is absent."""
    weights = jax.vmap(lambda query, key: head_weights(query, key, mask))(query, key)
    return jnp.where(mask[:, None], weights, jnp.nan)


class SummaryAttentionBlock(nn.Module):
    """A summary vector asks the tokens, then thinks: [W, B] -> [W, B]; linear in the number of tokens.

    Class attention (Touvron et al. 2021, arXiv:2103.17239, section 3) with the projections of keys and
    values moved onto the query and the result.
    """

    settings: AttentionSettings

    @nn.compact
    def __call__(self, summary: jax.Array, tokens: jax.Array, mask: jax.Array) -> jax.Array:
        """Maps summary, float32 [W, B], with tokens, float32 [W, N, B], under mask, bool [N, B]."""
        settings, width = self.settings, summary.shape[0]
        num_heads, scale = settings.num_heads, width**-0.5
        query = Dense(num_heads * width, scale=1.0, use_bias=False, name="query")(enter(settings, summary))
        query = query.reshape(num_heads, width, -1)
        weights = lambda: pool_weights(query, tokens, mask, scale)  # noqa: E731
        tell(self, "attention_entropy", lambda: attention_entropy(weights(), mask))
        pooled = attention_pool(query, tokens, mask, scale).reshape(num_heads * width, -1)
        out = Dense(width, scale=settings.residual_scale, name="attention_out")(pooled)
        return think(self, settings, leave(self, settings, "attention", summary, out))


def masked_mean(tokens: jax.Array, mask: jax.Array) -> jax.Array:
    """Mean over the tokens that are present: [W, N, B] under [N, B] -> [W, B]; 0 where none is."""
    present = mask.astype(tokens.dtype)
    return (tokens * present[None]).sum(1) / jnp.maximum(present.sum(0), 1.0)
