"""Encoders of sets: from a batch of observations to one feature vector a sample, [B, W].

An observation is a dict of `TokenGroup`s with leaves [B, N, F] and [B, N]; within, samples come last.
Groups of one token (the agent, a gaze point, a clock) are the context; the others together are the set.
"""

import dataclasses
import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from purerl.networks.attention import (
    AttentionSettings,
    SelfAttentionBlock,
    SummaryAttentionBlock,
    masked_mean,
)
from purerl.networks.layers import MLP, Dense, LayerNorm, activate, to_samples_last
from purerl.types import TokenGroup


def split_groups(observation: dict[str, TokenGroup]) -> tuple[list[TokenGroup], list[TokenGroup]]:
    """Samples last, in order of kind: the context (groups of one token) and the set (all others).

    Values become [F, N, B], zero where absent; masks become [N, B].
    """
    context: list[TokenGroup] = []
    members: list[TokenGroup] = []
    for group in sorted(observation.values(), key=lambda group: group.kind):
        mask = to_samples_last(group.mask)
        values = jnp.where(mask[None], to_samples_last(group.values), 0.0)
        turned = dataclasses.replace(group, values=values, mask=mask)
        (context if mask.shape[0] == 1 else members).append(turned)
    return context, members


class Tokenizer(nn.Module):
    """Embeds the context into one summary vector, and each member of the set knowing the context.

    Attributes:
        width: size of the embeddings.
        activation: name of a function in `jax.nn`.
    """

    width: int
    activation: str

    @nn.compact
    def __call__(self, observation: dict[str, TokenGroup]) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Returns summary [W, B], tokens [W, N, B] and their mask [N, B]."""
        context, members = split_groups(observation)
        parts = [part for group in context for part in (group.values[:, 0], group.mask.astype(jnp.float32))]
        hidden = activate(self.activation, Dense(self.width, name="context_in")(jnp.concatenate(parts)))
        summary = Dense(self.width, scale=1.0, name="context_out")(hidden)
        condition = Dense(self.width, scale=1.0, use_bias=False, name="condition")(hidden)
        embedded = [
            Dense(self.width, name=f"members_{group.kind}")(group.values) + condition[:, None]
            for group in members
        ]
        hidden = activate(self.activation, jnp.concatenate(embedded, axis=1))
        tokens = Dense(self.width, scale=1.0, use_bias=False, name="members_out")(hidden)
        return summary, tokens, jnp.concatenate([group.mask for group in members])


class LinearTokenizer(nn.Module):
    """Embeds every token, context and members alike, by a linear map and a bias of its kind."""

    width: int

    @nn.compact
    def __call__(self, observation: dict[str, TokenGroup]) -> tuple[jax.Array, jax.Array]:
        """Returns tokens [W, N, B] and their mask [N, B]."""
        groups = [group for part in split_groups(observation) for group in part]
        tokens = [Dense(self.width, scale=1.0, name=f"kind_{group.kind}")(group.values) for group in groups]
        return jnp.concatenate(tokens, axis=1), jnp.concatenate([group.mask for group in groups])


class DeepSetsEncoder(nn.Module):
    """Embeds each token, takes the masked mean and maximum, and goes on with an MLP.

    Zaheer et al. 2017 (arXiv:1703.06114), theorem 2.
    """

    width: int = 64
    activation: str = "relu"

    @nn.compact
    def __call__(self, observation: dict[str, TokenGroup]) -> jax.Array:
        """Encodes a batch of observations: float32 [B, W]."""
        summary, tokens, mask = Tokenizer(self.width, self.activation)(observation)
        highest = jnp.where(mask[None], tokens, -jnp.inf).max(1)
        highest = jnp.where(mask.any(0), highest, 0.0)
        pooled = jnp.concatenate([summary, masked_mean(tokens, mask), highest])
        return MLP((self.width, self.width), self.activation)(pooled).T


class SetAttentionEncoder(nn.Module):
    """Masked set attention: self-attention among the tokens, then a summary that asks them.

    The default has no self-attention: a summary made of the context asks the members twice, at a cost linear
    in their number. `num_self_layers=2, num_summary_layers=0` is a plain transformer encoder over all tokens
    with a masked mean.

    Attributes:
        width: size of the embeddings.
        num_heads: heads of each layer.
        num_self_layers: pre-norm encoder layers over the tokens.
        num_summary_layers: layers in which the summary attends to the tokens.
        feed_forward: hidden width of the feed-forward sub-layers.
        activation: name of a function in `jax.nn`.
        normalization: where features are normalized: "pre", "post" or "none"; see `AttentionSettings`.
        residual_start: gain of each residual branch at the start: "depth" for 1 / sqrt(2 L) with L layers
            (Zhang et al. 2019, arXiv:1901.09321), "one", or "zero" (Bachlechner et al. 2020,
            arXiv:2003.04887).
    """

    width: int = 32
    num_heads: int = 4
    num_self_layers: int = 0
    num_summary_layers: int = 2
    feed_forward: int = 64
    activation: str = "relu"
    normalization: str = "pre"
    residual_start: str = "depth"

    @nn.compact
    def __call__(self, observation: dict[str, TokenGroup]) -> jax.Array:
        """Encodes a batch of observations: float32 [B, W]."""
        layers = self.num_self_layers + self.num_summary_layers
        scale = {"depth": 1.0 / math.sqrt(2.0 * max(layers, 1)), "one": 1.0, "zero": 0.0}[self.residual_start]
        settings = AttentionSettings(
            self.num_heads, self.feed_forward, self.activation, scale, self.normalization
        )
        if self.num_self_layers:
            tokens, mask = LinearTokenizer(self.width)(observation)
            for _ in range(self.num_self_layers):
                tokens = SelfAttentionBlock(settings)(tokens, mask)
            summary = masked_mean(tokens, mask)
        else:
            summary, tokens, mask = Tokenizer(self.width, self.activation)(observation)
        for _ in range(self.num_summary_layers):
            summary = SummaryAttentionBlock(settings)(summary, tokens, mask)
        return (LayerNorm()(summary) if self.normalization == "pre" else summary).T
