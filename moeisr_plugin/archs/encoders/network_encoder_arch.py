"""Any registered network as an encoder, by a description of where its features are."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from moeisr_plugin.archs.encoders.padding import pad_to_multiple
from moeisr_plugin.archs.pretrained import load_cut_network, read_weights
from moeisr_plugin.archs.registry import build_network, register


class _ReachedError(Exception):
    """Ends the forward pass of a network where its features are.

    Attributes:
        latent: the features.
    """

    def __init__(self, latent: Tensor) -> None:
        super().__init__()
        self.latent = latent


class _End(nn.Module):
    """Takes the place of the first module after the features."""

    def forward(self, latent: Tensor, *_: Any) -> Tensor:
        raise _ReachedError(latent)


@register
class NetworkEncoder(nn.Module):
    """A registered network up to one of its modules; the input of this module is the latent.

    The network can be of the toolbox or of any package, such as HAT with ``before: conv_before_upsample``.
    Its own forward runs, and ends at the module, so that padding, means and residuals before it act.

    Args:
        network: options of the network: its registered ``type`` and its parameters.
        before: top-level module whose input is the latent. It is removed.
        width: channels of the latent.
        cut: further top-level modules to remove, those after `before`.
        window: side of attention windows in LR pixels. Images are padded to whole windows by reflection, and
            tiles of large images start at multiples of it.
        halo: LR pixels around a latent that it depends on. None if unbounded, as for attention.
        centred: pass RGB in [-1, 1] to the network instead of [0, 1].
        pretrained: a checkpoint of the full network.
        param_key: the entry of the checkpoint to read; see :func:`.read_weights`.

    Raises:
        ValueError: the network has no such module, does not reach it, or gives a latent of another size; or
            the checkpoint does not fit.
    """

    def __init__(
        self,
        *,
        network: Mapping[str, Any],
        before: str,
        width: int,
        cut: Sequence[str] = (),
        window: int = 1,
        halo: int | None = None,
        centred: bool = False,
        pretrained: str | None = None,
        param_key: str | None = None,
    ) -> None:
        super().__init__()
        self.net = build_network(network)
        parts = [name for name, _ in self.net.named_children()]
        for name in (before, *cut):
            if name not in parts:
                kind, known = network["type"], ", ".join(parts)
                raise ValueError(f"NetworkEncoder: {kind} has no {name!r}; it has {known}")
        for name in cut:
            delattr(self.net, name)
        setattr(self.net, before, _End())
        self.latent_channels = width
        self.tile_grid = window
        self.halo = halo
        self.centred = centred
        if pretrained is not None:
            load_cut_network(self.net, read_weights(pretrained, param_key), {before, *cut}, pretrained)
        self._check_features(before, 2 * window)

    @torch.no_grad()
    def _check_features(self, before: str, side: int) -> None:
        """Encode a small image, as a wrong description otherwise fails late."""
        was_training = self.training
        self.eval()
        channels, height, width = self._features(torch.zeros(1, 3, side, side)).shape[1:]
        self.train(was_training)
        if (channels, height, width) != (self.latent_channels, side, side):
            raise ValueError(
                f"NetworkEncoder: the input of {before} is {channels} wide, with {height}x{width} pixels for "
                f"{side}x{side}; width is {self.latent_channels}, and the latent must have the size of LR"
            )

    def forward(self, lr: Tensor) -> Tensor:
        """Encode `lr` (B, 3, h, w), RGB in [-1, 1], into a latent (B, width, h, w)."""
        height, width = lr.shape[-2:]
        image = lr if self.centred else (lr + 1) / 2
        return self._features(pad_to_multiple(image, self.tile_grid))[:, :, :height, :width]

    def _features(self, image: Tensor) -> Tensor:
        try:
            self.net(image)
        except _ReachedError as reached:
            return reached.latent
        kind = type(self.net).__name__
        raise ValueError(f"NetworkEncoder: {kind} does not use the module in its forward pass; name another")
