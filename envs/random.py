"""Random words that cost little: a key's counter-based expansion by MurmurHash3's finalizer.

A step needs about twenty words, of a distribution and independence good enough for placing pellets.
Threefry, rolled as JAX rolls it on CPU, takes a third of the step for them; two keyed rounds of this
finalizer take a thirtieth. Keys that `jax.random.split` made are themselves words of threefry.
"""

import jax
import jax.numpy as jnp

GOLDEN = 0x9E3779B9
"""2 ** 32 divided by the golden ratio: consecutive counters become far apart (Knuth, 6.4)."""


def key_words(key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The two words, uint32 [] each, that a key consists of; longer keys are folded."""
    data = jax.random.key_data(key)
    return data[0] ^ data[-2], data[-1]


def words(seed: tuple[jax.Array, jax.Array], count: int) -> jax.Array:
    """The first words of a seed: uint32 [count], uniform and independent in effect.

    Args:
        seed: what `key_words` gave.
        count: how many.
    """
    counters = jnp.arange(count, dtype=jnp.uint32) * jnp.uint32(GOLDEN)
    return finalize(finalize(seed[1] + counters) ^ seed[0])


def finalize(word: jax.Array) -> jax.Array:
    """The finalizer of MurmurHash3 (Appleby, 2011), a permutation of the uint32."""
    word = (word ^ (word >> 16)) * jnp.uint32(0x85EBCA6B)
    word = (word ^ (word >> 13)) * jnp.uint32(0xC2B2AE35)
    return word ^ (word >> 16)


def unit(halves: jax.Array) -> jax.Array:
    """Uniform numbers in (0, 1) from uniform integers below 2 ** 16: float32 [...]."""
    return (halves.astype(jnp.int32).astype(jnp.float32) + 0.5) * (1.0 / 65536.0)


def points(words: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Uniform points of the unit square, 16 bits a coordinate: x and y, float32 [...] each, in (0, 1)."""
    return unit(words >> 16), unit(words & 0xFFFF)


def below(word: jax.Array, bound: jax.Array) -> jax.Array:
    """A uniform integer in [0, `bound`), int32 [], from a uniform uint32 [], for `bound` below 2 ** 16."""
    return (((word >> 16) * bound.astype(jnp.uint32)) >> 16).astype(jnp.int32)


def normals(words: jax.Array) -> jax.Array:
    """Standard normals by inversion, float32 [...], from uniform uint32 [...]."""
    # 23 bits: with 24 the largest would round to 1, whose inverse is infinite.
    uniform = ((words >> 9).astype(jnp.int32).astype(jnp.float32) + 0.5) * (1.0 / 8388608.0)
    return jnp.sqrt(2.0).astype(jnp.float32) * jax.lax.erf_inv(2.0 * uniform - 1.0)


def batch_words(seeds: jax.Array, counter: jax.Array | int) -> jax.Array:
    """The word at one position in the sequence of each member of a batch.

    Args:
        seeds: two words a member, uint32 [2, B].
        counter: the position, int [] or, for several words a member, [M, 1].

    Returns:
        uint32 [B] or [M, B].
    """
    counters = jnp.asarray(counter).astype(jnp.uint32) * jnp.uint32(GOLDEN)
    return finalize(finalize(seeds[1] + counters) ^ seeds[0])


def index_below(word: jax.Array, bound: jax.Array) -> jax.Array:
    """A uniform integer in [0, `bound`), uint32 [...], from a uniform uint32, for `bound` up to 2 ** 16.

    The upper half of the 48-bit product of word and bound: biased by less than 2 ** -16 of each share.
    """
    bound = bound.astype(jnp.uint32)
    return ((word >> 16) * bound + (((word & 0xFFFF) * bound) >> 16)) >> 16
