"""An encoder of small pictures: from observations [B, H, W, F] to one vector a sample, [B, width]."""

import flax.linen as nn
import jax

from purerl.networks.grids import Conv, to_grid
from purerl.networks.layers import MLP, LayerNorm, activate


class ImageEncoder(nn.Module):
    """One 3 x 3 convolution without padding and one dense layer, the usual network for MinAtar.

    Young and Tian 2019 (arXiv:1903.03176), section 4, with 16 channels and a width of 128.

    Attributes:
        channels: features of each pixel.
        width: size of the result.
        activation: name of a function in `jax.nn`.
        layer_norm: whether features are normalized before each activation.
    """

    channels: int = 16
    width: int = 128
    activation: str = "relu"
    layer_norm: bool = False

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """Encodes a batch of pictures, bool or number [B, H, W, F]: float32 [B, width]."""
        pixels = Conv(self.channels)(to_grid(observation))[:, 1:-1, 1:-1]  # the border saw beyond the edge
        pixels = activate(self.activation, LayerNorm()(pixels) if self.layer_norm else pixels)
        flat = pixels.reshape(-1, pixels.shape[-1])  # [C, H, W, B] -> [C * H * W, B]
        return MLP((self.width,), self.activation, self.layer_norm)(flat).T
