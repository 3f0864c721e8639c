"""The layers that networks are made of, and the plainest encoder: a multilayer perceptron.

An encoder maps a batch of observations to features, float32 [B, W]. Within, features come first and samples
last, [features, ..., B]: on a CPU the last axis is the one that vector units run over, and a network of width
16 to 64 is several times faster when that axis is the batch. On a GPU the layout costs nothing.
"""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp

from purerl.networks.kernels.dense import add_bias, matmul, orthogonal
from purerl.types import PyTree

EncoderFactory: TypeAlias = Callable[..., nn.Module]
"""Makes an encoder, a module from observations [B, ...] to float32 [B, W]; called with `name=...` alone, as a
class of modules is, or a `functools.partial` of one."""
FEW_FEATURES = 16
"""Observations of no more features than this are transposed before, and not within, products."""


class Layer(nn.Module):
    """A module with parameters of its own."""

    @nn.nowrap
    def param(self, name: str, init_fn: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """As in flax, which traces the initializer anew wherever the parameter is used, to compare shapes."""
        if self.has_variable("params", name):
            return self.get_variable("params", name)
        return super().param(name, init_fn, *arguments, **named)


class Dense(Layer):
    """An affine map of the features: [F, ...] -> [features, ...].

    Attributes:
        features: size of the result.
        scale: gain of the orthogonal initialization; 0 starts the layer at zero.
        use_bias: whether to add a bias, which starts at zero.
    """

    features: int
    scale: float = math.sqrt(2.0)
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps x, float32 [F, ...], to float32 [features, ...]."""
        init = orthogonal(self.scale) if self.scale else nn.initializers.zeros_init()
        y = matmul(self.param("kernel", init, (x.shape[0], self.features)), x)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
            y = add_bias(y, bias)
        return y


class LayerNorm(Layer):
    """Normalizes the features of each sample (Ba et al. 2016, arXiv:1607.06450): [F, ...] -> [F, ...]."""

    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps x, float32 [F, ...], to an array of the same shape with mean 0 and variance 1 over axis 0."""
        shape = (-1, *(1,) * (x.ndim - 1))
        scale = self.param("scale", nn.initializers.ones_init(), (x.shape[0],)).reshape(shape)
        bias = self.param("bias", nn.initializers.zeros_init(), (x.shape[0],)).reshape(shape)
        centered = x - x.mean(0, keepdims=True)
        variance = jnp.square(centered).mean(0, keepdims=True)
        return centered * jax.lax.rsqrt(variance + self.epsilon) * scale + bias


class MLP(nn.Module):
    """Dense layers with an activation after each: [F, ...] -> [sizes[-1], ...].

    Attributes:
        sizes: width of each layer.
        activation: name of a function in `jax.nn`.
        layer_norm: whether features are normalized before each activation.
    """

    sizes: tuple[int, ...]
    activation: str = "relu"
    layer_norm: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps x, float32 [F, ...], to float32 [sizes[-1], ...]."""
        for size in self.sizes:
            x = Dense(size)(x)
            x = activate(self.activation, LayerNorm()(x) if self.layer_norm else x)
        return x


def activate(name: str, x: jax.Array) -> jax.Array:
    """Applies the activation of that name from `jax.nn` ("relu", "gelu", "tanh", "silu", ...)."""
    return getattr(jax.nn, name)(x)


def as_numbers(observation: jax.Array) -> jax.Array:
    """Any array as float32 of the same shape: bytes are parts of 255, all others what they are."""
    numbers = observation.astype(jnp.float32)
    return numbers / 255.0 if observation.dtype == jnp.uint8 else numbers


def to_samples_last(x: jax.Array) -> jax.Array:
    """[B, ...] -> [..., B], reversed so that features come first: [B, N, F] -> [F, N, B]."""
    return jnp.transpose(x)


def flatten_observation(observation: PyTree) -> jax.Array:
    """One array of features from any observation: [F, B]. Values of absent tokens are zero."""
    if isinstance(observation, dict):
        parts = []
        for group in sorted(observation.values(), key=lambda group: group.kind):
            values, mask = to_samples_last(group.values), to_samples_last(group.mask)
            values = jnp.where(mask[None], values, 0.0)
            parts += [values.reshape(-1, values.shape[-1]), mask.astype(values.dtype)]
        return jnp.concatenate(parts)
    features = as_numbers(to_samples_last(observation.reshape(observation.shape[0], -1)))
    # XLA would fold the transposition into each product that follows, which is slow where features are few.
    return jax.lax.optimization_barrier(features) if features.shape[0] <= FEW_FEATURES else features


class MLPEncoder(nn.Module):
    """A multilayer perceptron on the flattened observation.

    Attributes:
        sizes: width of each hidden layer.
        activation: name of a function in `jax.nn`.
        layer_norm: whether features are normalized before each activation.
    """

    sizes: tuple[int, ...] = (64, 64)
    activation: str = "tanh"
    layer_norm: bool = False

    @nn.compact
    def __call__(self, observation: PyTree) -> jax.Array:
        """Encodes a batch of observations: float32 [B, sizes[-1]]."""
        return MLP(self.sizes, self.activation, self.layer_norm)(flatten_observation(observation)).T
