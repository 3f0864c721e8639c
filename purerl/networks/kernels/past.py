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
_FEW = 16


def to_key_order(by_distance: jax.Array) -> jax.Array:
    """Moves what is known of each distance to the key at that distance.

    Row t of the result holds row t of the argument from column t on: in rows of S + 1 entries read as rows of
    S, each row begins one entry later than the one before.

    Args:
        by_distance: [..., T, S + 1], the farthest of M + 1 distances first, then zeros; S = M + T.

    Returns:
        [..., T, S], zero elsewhere.
    """
    *batch, steps, entries = by_distance.shape
    flat = by_distance.reshape(*batch, steps * entries)[..., : steps * (entries - 1)]
    return flat.reshape(*batch, steps, entries - 1)


def to_distance_order(by_key: jax.Array, num_distances: int) -> jax.Array:
    """The transpose of `to_key_order`: [..., T, S] -> [..., T, M + 1]."""
    *batch, steps, num_keys = by_key.shape
    padding = [(0, 0)] * len(batch) + [(0, steps)]
    flat = jnp.pad(by_key.reshape(*batch, steps * num_keys), padding)
    return flat.reshape(*batch, steps, num_keys + 1)[..., :num_distances]


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
    (heads, width, steps, samples), length = query.shape, positions.shape[2] - 1
    scale = width**-0.5
    if not (steps > length > 0 and steps % length == 0):
        return _attend(scale * query, key, value, positions, scale * biases, age)
    # A block of M steps sees no more than itself and the M steps before: blocks are samples.
    apart = _attend(
        _windows(scale * query, length, length),
        _windows(key, length, 2 * length),
        _windows(value, length, 2 * length),
        positions,
        scale * biases,
        _windows(age, length, length),
    ).reshape(heads, width, length, -1, samples)
    return jnp.swapaxes(apart, 2, 3).reshape(query.shape)


@jax.custom_vjp
def _attend(query, key, value, positions, biases, age):
    # One block, queries and biases scaled. The gradient is written out, so that every product is of rows
    # with columns, and no weight is divided by the sum of its row: results and gradients are.
    return _attend_forward(query, key, value, positions, biases, age)[0]


def _attend_forward(query, key, value, positions, biases, age):
    (heads, width, steps, samples), num_keys = query.shape, key.shape[2]
    u, v = biases[:, :, None, None]
    padded = jnp.pad(positions, ((0, 0), (0, 0), (0, num_keys + 1 - positions.shape[2])))
    # Rows of all samples at once: as many as there are steps and samples.
    by_distance = (_rows(query) + v).reshape(heads, samples * steps, width) @ padded
    by_key = to_key_order(by_distance.reshape(heads, samples, steps, num_keys + 1))
    distance = num_keys - steps + jnp.arange(steps)[:, None] - jnp.arange(num_keys)  # [T, S]
    visible = (distance >= 0) & (distance <= age.T[:, :, None])  # [B, T, S]
    scores = jnp.where(visible, (_rows(query) + u) @ _columns(key) + by_key, _HIDDEN)
    weights = jnp.exp(scores - _largest(scores))
    share = 1.0 / (weights @ jnp.ones((num_keys, 1)))
    result = (weights @ _rows(value)) * share  # [H, B, T, D]
    return _rows(result), (query, key, value, positions, biases, weights, share, result)


def _attend_backward(residuals, gradient):
    query, key, value, positions, biases, weights, share, result = residuals
    (heads, width, steps, samples), num_distances = query.shape, positions.shape[2]
    u, v = biases[..., None]
    rows = _rows(gradient) * share
    d_scores = weights * (rows @ _columns(value) - (rows * result).sum(-1, keepdims=True))  # [H, B, T, S]
    d_value = (_columns(gradient) * jnp.swapaxes(share, -1, -2)) @ weights
    d_key = (_columns(query) + u[:, None]) @ d_scores
    by_distance = to_distance_order(d_scores, num_distances).reshape(heads, samples * steps, num_distances)
    columns = jnp.swapaxes(query, 2, 3).reshape(heads, width, samples * steps)
    d_positions = (columns + v) @ by_distance
    through_keys = d_scores @ _rows(key)
    through_positions = (by_distance @ jnp.swapaxes(positions, 1, 2)).reshape(through_keys.shape)
    d_query = _rows(through_keys + through_positions)
    d_biases = jnp.stack([through_keys.sum((1, 2)), through_positions.sum((1, 2))])
    return d_query, _from_columns(d_key), _from_columns(d_value), d_positions, d_biases, None


_attend.defvjp(_attend_forward, _attend_backward)


def _rows(x):
    """[H, D, T, B] -> [H, B, T, D], and back."""
    return jnp.transpose(x, (0, 3, 2, 1))


def _columns(x):
    """[H, D, T, B] -> [H, B, D, T]."""
    return jnp.transpose(x, (0, 3, 1, 2))


def _from_columns(x):
    """[H, B, D, T] -> [H, D, T, B]."""
    return jnp.transpose(x, (0, 2, 3, 1))


def _largest(scores):
    """Maximum of each row, [..., 1]: halves against halves, which a CPU compares many entries at a time."""
    while scores.shape[-1] % 2 == 0 and scores.shape[-1] > _FEW:
        half = scores.shape[-1] // 2
        scores = jnp.maximum(scores[..., :half], scores[..., half:])
    return scores.max(-1, keepdims=True)


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
