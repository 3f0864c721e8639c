"""Layers whose features come first and whose samples come last: [features, ..., B].

On a CPU the last axis is the one that vector units run over, and a network of width 16 to 64 is several
times faster when that axis is the batch. On a GPU the layout costs nothing.
"""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from purerl.compile.platforms import rows_first, turns_samples
from purerl.networks.orthogonal import orthogonal


def _product(a, b):
    if getattr(jax.config, "jax_default_matmul_precision", None) != "bfloat16":
        return a @ b
    return jnp.matmul(a.astype(jnp.bfloat16), b.astype(jnp.bfloat16), preferred_element_type=jnp.float32)


@jax.custom_vjp
def matmul(kernel: jax.Array, x: jax.Array) -> jax.Array:
    """Contracts the first axis of both: kernel [F, G], x [F, ...] -> [G, ...].

    Under `jax.default_matmul_precision("bfloat16")` factors are rounded to bfloat16 and products summed in
    float32, on every kind of device. The gradient is written out, because XLA's own form of it transposes the
    activations in memory.
    """
    columns = x.reshape(x.shape[0], -1)
    if turns_samples(columns.shape[1]):
        product = rows_first(_product(rows_first(columns.T), rows_first(kernel))).T
    else:
        product = _product(kernel.T, columns)
    return product.reshape(kernel.shape[1], *x.shape[1:])


def _matmul_forward(kernel, x):
    return matmul(kernel, x), (kernel, x)


def _matmul_backward(residuals, gradient):
    kernel, x = residuals
    columns, gradient = x.reshape(x.shape[0], -1), gradient.reshape(gradient.shape[0], -1)
    return _product(columns, gradient.T), _product(kernel, gradient).reshape(x.shape)


matmul.defvjp(_matmul_forward, _matmul_backward)


@jax.custom_vjp
def add_bias(y: jax.Array, bias: jax.Array) -> jax.Array:
    """Adds a bias, [G], to features, [G, ...].

    The gradient is written out, because on a CPU a product with ones is faster than a sum.
    """
    return y + bias.reshape(-1, *(1,) * (y.ndim - 1))


def _add_bias_forward(y, bias):
    return add_bias(y, bias), None


def _add_bias_backward(_, gradient):
    columns = gradient.reshape(gradient.shape[0], -1)
    columns = rows_first(columns) if turns_samples(columns.shape[1]) else columns
    ones = jnp.ones(columns.shape[1], columns.dtype)
    return gradient, jnp.matmul(columns, ones, precision=jax.lax.Precision.HIGHEST)


add_bias.defvjp(_add_bias_forward, _add_bias_backward)


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
