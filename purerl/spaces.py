"""Action and observation spaces, with the attributes of gymnax's own, which take seconds to import."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from purerl.types import TokenGroup, Views


@dataclass(frozen=True)
class Discrete:
    """The integers 0 to `n` - 1."""

    n: int
    shape: tuple[int, ...] = ()
    dtype: Any = jnp.int32

    def sample(self, key: jax.Array) -> jax.Array:
        """Draws uniformly: int32 []."""
        return jax.random.randint(key, self.shape, 0, self.n, self.dtype)

    def contains(self, x: jax.Array) -> jax.Array:
        """True where `x` is a member: bool []."""
        return jnp.all((x >= 0) & (x < self.n))


@dataclass(frozen=True)
class Box:
    """Arrays of `shape` between `low` and `high`, both included."""

    low: Any
    high: Any
    shape: tuple[int, ...]
    dtype: Any = jnp.float32

    def sample(self, key: jax.Array) -> jax.Array:
        """Draws uniformly: `dtype` [*shape]."""
        return jax.random.uniform(key, self.shape, minval=self.low, maxval=self.high).astype(self.dtype)

    def contains(self, x: jax.Array) -> jax.Array:
        """True where every entry of `x` is within the bounds: bool []."""
        return jnp.all((x >= self.low) & (x <= self.high))


@dataclass(frozen=True)
class Dict:
    """Named spaces: what a pytree of arrays is a member of."""

    spaces: Mapping[str, Any] = field(default_factory=dict)

    def sample(self, key: jax.Array) -> dict[str, Any]:
        """Draws each named space with a key of its own."""
        keys = jax.random.split(key, len(self.spaces))
        return {name: space.sample(k) for k, (name, space) in zip(keys, self.spaces.items(), strict=True)}

    def contains(self, x: Mapping[str, Any]) -> jax.Array:
        """True where every named entry is within its space: bool []."""
        return jnp.all(jnp.stack([space.contains(x[name]) for name, space in self.spaces.items()]))


@dataclass(frozen=True)
class Tokens:
    """Groups of `num_tokens` tokens of one kind, with `num_features` each between `low` and `high`."""

    num_tokens: int
    num_features: int
    kind: int
    low: Any = -1.0
    high: Any = 1.0

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the values: (tokens, features)."""
        return self.num_tokens, self.num_features

    def sample(self, key: jax.Array) -> TokenGroup:
        """Draws values and mask uniformly; values of absent tokens are zero."""
        key_values, key_mask = jax.random.split(key)
        mask = jax.random.bernoulli(key_mask, shape=(self.num_tokens,))
        values = jax.random.uniform(key_values, self.shape, minval=self.low, maxval=self.high)
        return TokenGroup(values=jnp.where(mask[:, None], values, 0.0), mask=mask, kind=self.kind)

    def contains(self, x: TokenGroup) -> jax.Array:
        """True where kind and shapes agree and every present value is within the bounds: bool []."""
        if x.kind != self.kind or x.values.shape != self.shape or x.mask.shape != self.shape[:1]:
            return jnp.zeros((), bool)
        return jnp.all(~x.mask[:, None] | ((x.values >= self.low) & (x.values <= self.high)))


@dataclass(frozen=True)
class TwoViews:
    """Observations of which policy and critic see different things: `Views`."""

    actor: Any
    critic: Any

    def sample(self, key: jax.Array) -> Views:
        """Draws both; they have nothing to do with each other."""
        actor_key, critic_key = jax.random.split(key)
        return Views(actor=self.actor.sample(actor_key), critic=self.critic.sample(critic_key))

    def contains(self, x: Views) -> jax.Array:
        """True where both are members: bool []."""
        return self.actor.contains(x.actor) & self.critic.contains(x.critic)


def are_vectors(space: Any) -> bool:
    """Whether members of a space, ours or gymnax's, are vectors."""
    return len(getattr(space, "shape", None) or ()) == 1
