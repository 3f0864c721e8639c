"""Attention kernels and encoders for sets of tokens. Features first, samples last.

Axes: W width, H heads, D width of a head, Q queries, N tokens, B samples.

Both kernels carry their own gradients. Left to itself, XLA fuses the reductions over heads and queries into
loops that the CPU runs one element at a time; a loop over heads keeps every array small and every inner
loop over samples, which is several times faster and gives the same numbers.
"""

from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from purerl.networks.layers import Dense, LayerNorm, activate
from purerl.networks.probing import attention_entropy, residual_ratio, tell

_ABSENT = -1e30


def _softmax(scores, mask):
    """Weights over the tokens, the second last axis of the scores; exactly 0 where one is absent."""
    scores = jnp.where(mask, scores, _ABSENT)
    exponentials = jnp.exp(scores - scores.max(-2, keepdims=True))
    return exponentials / exponentials.sum(-2, keepdims=True)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def attention_pool(query: jax.Array, tokens: jax.Array, mask: jax.Array, scale: float) -> jax.Array:
    """One query a head over tokens that are keys and values at once.

    With a single query, the key and value projections of multi-head attention can be moved onto the query
    and onto the result: the same function, without a matrix product for every token.

    Args:
        query: float32 [H, W, B].
        tokens: float32 [W, N, B].
        mask: bool [N, B], True where a token is present; at least one in each sample.
        scale: by which scores are multiplied.

    Returns:
        Weighted means of the tokens, float32 [H, W, B].
    """
    return _attention_pool_forward(query, tokens, mask, scale)[0]


def _weights(query, tokens, mask, scale):
    """Attention of each head over the tokens, [H, N, B]."""
    return _softmax(scale * (query[:, :, None] * tokens[None]).sum(1), mask)


def _attention_pool_forward(query, tokens, mask, scale):
    weights = _weights(query, tokens, mask, scale)
    pooled = (weights[:, None] * tokens[None]).sum(2)
    return pooled, (query, tokens, pooled, weights)


def _attention_pool_backward(scale, residuals, gradient):
    query, tokens, pooled, weights = residuals
    center = (gradient * pooled).sum(1)  # [H, B]
    d_scores = scale * weights * ((gradient[:, :, None] * tokens[None]).sum(1) - center[:, None])
    d_query = (d_scores[:, None] * tokens[None]).sum(2)

    def add_head(d_tokens, head):
        query_h, d_scores_h, weights_h, gradient_h = head
        return d_tokens + d_scores_h[None] * query_h[:, None] + weights_h[None] * gradient_h[:, None], None

    heads = (query, d_scores, weights, gradient)
    return d_query, jax.lax.scan(add_head, jnp.zeros_like(tokens), heads)[0], None


attention_pool.defvjp(_attention_pool_forward, _attention_pool_backward)


def _head_weights(query, key, mask):
    """Attention of one head, [Q, N, B]."""
    return _softmax((query[:, :, None] * key[:, None]).sum(0), mask)


def _head_forward(query, key, value, mask):
    weights = _head_weights(query, key, mask)
    return (weights[None] * value[:, None]).sum(2), weights


@jax.custom_vjp
def attend(query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array) -> jax.Array:
    """Multi-head attention (Vaswani et al. 2017, arXiv:1706.03762, equation 1).

    Args:
        query: float32 [H, D, Q, B], already scaled.
        key: float32 [H, D, N, B].
        value: float32 [H, D, N, B].
        mask: bool [N, B], True where a token is present; at least one in each sample.

    Returns:
        float32 [H, D, Q, B].
    """
    return _attend_forward(query, key, value, mask)[0]


def _attend_forward(query, key, value, mask):
    def head(_, qkv):
        query, key, value = qkv
        return None, _head_forward(query, key, value, mask)

    result, weights = jax.lax.scan(head, None, (query, key, value))[1]
    return result, (query, key, value, weights)


def _attend_backward(residuals, gradient):
    def head(_, inputs):
        query, key, value, weights, g = inputs
        d_weights = (g[:, :, None] * value[:, None]).sum(0)  # [Q, N, B]
        d_scores = weights * (d_weights - (d_weights * weights).sum(1, keepdims=True))
        d_value = (weights[None] * g[:, :, None]).sum(1)
        d_query = (d_scores[None] * key[:, None]).sum(2)
        d_key = (d_scores[None] * query[:, :, None]).sum(1)
        return None, (d_query, d_key, d_value)

    return *jax.lax.scan(head, None, (*residuals, gradient))[1], None


attend.defvjp(_attend_forward, _attend_backward)


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
    weights = jax.vmap(lambda query, key: _head_weights(query, key, mask))(query, key)
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
        tell(self, "attention_entropy", lambda: attention_entropy(_weights(query, tokens, mask, scale), mask))
        pooled = attention_pool(query, tokens, mask, scale).reshape(num_heads * width, -1)
        out = Dense(width, scale=settings.residual_scale, name="attention_out")(pooled)
        return think(self, settings, leave(self, settings, "attention", summary, out))


def masked_mean(tokens: jax.Array, mask: jax.Array) -> jax.Array:
    """Mean over the tokens that are present: [W, N, B] under [N, B] -> [W, B]; 0 where none is."""
    present = mask.astype(tokens.dtype)
    return (tokens * present[None]).sum(1) / jnp.maximum(present.sum(0), 1.0)
