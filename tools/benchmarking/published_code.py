"""Run published code of other authors from a checkout, as its test.py does.

LIIF uses the weights of a decoder of this package, and other networks have random weights. All use an encoder
of this package with the same structure as the published one.
"""

import importlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarking.checkouts import importable, without_gpu
from moeisr_plugin.archs.coordinates import make_coord
from moeisr_plugin.utils.messages import one_line
from moeisr_plugin.utils.tensor_files import read_tensor_file

# Queries per chunk in the published configurations of LIIF.
_CHUNK = 30_000
# Above this scale, LM-LIIF receives the cell of this scale.
_LMF_MAX_SCALE = 4
_LMF_RENDERER = {"out_dim": 3, "hidden_dim": 16, "hidden_depth": 6, "mod_scale": True, "mod_shift": True}
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
        coord, cell = queries(size, self._device)
        chunks = zip(coord.split(_CHUNK, dim=1), cell.split(_CHUNK, dim=1), strict=True)
        self._model.feat = latent
        with without_gpu(self._device):
            return picture_of(torch.cat([self._model.query_rgb(*chunk) for chunk in chunks], dim=1), size)


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
        with without_gpu(self._device):
            self._model.gen_feat((lr - 0.5) / 0.5)
        return lr

    @torch.no_grad()
    def decode(self, lr: Tensor, size: tuple[int, int]) -> Tensor:
        coord, cell = queries(size, self._device)
        # As in its test.py, cells of scales above the trained ones are clipped, here for each axis.
        limit = self._net.hyper_parameters["max_trained_scale"]
        cell = cell.maximum(cell.new_tensor([2 / (limit * n) for n in lr.shape[2:]]))
        with without_gpu(self._device):
            return picture_of(self._model.query_rgb(coord, cell), size)


class PublishedLMLIIF:
    """LM-LIIF of HeZongyao/LMF in the configuration for EDSR-baseline, on its fast path.

    Args:
        folder: a checkout.
        encoder: encoder that replaces the published one.
        device: device of the network.
        weights: published weights with their own encoder. None for random weights and the given encoder.

    Raises:
        ValueError: the folder does not contain the network, or the weights do not fit.
    """

    def __init__(
        self, folder: Path, encoder: nn.Module, device: torch.device, weights: Path | None = None
    ) -> None:
        if weights is None:
            self._model = _make(
                folder,
                "lmliif",
                encoder,
                imnet_spec={"name": "lmmlp", "args": _LMF_RENDERER},
                hypernet_spec={"name": "mlp", "args": {"hidden_list": [208]}},
                mod_input=True,
            )
        else:
            self._model = load_published(folder, weights)
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
        coord, cell = queries(size, self._device)
        limited_cell = cell * max(size[0] / normalised.shape[2] / _LMF_MAX_SCALE, 1)
        with without_gpu(self._device):
            return picture_of(self._model(normalised, coord, limited_cell), size)


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
    with importable(folder):
        try:
            make = importlib.import_module("models").make
            model = make({"name": name, "args": {"encoder_spec": encoder_spec, **specs}})
        except (AttributeError, ImportError, KeyError, SyntaxError, TypeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise ValueError(f"{folder}: not a checkout with a network {name!r} ({reason})") from error
    model.encoder = encoder
    return model


def load_published(folder: Path, weights: Path, **importing: Any) -> Any:
    """Return a network of a checkout with the weights of a file that its training wrote.

    Args:
        folder: the checkout.
        weights: the file.
        importing: further arguments of `importable`.

    Raises:
        ValueError: the file is no such file, or the checkout has no such network.
    """
    content = read_tensor_file(weights)
    with importable(folder, **importing):
        try:
            return importlib.import_module("models").make(content["model"], load_sd=True)
        except (AttributeError, ImportError, KeyError, RuntimeError, SyntaxError, TypeError) as error:
            reason = f"{type(error).__name__}: {one_line(error)}"
            raise ValueError(f"{weights}: does not hold a network of {folder} ({reason})") from error


def queries(size: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return coordinates and cells of an output grid, (1, H*W, 2) each."""
    coord = make_coord(*size, device=device)[None]
    return coord, coord.new_tensor([2 / n for n in size]).repeat(1, coord.shape[1], 1)


def picture_of(rgb: Tensor, size: tuple[int, int]) -> Tensor:
    """Convert colours (1, H*W, 3) in [-1, 1] to a picture (1, 3, H, W) in [0, 1]."""
    return (rgb * 0.5 + 0.5).mT.unflatten(2, size)
