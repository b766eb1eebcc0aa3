"""The architecture that spandrel detects and loads."""

import os
from collections.abc import Callable
from typing import cast

import torch
from spandrel import (
    MAIN_REGISTRY,
    Architecture,
    ArchRegistry,
    ArchSupport,
    ImageModelDescriptor,
    ModelTiling,
    StateDict,
    UnsupportedModelError,
)
from torch import Tensor, nn

from moeisr_plugin import render
from moeisr_plugin.archs.implicit_network import Encoding, ImplicitNetwork
from moeisr_plugin.checkpoints.network import CheckpointError, network_of
from moeisr_plugin.ops.precision import at_least_float32, float32_or_better
from moeisr_plugin.render.bounds import colour_bounds
from moeisr_plugin.render.casting import require_finite
from moeisr_plugin.spandrel.state_dicts import as_checkpoint, described, is_known

ID = "MoEISR"
"""The architecture in registries."""

DEFAULT_SCALE = 4


class FixedScale(nn.Module):
    """A network that enlarges pictures by one whole scale.

    Attributes:
        net: the network.
        scale: the scale.
    """

    def __init__(self, net: ImplicitNetwork, scale: int) -> None:
        super().__init__()
        self.net = net
        self.scale = scale

    def forward(self, image: Tensor) -> Tensor:
        """Enlarge pictures (B, 3, h, w) in [0, 1] to (B, 3, h * scale, w * scale), as `Upscaler` does.

        Raises:
            ValueError: the network outputs NaN or Inf, for example as its weights are too large for float16.
        """
        height, width = image.shape[2:]
        encoding = render.encode(self.net, at_least_float32(image))
        enlarged = image.new_empty(len(image), 3, height * self.scale, width * self.scale)
        for sample, picture in enumerate(enlarged):
            self._render(Encoding(*(part[sample : sample + 1] for part in encoding)), picture)
        return enlarged

    def _render(self, encoding: Encoding, picture: Tensor) -> None:
        """Render one encoded picture into (3, H, W)."""
        bounds, row = colour_bounds(encoding.lr, None), 0
        height, width = picture.shape[1:]
        for band in render.render_bands(self.net, encoding, (height, width)):
            require_finite(self.net, band)
            stop = row + band.shape[2]
            picture[:, row:stop] = bounds.clamp(band, first_row=row, size=(height, width))[0]
            row = stop

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "FixedScale":
        """Apply what `to`, `half` and others do to each tensor. Precise parts stay in float32 or better."""
        parts = (self.net.get_submodule(name) for name in self.net.precise_parts)
        precise = {id(tensor) for part in parts for tensor in part.state_dict(keep_vars=True).values()}

        def apply(tensor: Tensor) -> Tensor:
            changed = fn(tensor)
            if id(tensor) not in precise or not changed.is_floating_point():
                return changed
            precision = float32_or_better(changed)
            return changed if changed.dtype == precision else tensor.to(changed.device, precision)

        return super()._apply(apply, recurse)


class ImplicitArch(Architecture[FixedScale]):
    """LIIF, LTE, and mixtures of experts, at one scale.

    Attributes:
        scale: the scale of models that are loaded from now on.
    """

    def __init__(self, scale: int = DEFAULT_SCALE) -> None:
        super().__init__(id=ID, name=ID, detect=is_known)
        self.scale = checked_scale(scale)

    def load(self, state_dict: StateDict) -> ImageModelDescriptor[FixedScale]:
        """Build the model of a state dict.

        Raises:
            UnsupportedModelError: the network cannot be inferred or built; one line with the remedy.
        """
        try:
            net = network_of(as_checkpoint(state_dict), "state dict")
        except CheckpointError as error:
            raise UnsupportedModelError(str(error)) from error
        except ValueError as error:
            raise UnsupportedModelError(f"state dict: {error}") from error
        model = FixedScale(net, self.scale).eval()
        return ImageModelDescriptor(
            model,
            model.state_dict(),
            architecture=self,
            purpose="SR" if self.scale > 1 else "Restoration",
            tags=_tags(net),
            supports_half=True,
            supports_bfloat16=True,
            scale=self.scale,
            input_channels=3,
            output_channels=3,
            tiling=ModelTiling.INTERNAL,
        )


def install(scale: int = DEFAULT_SCALE, *, registry: ArchRegistry = MAIN_REGISTRY) -> ImplicitArch:
    """Add the architecture to a registry of spandrel, or change the scale of one that was added before.

    Args:
        scale: the scale of models that are loaded from now on. Loaded models keep theirs.
        registry: the registry. The default is the one of `spandrel.ModelLoader`.

    Returns:
        The architecture in the registry.

    Raises:
        ValueError: the scale is not a whole number of at least 1.
    """
    architecture = ImplicitArch(scale)
    support = ArchSupport.from_architecture(cast(Architecture[nn.Module], architecture))
    if not registry.add(support, ignore_duplicates=True):
        architecture = cast(ImplicitArch, registry[ID].architecture)
        architecture.scale = scale
    return architecture


def load(
    weights: str | os.PathLike[str],
    *,
    scale: int = DEFAULT_SCALE,
    device: str | torch.device | None = None,
) -> ImageModelDescriptor[FixedScale]:
    """Load a checkpoint with its exact hyper-parameters, without a registry.

    Args:
        weights: a checkpoint, or the name of a bundled network.
        scale: the scale of the model.
        device: the device. The default is the CPU.

    Raises:
        CheckpointError: the weights cannot be used.
        ValueError: the scale is not a whole number of at least 1.
    """
    return ImplicitArch(scale).load(described(weights)).to(torch.device(device or "cpu"))


def checked_scale(scale: int) -> int:
    """Return a scale if spandrel can state it.

    Raises:
        ValueError: it is not a whole number of at least 1.
    """
    if isinstance(scale, bool) or not isinstance(scale, int) or scale < 1:
        raise ValueError(
            f"scale is {scale!r}, but models of spandrel have a whole scale; give 1, 2, 3 and so on, "
            "or use moeisr_plugin.Upscaler"
        )
    return scale


def _tags(net: ImplicitNetwork) -> list[str]:
    """Return the decoder, the encoder, the width of the latent, and the number of experts."""
    return [
        net.hyper_parameters["type"],
        type(net.encoder).__name__.removesuffix("Encoder"),
        f"{net.encoder.latent_channels}nf",
        *([f"{net.num_experts} experts"] if net.num_experts > 1 else []),
    ]
