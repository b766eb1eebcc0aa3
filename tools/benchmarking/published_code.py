"""Run published code of other authors from a checkout, as its test.py does.

LIIF uses the weights of a decoder of this package, and other networks have random weights. All use an encoder
of this package with the same structure as the published one.
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

# Queries per chunk in the published configurations of LIIF.
_CHUNK = 30_000
# Above this scale, LM-LIIF receives the cell of this scale.
_LMF_MAX_SCALE = 4
# Placeholder for the published encoder, which is replaced. Only its width matters.
_ENCODER = {"name": "edsr-baseline", "args": {"no_upsampling": True, "n_resblocks": 1}}


class PublishedLIIF:
    """yinboc/liif with the weights of a decoder of this package.

    Args:
        folder: a checkout.
        encoder: encoder that replaces the published one.
        expert: source of the decoder weights.
        device: device of the network.

    Raises:
        ValueError: the folder does not contain the network.
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


class PublishedLTE:
    """jaewon-lee-b/lte with the encoder and the decoder weights of an LTE of this package.

    Args:
        folder: a checkout.
        net: the LTE.
        device: device of the network.

    Raises:
        ValueError: the folder does not contain the network.
    """

    def __init__(self, folder: Path, net: Any, device: torch.device) -> None:
        self._net = net
        options = net.hyper_parameters
        hidden = {
            "out_dim": 3,
            "hidden_list": [options["hidden_dim"]] * (options["depth"] - 1),
        }
        self._model = _make(
            folder,
            "lte",
            net.encoder,
            imnet_spec={"name": "mlp", "args": hidden},
            hidden_dim=options["num_freq_features"],
        )
        self._model.imnet.load_state_dict(net.experts[0].state_dict())
        for name in ("coef", "freq", "phase"):
            getattr(self._model, name).load_state_dict(getattr(net.embedding, name).state_dict())
        self._model.to(device).eval()
        self._device = device

    @torch.no_grad()
    def encode(self, lr: Tensor) -> Tensor:
        with _without_gpu(self._device):
            self._model.gen_feat((lr - 0.5) / 0.5)
        return lr

    @torch.no_grad()
    def decode(self, lr: Tensor, size: tuple[int, int]) -> Tensor:
        coord, cell = _queries(size, self._device)
        # As in its test.py, cells of scales above the trained ones are clipped, here for each axis.
        limit = self._net.hyper_parameters["max_trained_scale"]
        cell = cell.maximum(cell.new_tensor([2 / (limit * n) for n in lr.shape[2:]]))
        with _without_gpu(self._device):
            return _picture(self._model.query_rgb(coord, cell), size)


class PublishedLMLIIF:
    """LM-LIIF of HeZongyao/LMF in the configuration for EDSR-baseline, on its fast path.

    Args:
        folder: a checkout.
        encoder: encoder that replaces the published one.
        device: device of the network.

    Raises:
        ValueError: the folder does not contain the network.
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
        """Return the normalised input and the latent."""
        normalised = (lr - 0.5) / 0.5
        return normalised, self._encoder(normalised)

    @torch.no_grad()
    def decode(self, encoded: tuple[Tensor, Tensor], size: tuple[int, int]) -> Tensor:
        normalised, latent = encoded
        self._model.encoder = _FixedLatent(latent)  # forward would encode again
        coord, cell = _queries(size, self._device)
        limited_cell = cell * max(size[0] / normalised.shape[2] / _LMF_MAX_SCALE, 1)
        with _without_gpu(self._device):
            return _picture(self._model(normalised, coord, limited_cell), size)


class _FixedLatent(nn.Module):
    """Encoder that returns a given latent."""

    def __init__(self, latent: Tensor) -> None:
        super().__init__()
        self._latent = latent

    def forward(self, lr: Tensor) -> Tensor:
        return self._latent


def _make(folder: Path, name: str, encoder: nn.Module, **specs: Any) -> Any:
    """Build a network of a checkout, and replace its encoder."""
    encoder_spec = {**_ENCODER, "args": {**_ENCODER["args"], "n_feats": encoder.latent_channels}}
    with _importable(folder):
        try:
            make = importlib.import_module("models").make
            model = make({"name": name, "args": {"encoder_spec": encoder_spec, **specs}})
        except (AttributeError, ImportError, KeyError, SyntaxError, TypeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise ValueError(f"{folder}: not a checkout with a network {name!r} ({reason})") from error
    model.encoder = encoder
    return model


@contextlib.contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Make the modules of a checkout importable, with stubs for imports that are not needed here."""
    stubs = {
        "tensorboardX": {"SummaryWriter": None},
        "timm": {},
        "timm.models": {},
        "timm.models.layers": dict.fromkeys(("DropPath", "to_2tuple", "trunc_normal_")),
    }
    temporary = {"models", "utils", "datasets", *stubs}
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] in temporary}
    for name, contents in stubs.items():
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(contents)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.split(".")[0] in temporary]:
            del sys.modules[name]
        sys.modules.update(before)


@contextlib.contextmanager
def _without_gpu(device: torch.device) -> Iterator[None]:
    """On a CPU, make ``Tensor.cuda()`` return the tensor unchanged."""
    if device.type != "cpu":
        yield
        return
    with mock.patch.object(torch.Tensor, "cuda", lambda tensor: tensor):
        yield


def _queries(size: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return coordinates and cells of an output grid, (1, H*W, 2) each."""
    coord = make_coord(*size, device=device)[None]
    return coord, coord.new_tensor([2 / n for n in size]).repeat(1, coord.shape[1], 1)


def _picture(rgb: Tensor, size: tuple[int, int]) -> Tensor:
    """Convert colours (1, H*W, 3) in [-1, 1] to a picture (1, 3, H, W) in [0, 1]."""
    return (rgb * 0.5 + 0.5).mT.unflatten(2, size)
