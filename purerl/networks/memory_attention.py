r"""Attention of each step to the steps before it, with relative positions: over a segment, and one by one.

.. math::
    a_{tj} \propto \exp\left(\left((q_t + u)^T k_j + (q_t + v)^T r_{t-j}\right) / \sqrt{D}\right),
    \qquad t - \text{age}_t \le j \le t

where age_t counts the steps before t that belong to its episode, M at most. Both forms give the same numbers.

Source: Dai et al. 2019 (arXiv:1901.02860), section 3.3.

Axes: W width, H heads, D width of a head, T time, M past steps, S = M + T, B samples.
"""

import jax
import jax.numpy as jnp

_HIDDEN = -1e30


@jax.custom_vjp
def softmax(scores: jax.Array) -> jax.Array:
    """Weights over the second last axis: the inner loops of its reductions run over the last one."""
    exponentials = jnp.exp(scores - scores.max(-2, keepdims=True))
    return exponentials / exponentials.sum(-2, keepdims=True)


def _softmax_forward(scores):
    weights = softmax(scores)
    return weights, weights


def _softmax_backward(weights, gradient):
    product = weights * gradient
    return (product - weights * product.sum(-2, keepdims=True),)


softmax.defvjp(_softmax_forward, _softmax_backward)


def to_key_order(by_distance: jax.Array, num_keys: int) -> jax.Array:
    """Moves what is known of each distance to the key at that distance.

    Row t of the result holds row t of the argument from column t on, and zeros elsewhere.

    Args:
        by_distance: [..., T, M + 1], the farthest first.
        num_keys: S = M + T.

    Returns:
        [..., T, S].
    """
    *batch, steps, distances = by_distance.shape
    padding = [(0, 0)] * (len(batch) + 1) + [(0, num_keys + 1 - distances)]
    # In rows of S + 1 entries read as rows of S, each row begins one entry later than the one before.
    flat = jnp.pad(by_distance, padding).reshape(*batch, steps * (num_keys + 1))
    return flat[..., : steps * num_keys].reshape(*batch, steps, num_keys)


def attend_to_past(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    positions: jax.Array,
    biases: jax.Array,
    age: jax.Array,
) -> jax.Array:
    """Attention of all steps of a segment at once.

    Args:
        query: float32 [H, D, T, B].
        key: float32 [H, D, S, B], of the M steps before the segment and of its own.
        value: float32 [H, D, S, B].
        positions: r, float32 [H, D, M + 1], the farthest first.
        biases: u and v, float32 [2, H, D].
        age: int32 [T, B], 0 to M.

    Returns:
        float32 [H, D, T, B].
    """
    (heads, width, steps, samples), num_keys = query.shape, key.shape[2]
    length = positions.shape[2] - 1
    if steps > length > 0 and steps % length == 0:
        # A block of M steps sees no more than itself and the M steps before: blocks are samples.
        apart = attend_to_past(
            _windows(query, length, length),
            _windows(key, length, 2 * length),
            _windows(value, length, 2 * length),
            positions,
            biases,
            _windows(age, length, length),
        ).reshape(heads, width, length, -1, samples)
        return jnp.swapaxes(apart, 2, 3).reshape(query.shape)
    scaled = query * width**-0.5
    u, v = biases[..., None, None] * width**-0.5
    by_content = jnp.transpose(key, (3, 0, 2, 1)) @ jnp.transpose(scaled + u, (3, 0, 1, 2))  # [B, H, S, T]
    by_distance = jnp.transpose(scaled + v, (3, 0, 2, 1)) @ positions  # [B, H, T, M + 1]
    scores = by_content + jnp.swapaxes(to_key_order(by_distance, num_keys), -1, -2)
    distance = num_keys - steps + jnp.arange(steps) - jnp.arange(num_keys)[:, None]  # [S, T]
    visible = (distance >= 0) & (distance <= age.T[:, None, None])
    weights = softmax(jnp.where(visible, scores, _HIDDEN))
    return jnp.transpose(jnp.transpose(value, (3, 0, 1, 2)) @ weights, (1, 2, 3, 0))


def _windows(sequence: jax.Array, stride: int, size: int) -> jax.Array:
    """Parts of a sequence, one every `stride` steps, as samples: [..., S, B] -> [..., size, parts * B]."""
    starts = range(0, sequence.shape[-2] - size + 1, stride)
    parts = jnp.stack([sequence[..., start : start + size, :] for start in starts], axis=-2)
    return parts.reshape(*parts.shape[:-2], -1)


def weigh_past(
    query: jax.Array,
    past: jax.Array,
    kernel: jax.Array,
    positions: jax.Array,
    biases: jax.Array,
    visible: jax.Array,
) -> jax.Array:
    """How much one step attends to each of the past. The projection of the keys moves onto the query.

    With `gather_past`, the past is held once for keys and values of all heads, and a step multiplies no
    matrix with it.

    Args:
        query: float32 [H, D, B].
        past: float32 [B, N, W], in any order.
        kernel: that makes keys out of the past, float32 [W, H, D].
        positions: r of each of them, float32 [H, D, N].
        biases: u and v, float32 [2, H, D].
        visible: bool [B, N]; at least one in each sample.

    Returns:
        float32 [B, H, N], with sum 1 over N and 0 where nothing is visible.
    """
    scaled = query * query.shape[1] ** -0.5
    u, v = biases[..., None] * query.shape[1] ** -0.5
    asked = jnp.einsum("whd,hdb->bhw", kernel, scaled + u)
    by_distance = jnp.einsum("hdn,hdb->bhn", positions, scaled + v)
    scores = asked @ jnp.swapaxes(past, 1, 2) + by_distance  # [B, H, N]
    return jax.nn.softmax(jnp.where(visible[:, None], scores, _HIDDEN))


def gather_past(weights: jax.Array, past: jax.Array, kernel: jax.Array) -> jax.Array:
    """What one step takes from the past. The projection of the values moves onto the result.

    Args:
        weights: float32 [B, H, N].
        past: float32 [B, N, W].
        kernel: that makes values out of the past, float32 [W, H, D].

    Returns:
        float32 [H, D, B].
    """
    return jnp.einsum("whd,bhw->hdb", kernel, weights @ past)
