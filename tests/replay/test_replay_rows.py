"""Packed rows: what is taken is what was put."""

import jax
import jax.numpy as jnp
import numpy as np

from purerl.replay.rows import init_rows, put, take, unpack

BITS = np.array([0x7FC12345, 0x80000000, 0x00000001, 0xFF800000, 0xFFFFFFFF], np.uint32)
"""As floats: not a number, with bits of its own; -0; the smallest above 0; minus infinity; not a number."""


def tree(lead):
    """Leaves [lead, ...] of many dtypes, none like another."""
    count = np.arange(lead, dtype=np.uint32)[:, None]
    return {
        "floats": (BITS + count).view(np.float32),
        "flag": count[:, 0] % 2 == 0,
        "integers": (BITS - count).view(np.int32)[:, :4].reshape(lead, 2, 2),
        "picture": (count * 7 + np.arange(12)).astype(np.uint8).reshape(lead, 3, 4),
        "seed": BITS[0] + count[:, 0],
        "half": (count + np.arange(3)).astype(np.float16),
        "long": (count + np.arange(17)).astype(np.int32),
        "nothing": np.zeros((lead, 0), np.float32),
    }


def test_bits_and_dtypes_survive_and_other_rows_stay_as_they_are():
    values, index = tree(4), jnp.array([9, 2, 3, 0])
    blank = jax.tree.map(lambda leaf: np.zeros_like(leaf[0]), values)
    rows = init_rows(blank, num_envs=2, num_rows=5)
    rows = jax.jit(put)(rows, index, values)
    taken = jax.jit(take)(rows, index.reshape(2, 2))
    everything = jax.tree.map(lambda leaf: np.asarray(leaf).reshape(10, *leaf.shape[2:]), unpack(rows))
    for name, leaf in values.items():
        assert taken[name].dtype == leaf.dtype
        assert taken[name].shape == (2, 2, *leaf.shape[1:])
        assert np.asarray(taken[name]).tobytes() == leaf.tobytes()
        assert everything[name][np.asarray(index)].tobytes() == leaf.tobytes()
        assert not everything[name][[1, 4, 5, 6, 7, 8]].any()


def test_short_leaves_of_32_bits_lie_in_one_array():
    rows = init_rows(jax.tree.map(lambda leaf: leaf[0], tree(1)), num_envs=3, num_rows=4)
    assert rows.words.shape == (3, 4, 5 + 4 + 1)
    assert [leaf.dtype.name for leaf in rows.others] == ["bool", "float16", "int32", "uint8"]
