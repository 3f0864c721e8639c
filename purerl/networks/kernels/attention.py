"""Attention over a set of tokens, with gradients of its own. Features first, samples last.

Axes: W width, H heads, D width of a head, Q queries, N tokens, B samples.

Left to itself, XLA fuses the reductions over heads and queries into loops that the CPU runs one element at a
time; a loop over heads keeps every array small and every inner loop over samples, which is several times
faster and gives the same numbers.
"""

from functools import partial

import jax
import jax.numpy as jnp

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


def pool_weights(query: jax.Array, tokens: jax.Array, mask: jax.Array, scale: float) -> jax.Array:
    """Attention of each head over the tokens, [H, N, B]."""
    return _softmax(scale * (query[:, :, None] * tokens[None]).sum(1), mask)


def _attention_pool_forward(query, tokens, mask, scale):
    weights = pool_weights(query, tokens, mask, scale)
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


def head_weights(query: jax.Array, key: jax.Array, mask: jax.Array) -> jax.Array:
    """Attention of one head, [Q, N, B]."""
    return _softmax((query[:, :, None] * key[:, None]).sum(0), mask)


def _head_forward(query, key, value, mask):
    weights = head_weights(query, key, mask)
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
