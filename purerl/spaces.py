"""Action and observation spaces, with the attributes of gymnax's own, which take seconds to import."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from purerl.types import ActionSpace, DType, PyTree, Space, TokenGroup, Views


@dataclass(frozen=True)
class Discrete:
    """The integers 0 to `n` - 1."""

    n: int
    shape: tuple[int, ...] = ()
    dtype: DType = jnp.int32

    def sample(self, key: jax.Array) -> jax.Array:
        """Draws uniformly: int32 []."""
        return jax.random.randint(key, self.shape, 0, self.n, self.dtype)

    def contains(self, x: jax.Array) -> jax.Array:
        """True where `x` is a member: bool []."""
        return jnp.all((x >= 0) & (x < self.n))


@dataclass(frozen=True)
class MultiDiscrete:
    """Several integers side by side: entry i is one of 0 to `nvec[i]` - 1."""

    nvec: tuple[int, ...]
    dtype: DType = jnp.int32

    @property
    def shape(self) -> tuple[int]:
        """How many integers there are."""
        return (len(self.nvec),)

    def sample(self, key: jax.Array) -> jax.Array:
        """Draws each entry uniformly: int32 [K]."""
        return jax.random.randint(key, self.shape, 0, jnp.array(self.nvec), self.dtype)

    def contains(self, x: jax.Array) -> jax.Array:
        """True where every entry is a member: bool []."""
        return jnp.all((x >= 0) & (x < jnp.array(self.nvec)))


@dataclass(frozen=True)
class Box:
    """Arrays of `shape` between `low` and `high`, both included.

    Attributes:
        low: bounds that broadcast to the shape; -inf where there is none.
        high: the same; inf where there is none.
        shape: of the arrays.
        dtype: of the arrays: floating-point numbers, integers or booleans.
        periodic: whether both ends are the same, as those of an angle are: what lies beyond them turns on.
    """

    low: ArrayLike
    high: ArrayLike
    shape: tuple[int, ...]
    dtype: DType = jnp.float32
    periodic: bool = False

    def sample(self, key: jax.Array) -> jax.Array:
        """Draws members by the rules of Gymnasium: `dtype` [*shape].

        Uniformly between two bounds, both ends of integers and both booleans included; an exponential beyond
        one bound; a normal where there is none.
        """
        if jnp.issubdtype(self.dtype, jnp.floating):
            return _sample_numbers(self, key)
        return _sample_integers(self, key)

    def contains(self, x: jax.Array) -> jax.Array:
        """True where every entry of `x` is within the bounds: bool []."""
        low, high = self.low, self.high
        if not jnp.issubdtype(self.dtype, jnp.floating):
            low, high = (bound.astype(self.dtype) for bound in _integer_bounds(self))
        return jnp.all((x >= low) & (x <= high))


def _sample_numbers(box: Box, key: jax.Array) -> jax.Array:
    kind = jnp.promote_types(box.dtype, jnp.float32)
    low, high = (jnp.broadcast_to(jnp.asarray(bound, kind), box.shape) for bound in (box.low, box.high))
    below, above = jnp.isfinite(low), jnp.isfinite(high)
    foot, top = jnp.where(below, low, 0), jnp.where(above, high, 0)
    uniform_key, normal_key = jax.random.split(key)
    share = jax.random.uniform(uniform_key, box.shape, kind)
    beyond = -jnp.log1p(-share)
    drawn = jnp.where(below, foot + beyond, top - beyond)
    # Not low + share * (high - low): the difference may be more than a number holds.
    drawn = jnp.where(below & above, foot * (1 - share) + top * share, drawn)
    drawn = jnp.where(below | above, drawn, jax.random.normal(normal_key, box.shape, kind))
    return jnp.clip(drawn, low, high).astype(box.dtype)


def _sample_integers(box: Box, key: jax.Array) -> jax.Array:
    low, high = _integer_bounds(box)
    least, greatest = _range_of(box.dtype)
    # What an integer type cannot go below or beyond anyway is a bound of booleans and unsigned numbers.
    below = np.broadcast_to(np.isfinite(np.asarray(box.low, np.float64)), box.shape) | (least == 0)
    above = np.broadcast_to(np.isfinite(np.asarray(box.high, np.float64)), box.shape) | (greatest == 1)
    anchor = np.where(below, low, np.where(above, high, 0))
    bits_key, share_key, normal_key = jax.random.split(key, 3)
    count = (high - low + 1).astype(np.uint32)  # 0 stands for all 2^32 integers
    bits = jax.random.bits(bits_key, box.shape, jnp.uint32)
    between = jnp.where(count == 0, bits, bits % np.maximum(count, 1))
    beyond = jnp.floor(-jnp.log1p(-jax.random.uniform(share_key, box.shape))).astype(jnp.uint32)
    up = jnp.minimum(beyond, (greatest - anchor).astype(np.uint32))
    down = jnp.minimum(beyond, (anchor - least).astype(np.uint32))
    near = jnp.floor(jax.random.normal(normal_key, box.shape)).astype(jnp.int32).astype(jnp.uint32)
    offset = jnp.where(below & above, between, jnp.where(below, up, jnp.where(above, 0 - down, near)))
    # Modulo 2^32, sums are right whatever the sign.
    drawn = jnp.asarray(anchor.astype(np.uint32)) + offset
    return (drawn if least == 0 else drawn.astype(jnp.int32)).astype(box.dtype)


def _range_of(dtype: DType) -> tuple[int, int]:
    """The least and the greatest number of booleans or integers of at most 32 bits."""
    dtype = jax.dtypes.canonicalize_dtype(dtype)
    return (0, 1) if dtype.kind == "b" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))


def _integer_bounds(box: Box) -> tuple[np.ndarray, np.ndarray]:
    """The least and the greatest integer of each entry of a box, int64 [*shape]."""
    bounds = (np.clip(np.asarray(bound, np.float64), *_range_of(box.dtype)) for bound in (box.low, box.high))
    low, high = (np.broadcast_to(bound, box.shape) for bound in bounds)
    return np.ceil(low).astype(np.int64), np.floor(high).astype(np.int64)


@dataclass(frozen=True)
class Dict:
    """Named spaces: what a pytree of arrays is a member of."""

    spaces: Mapping[str, Space] = field(default_factory=dict)

    def sample(self, key: jax.Array) -> dict[str, PyTree]:
        """Draws each named space with a key of its own."""
        keys = jax.random.split(key, len(self.spaces))
        return {name: space.sample(k) for k, (name, space) in zip(keys, self.spaces.items(), strict=True)}

    def contains(self, x: Mapping[str, PyTree]) -> jax.Array:
        """True where every named entry is within its space: bool []."""
        return _all([space.contains(x[name]) for name, space in self.spaces.items()])


@dataclass(frozen=True)
class Tuple:
    """Spaces in an order: what a tuple of members is a member of."""

    spaces: tuple[Space, ...] = ()

    def sample(self, key: jax.Array) -> tuple[PyTree, ...]:
        """Draws each space with a key of its own."""
        keys = jax.random.split(key, len(self.spaces))
        return tuple(space.sample(k) for k, space in zip(keys, self.spaces, strict=True))

    def contains(self, x: tuple[PyTree, ...]) -> jax.Array:
        """True where every entry is within its space: bool []."""
        return _all([space.contains(part) for part, space in zip(x, self.spaces, strict=True)])


def _all(parts: list[jax.Array]) -> jax.Array:
    return jnp.all(jnp.stack(parts)) if parts else jnp.ones((), bool)


@dataclass(frozen=True)
class Tokens:
    """Groups of `num_tokens` tokens of one kind, with `num_features` each between `low` and `high`."""

    num_tokens: int
    num_features: int
    kind: int
    low: ArrayLike = -1.0
    high: ArrayLike = 1.0

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the values: (tokens, features)."""
        return self.num_tokens, self.num_features

    def sample(self, key: jax.Array) -> TokenGroup:
        """Draws values and mask uniformly; values of absent tokens are zero."""
        key_values, key_mask = jax.random.split(key)
        mask = jax.random.bernoulli(key_mask, shape=(self.num_tokens,))
        values = Box(self.low, self.high, self.shape).sample(key_values)
        return TokenGroup(values=jnp.where(mask[:, None], values, 0.0), mask=mask, kind=self.kind)

    def contains(self, x: TokenGroup) -> jax.Array:
        """True where kind and shapes agree and every present value is within the bounds: bool []."""
        if x.kind != self.kind or x.values.shape != self.shape or x.mask.shape != self.shape[:1]:
            return jnp.zeros((), bool)
        return jnp.all(~x.mask[:, None] | ((x.values >= self.low) & (x.values <= self.high)))


