"""The published code of others, from a checkout of it, as their test.py runs it.

Their networks have random weights, but for LIIF, which takes ours; the encoder is ours, structurally theirs.
"""

import contextlib
import importlib
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from moeisr_plugin.archs.coordinates import make_coord

# Queries decoded at a time in LIIF's published configurations.
_CHUNK = 30_000
# Above this scale LM-LIIF is told the cell of this one.
_LMF_MAX_SCALE = 4
# Their encoder, of which only the width counts: ours takes its place.
_ENCODER = {"name": "edsr-baseline", "args": {"no_upsampling": True, "n_resblocks": 1}}


class PublishedLIIF:
    """yinboc/liif with the weights of a decoder of ours.

    Args:
        folder: a checkout.
        encoder: in place of theirs.
        expert: whose weights the decoder takes.
        device: where the network computes.

    Raises:
        ValueError: the folder holds no such network.
    """

    def __init__(self, folder: Path, encoder: nn.Module, expert: nn.Module, device: torch.device) -> None:
        hidden = {"name": "mlp", "args": {"out_dim": 3, "hidden_list": [256] * 4}}
        self._model = _make(folder, "liif", encoder, imnet_spec=hidden).to(device).eval()
        self._model.imnet.load_state_dict(expert.state_dict())
        self._device = device

    @torch.no_grad()
    def encode(self, lr: Tensor) -> Tensor:
        return self._model.gen_feat((lr - 0.5) / 0.5)

    @torch.no_grad()
    def decode(self, latent: Tensor, size: tuple[int, int]) -> Tensor:
        coord, cell = _queries(size, self._device)
        chunks = zip(coord.split(_CHUNK, dim=1), cell.split(_CHUNK, dim=1), strict=True)
        self._model.feat = latent
        with _without_gpu(self._device):
            return _picture(torch.cat([self._model.query_rgb(*chunk) for chunk in chunks], dim=1), size)


class PublishedLMLIIF:
    """HeZongyao/LMF: LM-LIIF as configured for EDSR-baseline, by its fast path.

    Args:
        folder: a checkout.
        encoder: in place of theirs.
        device: where the network computes.

    Raises:
        ValueError: the folder holds no such network.
    """

    def __init__(self, folder: Path, encoder: nn.Module, device: torch.device) -> None:
        renderer = {"out_dim": 3, "hidden_dim": 16, "hidden_depth": 6, "mod_scale": True, "mod_shift": True}
        self._model = _make(
            folder,
            "lmliif",
            encoder,
            imnet_spec={"name": "lmmlp", "args": renderer},
            hypernet_spec={"name": "mlp", "args": {"hidden_list": [208]}},
            mod_input=True,
        )
        self._model.to(device).eval()
        self._encoder = self._model.encoder
        self._device = device

    @torch.no_grad()
    def encode(self, lr: Tensor) -> tuple[Tensor, Tensor]:
        """What its network is asked with, and the latent."""
        asked = (lr - 0.5) / 0.5
        return asked, self._encoder(asked)

    @torch.no_grad()
    def decode(self, encoded: tuple[Tensor, Tensor], size: tuple[int, int]) -> Tensor:
        asked, latent = encoded
        self._model.encoder = _Given(latent)  # its forward encodes, too
        coord, cell = _queries(size, self._device)
        told = cell * max(size[0] / asked.shape[2] / _LMF_MAX_SCALE, 1)
        with _without_gpu(self._device):
            return _picture(self._model(asked, coord, told), size)


class _Given(nn.Module):
    """An encoder that has encoded already."""

    def __init__(self, latent: Tensor) -> None:
        super().__init__()
        self._latent = latent

    def forward(self, lr: Tensor) -> Tensor:
        return self._latent


def _make(folder: Path, name: str, encoder: nn.Module, **specs: Any) -> Any:
    """One of a checkout's networks, with our encoder in place of theirs."""
    encoder_spec = {**_ENCODER, "args": {**_ENCODER["args"], "n_feats": encoder.latent_channels}}
    with _importable(folder):
        try:
            make = importlib.import_module("models").make
            model = make({"name": name, "args": {"encoder_spec": encoder_spec, **specs}})
        except (AttributeError, ImportError, KeyError, SyntaxError, TypeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise ValueError(f"{folder}: no checkout with a network {name!r} ({reason})") from error
    model.encoder = encoder
    return model


@contextlib.contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Makes a checkout's modules importable, with stand-ins for what they import and do not need here."""
    stubs = {
        "tensorboardX": {"SummaryWriter": None},
        "timm": {},
        "timm.models": {},
        "timm.models.layers": dict.fromkeys(("DropPath", "to_2tuple", "trunc_normal_")),
    }
    theirs = {"models", "utils", "datasets", *stubs}
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] in theirs}
    for name, contents in stubs.items():
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(contents)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.split(".")[0] in theirs]:
            del sys.modules[name]
        sys.modules.update(before)


@contextlib.contextmanager
def _without_gpu(device: torch.device) -> Iterator[None]:
    """On a CPU, lets their ``.cuda()`` leave tensors where they are."""
    if device.type != "cpu":
        yield
        return
    with mock.patch.object(torch.Tensor, "cuda", lambda tensor: tensor):
        yield


def _queries(size: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Coordinates and cells of an output grid, (1, H*W, 2) each."""
    coord = make_coord(*size, device=device)[None]
    return coord, coord.new_tensor([2 / n for n in size]).repeat(1, coord.shape[1], 1)


def _picture(rgb: Tensor, size: tuple[int, int]) -> Tensor:
    """Answers in [-1, 1], (1, H*W, 3), as a picture in [0, 1], (1, 3, H, W)."""
    return (rgb * 0.5 + 0.5).mT.unflatten(2, size)
