"""Encoder and decoder as two networks of plain operations, which torch.export and ONNX can hold.

Their sizes are free, and an expert is evaluated for its own LR pixels alone.
"""

import copy

import torch
from torch import Tensor, nn

from moeisr_plugin.archs import fast_path
from moeisr_plugin.archs.base_image import BilinearBase, GreyBase
from moeisr_plugin.archs.coordinates import MIN_AREA
from moeisr_plugin.archs.embeddings import LIIFEmbedding, LTEEmbedding
from moeisr_plugin.archs.implicit_network import ImplicitNetwork
from moeisr_plugin.archs.implicit_sr import ImplicitSR
from moeisr_plugin.exporting.axes import Axis, axis_tables
from moeisr_plugin.exporting.first_layers import LIIFFirstLayers, LTEFirstLayers


class ExportedEncoder(nn.Module):
    """Encoder and mapper of a network.

    Args:
        net: the network. Its weights are copied.
    """

    def __init__(self, net: ImplicitSR) -> None:
        super().__init__()
        self.encoder, self.mapper = copy.deepcopy(net.encoder).eval(), copy.deepcopy(net.mapper).eval()

    def forward(self, lr: Tensor) -> tuple[Tensor, Tensor]:
        """Return latent (1, D, h, w) and scores (1, J, h, w) of an LR image (1, 3, h, w) in [0, 1]."""
        latent = self.encoder((lr - 0.5) / 0.5)
        return latent, self.mapper(latent)


class ExportedDecoder(nn.Module):
    """Routed decoder of a network, for a part of an output grid.

    Args:
        net: a network that :func:`exportable` returned. Its weights are copied.
    """

    def __init__(self, net: ImplicitSR) -> None:
        super().__init__()
        net = copy.deepcopy(net).eval()
        embedding, experts = net.embedding, net.expert_list
        self.first_layers: LIIFFirstLayers | LTEFirstLayers
        if isinstance(embedding, LIIFEmbedding):
            self.first_layers = LIIFFirstLayers(embedding, experts)
        else:
            assert isinstance(embedding, LTEEmbedding)
            self.first_layers = LTEFirstLayers(embedding, experts)
        self.rest = nn.ModuleList(nn.Sequential(*list(expert.layers)[1:]) for expert in experts)
        self.adds_picture = isinstance(net.base, BilinearBase)
        self.local_ensemble = net.local_ensemble

    def forward(
        self,
        lr: Tensor,
        latent: Tensor,
        scores: Tensor,
        rows: Tensor,
        columns: Tensor,
        size: Tensor,
        lr_size: Tensor,
        origin: Tensor,
    ) -> Tensor:
        """Decode output pixels from a tile of the encoded image, or from all of it.

        Args:
            lr: (1, 3, h, w), tile of the LR image.
            latent: (1, D, h, w), tile of the latent. It has one more LR pixel on each side than the output
                pixels are decoded from, except at the border of the image.
            scores: (1, J, h, w), tile of the scores.
            rows: (N,) int64, adjacent rows of the output, at least one.
            columns: (M,) int64, adjacent columns of the output, at least one.
            size: (2,) int64, height and width of the whole output.
            lr_size: (2,) int64, height and width of the whole LR image.
            origin: (2,) int64, row and column of the tile's first LR pixel.

        Returns:
            RGB (1, 3, N, M), nominally in [0, 1], float32.
        """
        down, right = (
            axis_tables(
                pixels,
                size[axis],
                lr_size[axis],
                origin[axis],
                torch.arange(latent.shape[2 + axis], device=latent.device),
                local_ensemble=self.local_ensemble,
            )
            for axis, pixels in enumerate((rows, columns))
        )
        rel_cell = (2 * lr_size.double() / size.double()).float()  # (2,)
        colours = self._colours(latent, scores, down, right, rel_cell)  # (h*w*P*R, 3)
        blended = self._blend(colours, down, right, latent.shape[3])  # (N, M, 3)
        base = _bilinear(lr.float(), down, right) if self.adds_picture else 0.5
        return (base + 0.5 * blended).permute(2, 0, 1)[None]

    def _colours(self, latent: Tensor, scores: Tensor, down: Axis, right: Axis, rel_cell: Tensor) -> Tensor:
        """Return the colours of the grid of output pixels around each LR pixel, (h*w*P*R, 3)."""
        height, width = latent.shape[2:]
        per_row, per_column = down.offsets.shape[1], right.offsets.shape[1]
        used = down.used[:, None] & right.used  # (h, w)
        choice = scores[0].argmax(0)  # (h, w)
        shared = self.first_layers.prepare(latent, rel_cell)
        colours = torch.zeros(height * width, per_row * per_column * 3, device=latent.device)
        for j, rest in enumerate(self.rest):
            row, column = (used & (choice == j)).nonzero().unbind(1)  # (N_j,) each
            rel_y, rel_x = down.offsets[row], right.offsets[column]  # (N_j, P), (N_j, R)
            hidden = self.first_layers(j, shared, row, column, width, rel_y, rel_x)  # (N_j, P, R, C)
            flat = hidden.reshape(row.shape[0] * per_row * per_column, hidden.shape[3])
            rgb = rest(flat).float().reshape(row.shape[0], per_row * per_column * 3)
            colours = colours.index_put((row * width + column,), rgb)
        return colours.reshape(height * width * per_row * per_column, 3)

    def _blend(self, colours: Tensor, down: Axis, right: Axis, width: int) -> Tensor:
        """Blend the colours of the neighbours of each output pixel. Return (N, M, 3)."""
        per_row, per_column = down.offsets.shape[1], right.offsets.shape[1]
        of_rows = (down.index * width * per_row + down.slot) * per_column  # (V, N)
        of_columns = right.index * per_row * per_column + right.slot  # (V, M)
        pairs = [(y, x) for y in range(of_rows.shape[0]) for x in range(of_columns.shape[0])]
        # See `ensemble_weights`. The exporter's optimiser drops a term as small as MIN_AREA, without which an
        # area may be 0. So areas are in units of it.
        areas = torch.stack([(down.rel[y][:, None] * right.rel[x]).abs() for y, x in pairs]) / MIN_AREA + 1
        weights = areas.flip(0) / areas.sum(0)  # (V², N, M)
        position = torch.stack([of_rows[y][:, None] + of_columns[x] for y, x in pairs])  # (V², N, M)
        found = colours.index_select(0, position.flatten()).reshape(*position.shape, 3)
        return (found * weights[..., None]).sum(0)