@dataclass(frozen=True)
class TwoViews:
    """Observations of which policy and critic see different things: `Views`."""

    actor: Space
    critic: Space

    def sample(self, key: jax.Array) -> Views:
        """Draws both; they have nothing to do with each other."""
        actor_key, critic_key = jax.random.split(key)
        return Views(actor=self.actor.sample(actor_key), critic=self.critic.sample(critic_key))

    def contains(self, x: Views) -> jax.Array:
        """True where both are members: bool []."""
        return self.actor.contains(x.actor) & self.critic.contains(x.critic)


def are_vectors(space: Space) -> bool:
    """Whether members of a space, ours or gymnax's, are vectors."""
    return len(getattr(space, "shape", None) or ()) == 1


def fit_action(action: jax.Array, space: ActionSpace) -> jax.Array:
    """What an environment is told of an action: in the shape and dtype of its space, and within its bounds.

    Every action passes through here on its way to an environment; what is learned from is the action as
    it was sampled.

    Args:
        action: of a policy: an integer, or as many numbers as the box has entries, in any shape.
        space: ours, or one with the same attributes.

    Returns:
        `dtype` [*shape]: numbers clipped, or turned on where the box is periodic; rounded to the nearest
        where the box is one of integers.
    """
    action, dtype = jnp.asarray(action), jax.dtypes.canonicalize_dtype(space.dtype)
    if hasattr(space, "n"):
        return action.astype(dtype).reshape(space.shape)
    action = action.reshape(space.shape)
    if not jnp.issubdtype(action.dtype, jnp.floating):
        action = action.astype(jnp.float32)
    low, high = (jnp.asarray(bound).astype(action.dtype) for bound in (space.low, space.high))
    if getattr(space, "periodic", False):
        return (low + (action - low) % (high - low)).astype(dtype)
    action = action if jnp.issubdtype(dtype, jnp.floating) else jnp.round(action)
    return jnp.clip(action, low, high).astype(dtype)
