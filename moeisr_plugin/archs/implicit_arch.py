"""LIIF, LTE, and MoEISR on either, each composed of encoder, embedding, experts and mapper."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from torch import nn

from moeisr_plugin.archs.base_image import BilinearBase, GreyBase
from moeisr_plugin.archs.embeddings import LIIFEmbedding, LTEEmbedding
from moeisr_plugin.archs.experts import make_experts
from moeisr_plugin.archs.implicit_network import build_encoder, recorded
from moeisr_plugin.archs.implicit_sr import ImplicitSR
from moeisr_plugin.archs.mapper import Mapper, SingleExpertMapper
from moeisr_plugin.archs.registry import register


@register
class LIIF(ImplicitSR):
    """Local implicit image function (Chen et al., CVPR 2021): one expert on the LIIF embedding.

    Args:
        encoder: an encoder, or the options that build it: its registered ``type`` and its parameters.
        hidden_dim: width of the hidden layers of the decoder.
        depth: number of linear layers of the decoder.
        unfold: feature unfolding; embed 3x3 latents instead of one.
        cell_decode: cell decoding; give the cell to the decoder.
        local_ensemble: blend the outputs at the four latents around each query.
    """

    def __init__(
        self,
        *,
        encoder: nn.Module | Mapping[str, Any],
        hidden_dim: int = 256,
        depth: int = 5,
        unfold: bool = True,
        cell_decode: bool = True,
        local_ensemble: bool = True,
    ) -> None:
        hyper_parameters = recorded(type(self), locals())
        built_encoder, channels = build_encoder(encoder)
        embedding = LIIFEmbedding(latent_channels=channels, unfold=unfold, cell_decode=cell_decode)
        super().__init__(
            encoder=built_encoder,
            embedding=embedding,
            **_single_expert(in_features=embedding.in_features, hidden_dim=hidden_dim, depth=depth),
            base=GreyBase(),
            local_ensemble=local_ensemble,
            hyper_parameters=hyper_parameters,
        )


@register
class LTE(ImplicitSR):
    """Local texture estimator (Lee and Jin, CVPR 2022): one expert on the LTE embedding.

    Args:
        encoder: an encoder, or the options that build it: its registered ``type`` and its parameters.
        hidden_dim: width of the hidden layers of the decoder.
        depth: number of linear layers of the decoder.
        num_freq_features: width of the embedding, two features per frequency.
        max_trained_scale: the cell is clipped to the cell at this scale, as in the published code.
        local_ensemble: blend the outputs at the four latents around each query.
    """

    def __init__(
        self,
        *,
        encoder: nn.Module | Mapping[str, Any],
        hidden_dim: int = 256,
        depth: int = 4,
        num_freq_features: int = 256,
        max_trained_scale: float = 4.0,
        local_ensemble: bool = True,
    ) -> None:
        hyper_parameters = recorded(type(self), locals())
        built_encoder, channels = build_encoder(encoder)
        embedding = LTEEmbedding(
            latent_channels=channels,
            num_freq_features=num_freq_features,
            max_trained_scale=max_trained_scale,
        )
        super().__init__(
            encoder=built_encoder,
            embedding=embedding,
            **_single_expert(in_features=embedding.in_features, hidden_dim=hidden_dim, depth=depth),
            base=BilinearBase(),
            local_ensemble=local_ensemble,
            hyper_parameters=hyper_parameters,
        )


@register
class MoEISRLIIF(ImplicitSR):
    """MoEISR on LIIF (paper, section 3.2): experts of increasing depth and a mapper.

    Args:
        encoder: an encoder, or the options that build it: its registered ``type`` and its parameters.
        hidden_dim: width of the hidden layers of the experts. The paper has 256 in ``-b``, 128 in ``-s``.
        expert_depths: number of linear layers of each expert, strictly increasing.
        identity_start: initialise the hidden layers of experts after the first one near the identity.
        mapper_depth: number of convolutions of the mapper. The paper's ``-m1`` has 1.
        mapper_kernel_size: size of their kernels, odd.
        mapper_hidden_dim: width between them. Defaults to the width of the latent.
        tau: temperature of the Gumbel-softmax in training.
        unfold: feature unfolding; embed 3x3 latents instead of one.
        cell_decode: cell decoding; give the cell to the decoder.
        local_ensemble: blend the outputs at the four latents around each query.
    """

    def __init__(
        self,
        *,
        encoder: nn.Module | Mapping[str, Any],
        hidden_dim: int = 256,
        expert_depths: Sequence[int] = (2, 3, 4, 5),
        identity_start: bool = False,
        mapper_depth: int = 5,
        mapper_kernel_size: int = 3,
        mapper_hidden_dim: int | None = None,
        tau: float = 1.0,
        unfold: bool = True,
        cell_decode: bool = True,
        local_ensemble: bool = True,
    ) -> None:
        hyper_parameters = recorded(type(self), locals())
        built_encoder, channels = build_encoder(encoder)
        embedding = LIIFEmbedding(latent_channels=channels, unfold=unfold, cell_decode=cell_decode)
        super().__init__(
            encoder=built_encoder,
            embedding=embedding,
            **_mixture(
                make_experts(
                    in_features=embedding.in_features,
                    hidden_dim=hidden_dim,
                    depths=expert_depths,
                    identity_start=identity_start,
                ),
                latent_channels=channels,
                depth=mapper_depth,
                kernel_size=mapper_kernel_size,
                hidden_dim=mapper_hidden_dim,
            ),
            base=GreyBase(),
            local_ensemble=local_ensemble,
            tau=tau,
            hyper_parameters=hyper_parameters,
        )


@register
class MoEISRLTE(ImplicitSR):
    """MoEISR on LTE (paper, section 3.2): experts of increasing depth and a mapper.

    Args:
        encoder: an encoder, or the options that build it: its registered ``type`` and its parameters.
        hidden_dim: width of the hidden layers of the experts. The paper has 256 in ``-b``, 128 in ``-s``.
        expert_depths: number of linear layers of each expert, strictly increasing.
        identity_start: initialise the hidden layers of experts after the first one near the identity.
        mapper_depth: number of convolutions of the mapper.
        mapper_kernel_size: size of their kernels, odd.
        mapper_hidden_dim: width between them. Defaults to the width of the latent.
        tau: temperature of the Gumbel-softmax in training.
        num_freq_features: width of the embedding, two features per frequency. The paper has 256.
        max_trained_scale: the cell is clipped to the cell at this scale, as in the published code.
        local_ensemble: blend the outputs at the four latents around each query.
    """

    def __init__(
        self,
        *,
        encoder: nn.Module | Mapping[str, Any],
        hidden_dim: int = 256,
        expert_depths: Sequence[int] = (2, 3, 4),
        identity_start: bool = False,
        mapper_depth: int = 5,
        mapper_kernel_size: int = 3,
        mapper_hidden_dim: int | None = None,
        tau: float = 1.0,
        num_freq_features: int = 256,
        max_trained_scale: float = 4.0,
        local_ensemble: bool = True,
    ) -> None:
        hyper_parameters = recorded(type(self), locals())
        built_encoder, channels = build_encoder(encoder)
        embedding = LTEEmbedding(
            latent_channels=channels,
            num_freq_features=num_freq_features,
            max_trained_scale=max_trained_scale,
        )
        super().__init__(
            encoder=built_encoder,
            embedding=embedding,
            **_mixture(
                make_experts(
                    in_features=embedding.in_features,
                    hidden_dim=hidden_dim,
                    depths=expert_depths,
                    identity_start=identity_start,
                ),
                latent_channels=channels,
                depth=mapper_depth,
                kernel_size=mapper_kernel_size,
                hidden_dim=mapper_hidden_dim,
            ),
            base=BilinearBase(),
            local_ensemble=local_ensemble,
            tau=tau,
            hyper_parameters=hyper_parameters,
        )


class _Decoder(TypedDict):
    experts: nn.ModuleList
    mapper: nn.Module


def _single_expert(*, in_features: int, hidden_dim: int, depth: int) -> _Decoder:
    """Build one expert and a mapper with constant scores."""
    experts = make_experts(in_features=in_features, hidden_dim=hidden_dim, depths=[depth])
    return {"experts": experts, "mapper": SingleExpertMapper()}


def _mixture(experts: nn.ModuleList, **mapper: Any) -> _Decoder:
    """Combine experts with a mapper that scores each of them."""
    return {"experts": experts, "mapper": Mapper(num_experts=len(experts), **mapper)}