def exportable(net: ImplicitNetwork) -> ImplicitSR:
    """Return the network if it can be exported.

    Raises:
        ValueError: it has another decoder than LIIF, LTE and mixtures on them, or replaced layers; one line
            with the remedy.
    """
    kind = net.hyper_parameters["type"]
    known = isinstance(net, ImplicitSR) and type(net.embedding) in (LIIFEmbedding, LTEEmbedding)
    if not known or type(net.base) not in (GreyBase, BilinearBase):
        raise ValueError(f"{kind} cannot be exported; choose LIIF, LTE, MoEISRLIIF or MoEISRLTE")
    assert isinstance(net, ImplicitSR)
    if not fast_path.serves(net):
        raise ValueError(
            f"{kind} has wrapped, quantised or hooked layers, which cannot be exported; export its float "
            "checkpoint"
        )
    return net


def _bilinear(lr: Tensor, down: Axis, right: Axis) -> Tensor:
    """Return an LR image (1, 3, h, w), sampled bilinearly at the output pixels, (N, M, 3)."""
    sampled = lr[0].permute(1, 2, 0)  # (h, w, 3)
    for dim, axis in enumerate((down, right)):
        last = sampled.shape[dim] - 1
        lower = axis.place.floor()
        share = (axis.place - lower)[(slice(None), *[None] * (2 - dim))]  # of the upper pixel
        index = lower.long().clamp(0, last)
        sampled = torch.lerp(
            sampled.index_select(dim, index), sampled.index_select(dim, (index + 1).clamp(max=last)), share
        )
    return sampled
