"""Toolbox networks as encoders: their layers up to the upsampling."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from basicsr.archs.edsr_arch import EDSR
from basicsr.archs.rcan_arch import RCAN
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.archs.srresnet_arch import MSRResNet
from basicsr.archs.swinir_arch import SwinIR
from torch import Tensor, nn

from moeisr_plugin.archs.encoders import swin_windows
from moeisr_plugin.archs.encoders.encoder_interface import convolution_halo
from moeisr_plugin.archs.encoders.padding import pad_to_multiple
from moeisr_plugin.archs.pretrained import load_cut_network, read_weights
from moeisr_plugin.archs.registry import register


@dataclass(frozen=True)
class Family:
    """How a toolbox network becomes an encoder.

    Attributes:
        network: The toolbox class.
        features: Its forward pass up to the upsampling: (network, RGB in [0, 1]) -> latent.
        tail: Its modules after the latent, in all variants.
        width: The parameter that sets the channels of the latent.
        local: Whether the receptive field of a latent pixel is bounded.
        defaults: Defaults of an encoder that differ from those of the toolbox.
        fixed: Parameters that must have this value in an encoder.
        unrecorded: Parameters in `defaults` that pretrained weights depend on but do not contain.
    """

    network: type[nn.Module]
    features: Callable[[Any, Tensor], Tensor]
    tail: frozenset[str]
    width: str = "num_feat"
    local: bool = True
    defaults: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    unrecorded: frozenset[str] = frozenset()


def mean_shifted_features(net: EDSR | RCAN, image: Tensor) -> Tensor:
    shallow = net.conv_first((image - net.mean.to(image)) * net.img_range)
    return shallow + net.conv_after_body(net.body(shallow))


def srresnet_features(net: MSRResNet, image: Tensor) -> Tensor:
    return net.body(net.lrelu(net.conv_first(image)))


def rrdb_features(net: RRDBNet, image: Tensor) -> Tensor:
    shallow = net.conv_first(image)
    return shallow + net.conv_body(net.body(shallow))


def swinir_features(net: SwinIR, image: Tensor) -> Tensor:
    h, w = image.shape[-2:]
    padded = pad_to_multiple(image, swin_windows.window_size_of(net))
    shallow = net.conv_first((padded - net.mean.to(image)) * net.img_range)
    return (shallow + net.conv_after_body(net.forward_features(shallow)))[:, :, :h, :w]


# The standard deviation of the latent is near 1 with img_range 1, near 50 with the toolbox's default of 255.
FAMILIES = {
    "EDSR": Family(
        network=EDSR,
        features=mean_shifted_features,
        tail=frozenset({"upsample", "conv_last"}),
        defaults={"num_out_ch": 3, "img_range": 1.0},
        fixed={"num_in_ch": 3},
        unrecorded=frozenset({"img_range"}),
    ),
    "RCAN": Family(
        network=RCAN,
        features=mean_shifted_features,
        tail=frozenset({"upsample", "conv_last"}),
        local=False,  # channel attention pools over the image
        defaults={"num_out_ch": 3, "img_range": 1.0},
        fixed={"num_in_ch": 3},
        unrecorded=frozenset({"img_range"}),
    ),
    "MSRResNet": Family(
        network=MSRResNet,
        features=srresnet_features,
        tail=frozenset({"upconv1", "upconv2", "pixel_shuffle", "conv_hr", "conv_last"}),
        fixed={"num_in_ch": 3},
    ),
    "RRDBNet": Family(
        network=RRDBNet,
        features=rrdb_features,
        tail=frozenset({"conv_up1", "conv_up2", "conv_hr", "conv_last"}),
        defaults={"num_out_ch": 3},
        fixed={
            "num_in_ch": 3,
            "scale": 4,
        },  # the other scales un-shuffle pixels: features are smaller than the LR image
    ),
    "SwinIR": Family(
        network=SwinIR,
        features=swinir_features,
        tail=frozenset(
            {"conv_before_upsample", "upsample", "conv_up1", "conv_up2", "conv_hr", "conv_last", "lrelu"}
        ),
        width="embed_dim",
        local=False,
        defaults={"window_size": 8},  # the toolbox's default, 7, does not divide its default img_size of 64
        # Absolute positions hold for one image size only; checkpointing fails in the toolbox.
        fixed={"in_chans": 3, "patch_size": 1, "ape": False, "use_checkpoint": False},
    ),
}


def complete_params(arch: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return all parameters of a toolbox network: `params` over encoder defaults over toolbox defaults.

    Raises:
        ValueError: If there is no such network or parameter, or an encoder cannot have that value.
    """
    if arch not in FAMILIES:
        raise ValueError(f"ToolboxEncoder: no arch {arch!r}; choose one of {', '.join(FAMILIES)}")
    family = FAMILIES[arch]
    known = {
        parameter.name: parameter.default
        for parameter in inspect.signature(family.network).parameters.values()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    }
    for name, value in params.items():
        if name not in known:
            raise ValueError(f"ToolboxEncoder: {arch} has no parameter {name!r}; it takes {', '.join(known)}")
        if name in family.fixed and value != family.fixed[name]:
            raise ValueError(
                f"ToolboxEncoder: {arch} is an encoder with {name} {family.fixed[name]} only, not {value}"
            )
    complete = {**known, **family.defaults, **params, **family.fixed}
    width = complete[family.width]
    if not isinstance(width, int) or width < 1:
        raise ValueError(f"ToolboxEncoder: {family.width} is {width!r}; give a whole number of at least 1")
    return complete


