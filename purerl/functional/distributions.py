"""The little that distrax lacks: policies that fill a box, and samples from noise that is drawn ahead."""

import math

import distrax
import jax
import jax.numpy as jnp
from flax import struct

from purerl.types import ActionSpace

_LOG_SQRT_TWO_PI = 0.5 * math.log(2.0 * math.pi)


def draw_noise(key: jax.Array, space: ActionSpace, *batch: int) -> jax.Array:
    """What chance decides in actions over a space: [*batch, A], Gumbel (discrete) or Gaussian noise.

    Drawn ahead of a loop over steps it costs little: on a CPU, each draw within a loop is a loop itself.
    """
    if hasattr(space, "n"):
        return jax.random.gumbel(key, (*batch, space.n))
    return jax.random.normal(key, (*batch, math.prod(space.shape)))


def act_with(policy: distrax.Distribution, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
    r"""Actions of B policies from noise [B, A]: the same as `policy.sample` with the key of the noise.

    Gumbel noise chooses as a categorical policy does, :math:`a = \arg\max_i (\ell_i + g_i)`; Gaussian noise
    is scaled and shifted.

    Returns:
        actions, int32 [B] or float32 [B, A], and the logarithm of their probability or density, float32 [B].
    """
    if isinstance(policy, distrax.Categorical):
        action = (policy.logits + noise).argmax(-1).astype(jnp.int32)
    else:
        action = policy.loc + policy.scale_diag * noise
    return action, policy.log_prob(action)


def entropy_of(policy: distrax.Distribution) -> jax.Array:
    """Entropy of B policies, float32 [B], as distrax has it, which normalizes normalized logits once more."""
    if not isinstance(policy, distrax.Categorical):
        return policy.entropy()
    log_probs = jnp.where(jnp.isneginf(policy.logits), 0.0, policy.logits)
    return -(jnp.exp(policy.logits) * log_probs).sum(-1)


def log_derivative_of_tanh(x: jax.Array) -> jax.Array:
    r"""Logarithm of the derivative of tanh, :math:`\log(1 - \tanh^2 x) = 2 (\log 2 - x - \log(1 + e^{-2x}))`.

    The right-hand side keeps its digits where `tanh` rounds to 1 and the left-hand side becomes -inf.
    """
    return 2.0 * (math.log(2.0) - x - jax.nn.softplus(-2.0 * x))


@struct.dataclass
class TanhNormal:
    r"""A Gaussian in each of A dimensions, squashed into (-1, 1): :math:`a = \tanh(\mu + \sigma \epsilon)`.

    .. math::
        \log \pi(a) = \sum_i \log N(u_i; \mu_i, \sigma_i) - \log(1 - \tanh^2 u_i), \qquad a = \tanh u

    The standard deviation is the exponential of `log_std`, and is never clamped.

    Attributes:
        mean: of the Gaussian before it is squashed, float32 [..., A].
        log_std: logarithm of its standard deviation, float32 [..., A].

    Source: Haarnoja et al. 2018 (arXiv:1801.01290), appendix C.
    """

    mean: jax.Array
    log_std: jax.Array

    def sample(self, seed: jax.Array) -> jax.Array:
        """Draws actions in (-1, 1), float32 [..., A]."""
        noise = jax.random.normal(seed, self.mean.shape)
        return jnp.tanh(self.mean + jnp.exp(self.log_std) * noise)

    def sample_and_log_prob(self, seed: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Draws actions, float32 [..., A], with the logarithm of their density, float32 [...].

        Both are differentiable in mean and deviation, the noise held fixed.
        """
        noise = jax.random.normal(seed, self.mean.shape)
        unsquashed = self.mean + jnp.exp(self.log_std) * noise
        return jnp.tanh(unsquashed), self._density(noise, unsquashed)

    def log_prob(self, action: jax.Array) -> jax.Array:
        """Logarithm of the density of actions strictly within (-1, 1): float32 [..., A] -> [...]."""
        unsquashed = jnp.arctanh(action)
        return self._density((unsquashed - self.mean) * jnp.exp(-self.log_std), unsquashed)

    def mode(self) -> jax.Array:
        """The squashed mean, float32 [..., A]: what the policy does when it does not explore."""
        return jnp.tanh(self.mean)

    def _density(self, noise: jax.Array, unsquashed: jax.Array) -> jax.Array:
        gaussian = -0.5 * jnp.square(noise) - self.log_std - _LOG_SQRT_TWO_PI
        return (gaussian - log_derivative_of_tanh(unsquashed)).sum(-1)
