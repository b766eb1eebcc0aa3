"""What training, rendering, measuring and publishing need of a network.

A new decoder subclasses :class:`ImplicitDecoder` and defines `decode`, which maps an encoding, coordinates
and a cell to colours. :class:`.ImplicitSR` is the subclass of `ImplicitNetwork` whose decoding is folded.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from moeisr_plugin.archs import routing
from moeisr_plugin.archs.experts import Expert
from moeisr_plugin.archs.mapper import SingleExpertMapper
from moeisr_plugin.archs.registry import build_network
from moeisr_plugin.ops.precision import at_least_float32


class Encoding(NamedTuple):
    """An encoded LR image. It can be decoded any number of times.

    Attributes:
        lr: LR image, (B, 3, h, w) in [0, 1].
        latent: (B, D, h, w).
        scores: score of each expert at each LR pixel, (B, J, h, w).
    """

    lr: Tensor
    latent: Tensor
    scores: Tensor


class Decoding(NamedTuple):
    """Output of a forward pass.

    Attributes:
        rgb: (B, Q, 3), nominally in [0, 1].
        scores: (B, J, h, w), in float32 or better, because losses sum them over all pixels.
    """

    rgb: Tensor
    scores: Tensor


class ImplicitNetwork(nn.Module):
    """Network that predicts the colour at any coordinate of an image.

    Attributes:
        encoder: maps an LR image in [-1, 1], (B, 3, h, w), to a latent (B, D, h, w).
        experts: J experts, shallowest first; empty if the decoder is not made of experts.
        mapper: maps the latent to scores (B, J, h, w).
        hyper_parameters: keyword arguments that rebuild the network, and its registered ``type``.
        local_ensemble: whether a query is decoded from four LR pixels instead of the nearest one.
        precise_parts: names of submodules that stay in float32 when a network is cast to 16 bits.
        allow_tf32: whether rendering on an NVIDIA GPU may round factors; see `render.casting`.
        int8: the `render.int8_network.Int8Parts` with which rendering on a CPU computes, or None.
    """

    encoder: nn.Module
    experts: nn.ModuleList
    mapper: nn.Module
    hyper_parameters: dict[str, Any]
    local_ensemble: bool = False
    allow_tf32: bool = False
    int8: Any = None

    def encode(self, lr: Tensor) -> Encoding:
        """Encode an LR image in [0, 1], (B, 3, h, w), and score the experts at its pixels."""
        latent = self.refine(self.encoder((lr - 0.5) / 0.5))
        return Encoding(lr, latent, self.mapper(latent))

    def refine(self, latent: Tensor) -> Tensor:
        """Return the latent that is decoded, (B, D', h, w), computed once per image from (B, D, h, w)."""
        return latent

    def decode(self, encoding: Encoding, coord: Tensor, cell: Tensor) -> Tensor:
        """Predict colours. A mixture routes each LR pixel to the expert with its largest score.

        Args:
            encoding: encoding of B images.
            coord: (B, Q, 2) in [-1, 1], y first, in float32 or better. Q can be any number, also 0.
            cell: (B, 2), size of an output pixel, (2/H, 2/W), in float32 or better.

        Returns:
            RGB, nominally in [0, 1], (B, Q, 3).
        """
        raise NotImplementedError

    @property
    def num_experts(self) -> int:
        """The number of experts; 1 for a decoder that is not made of experts."""
        return max(1, len(self.experts))

    @property
    def refined_channels(self) -> int:
        """The width D' of what `refine` returns."""
        channels = self.encoder.latent_channels
        assert isinstance(channels, int)
        return channels

    @property
    def precise_parts(self) -> Sequence[str]:
        return ()

    @property
    def expert_list(self) -> list[Expert]:
        """The experts, shallowest first.

        Raises:
            ValueError: one of them is of another class, so that its depth and MACs are not known.
        """
        for j, expert in enumerate(self.experts):
            if not isinstance(expert, Expert):
                kind = type(expert).__name__
                raise ValueError(f"experts.{j} is a {kind}, of unknown depth and MACs; give an Expert")
        return [expert for expert in self.experts if isinstance(expert, Expert)]


class ImplicitDecoder(ImplicitNetwork):
    """Base of decoders that are rendered by their own `decode`, some queries at a time.

    A subclass adds its modules and defines `decode`. A mixture of experts also passes experts and a mapper,
    and defines `mix`.

    Args:
        encoder: an encoder, or the options that build it: its registered ``type`` and its parameters.
        parameters: the other keyword arguments of the subclass, in plain types. They are saved with the
            weights.

    Attributes:
        queries_at_a_time: number of queries that rendering decodes in one call. It limits memory.
        refined_tile: largest side in LR pixels of the tiles that rendering passes to `refine`. None passes
            the tiles of the encoder.
        refined_context: LR pixels around a tile that `refine` depends on, as the halo of an encoder.
    """

    queries_at_a_time: int = 65_536
    refined_tile: int | None = None
    refined_context: int = 0
    tau: float = 1.0

    def __init__(self, *, encoder: nn.Module | Mapping[str, Any], **parameters: Any) -> None:
        super().__init__()
        self.hyper_parameters = recorded(type(self), {"encoder": encoder, **parameters})
        self.encoder, self.latent_channels = build_encoder(encoder)
        self.experts, self.mapper = nn.ModuleList(), SingleExpertMapper()

    @property
    def precise_parts(self) -> Sequence[str]:
        return [name for name, _ in self.named_children() if name != "encoder"]

    def refine(self, latent: Tensor) -> Tensor:
        return at_least_float32(latent)

    def mix(self, encoding: Encoding, coord: Tensor, cell: Tensor, gates: Tensor) -> Tensor:
        """Predict colours (B, Q, 3) by all experts, weighted by gates (B, J, h, w). For training."""
        raise NotImplementedError

    def forward(
        self,
        lr: Tensor,
        coord: Tensor,
        cell: Tensor,
        *,
        gate: Callable[[Tensor], Tensor] | None = None,
        choice: Tensor | None = None,
    ) -> Decoding:
        """Predict colours at coordinates. The arguments are those of :meth:`.ImplicitSR.forward`."""
        coord, cell = at_least_float32(coord), at_least_float32(cell)
        encoding = self.encode(lr)
        if choice is not None:
            scores = F.one_hot(choice, self.num_experts).movedim(-1, 1)  # (B, J, h, w)
            rgb = self.decode(encoding._replace(scores=scores.to(encoding.scores)), coord, cell)
        elif self.training and self.num_experts > 1:
            gates = gate(encoding.scores) if gate else routing.gumbel_gates(encoding.scores, tau=self.tau)
            rgb = self.mix(encoding, coord, cell, gates)
        else:
            rgb = self.decode(encoding, coord, cell)
        return Decoding(rgb, at_least_float32(encoding.scores))


def build_encoder(encoder: nn.Module | Mapping[str, Any]) -> tuple[nn.Module, int]:
    """Build the encoder if necessary. Return it and the width of its latent.

    Raises:
        ValueError: the encoder does not state the width.
    """
    net = encoder if isinstance(encoder, nn.Module) else build_network(dict(encoder))
    channels = getattr(net, "latent_channels", None)
    if not isinstance(channels, int):
        raise ValueError(
            f"encoder {type(net).__name__} does not state the width of its latent; "
            "give it an integer attribute latent_channels"
        )
    return net, channels


def recorded(cls: type, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keyword arguments of a constructor in plain types, and the registered name."""
    plain = {key: _plain(value) for key, value in arguments.items() if key not in ("self", "__class__")}
    if isinstance(plain["encoder"], nn.Module):
        # A module can only be rebuilt from options if it states its hyper-parameters.
        plain["encoder"] = getattr(plain["encoder"], "hyper_parameters", None)
    return {"type": cls.__name__, **plain}


def _plain(value: Any) -> Any:
    """Convert nested mappings and sequences of any type to dictionaries and lists."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(part) for part in value]
    return value