@register
class ToolboxEncoder(nn.Module):
    """An EDSR, RCAN, MSRResNet, RRDBNet or SwinIR of the toolbox, cut before its upsampling.

    These networks take RGB in [0, 1], from which EDSR, RCAN and SwinIR subtract a mean. The input is mapped
    to that range first, as in pretraining. An EDSR or RCAN trained with the toolbox's default `img_range` of
    255 gives a latent with a standard deviation near 50.

    Args:
        arch: Name of the network in the toolbox.
        params: Its parameters, named as in the toolbox. Parameters of the upsampling have no effect.
            `img_range` defaults to 1 for EDSR and RCAN.
        pretrained: Path of a checkpoint of the full network. It must hold every weight of the encoder;
            weights of the upsampling are ignored.
        param_key: The entry of the checkpoint to read. Default: the first of 'params_ema', 'params',
            'state_dict' that exists, else the checkpoint itself.

    Raises:
        ValueError: If there is no such `arch` or checkpoint, or `params` or the checkpoint do not fit; the
            message names what is allowed.
    """

    def __init__(
        self,
        *,
        arch: str,
        params: Mapping[str, Any] | None = None,
        pretrained: str | None = None,
        param_key: str | None = None,
    ) -> None:
        super().__init__()
        params = params or {}
        complete = complete_params(arch, params)
        family = FAMILIES[arch]
        unstated = family.unrecorded - set(params)
        if pretrained is not None and unstated:
            raise ValueError(
                f"ToolboxEncoder: {pretrained} does not tell the {', '.join(unstated)} it was trained with; "
                f"state it in params (the toolbox's default is 255)"
            )
        try:
            self.net = family.network(**complete)
        except Exception as error:  # the toolbox does not check values: a wrong one may raise anything
            reason = str(error).partition("\n")[0]
            raise ValueError(f"ToolboxEncoder: no {arch} with {dict(params)}: {reason}") from error
        for name in family.tail.intersection(dict(self.net.named_children())):
            delattr(self.net, name)
        if isinstance(self.net, SwinIR):
            swin_windows.take_any_size(self.net)
            self.tile_grid = swin_windows.window_size_of(self.net)
        if pretrained is not None:
            load_cut_network(self.net, read_weights(pretrained, param_key), family.tail, pretrained)
        self.features = family.features
        self.latent_channels: int = complete[family.width]
        self.halo = convolution_halo(self.net) if family.local else None

    def forward(self, lr: Tensor) -> Tensor:
        """Encode `lr` (B, 3, h, w), RGB in [-1, 1], into a latent (B, latent_channels, h, w)."""
        return self.features(self.net, (lr + 1) / 2)
