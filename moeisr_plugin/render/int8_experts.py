"""Experts on the LIIF embedding with 8-bit codes, on the grid of output pixels around each LR pixel."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from moeisr_plugin.archs.embeddings.liif import LIIFEmbedding, Neighbourhoods, in_gathered_order
from moeisr_plugin.archs.experts import Expert
from moeisr_plugin.archs.implicit_sr import ImplicitSR
from moeisr_plugin.ops.int8 import UNIT, FineCoding, Int8Linear, compensated, quantise_finely, truncate
from moeisr_plugin.ops.int8_chain import channel_steps, scaled
from moeisr_plugin.ops.workspace import Workspace
from moeisr_plugin.render.unfolded import ExpertOnGrid

# Largest relative coordinate on a grid; an LR pixel is 2 wide.
_REACH = 2.0
# LR pixels whose neighbourhoods are gathered in one step.
_GATHERED_PIXELS = 4096
# Scales at which ranges are found. The cell of a larger scale is close to that of the last one.
_SCALES = (1.0, 2.0, 4.0, 30.0)
_SAMPLES = 4096
# Share of the samples whose numbers are clamped. Finer codes of the others outweigh this.
_CLAMPED_SHARE = 1e-3
# Latents may exceed the range of the sample in their channel by this factor, as those of photographs do.
_TOLERANCE = 1.5
_SEED = 0


class Int8Expert:
    """One expert on codes.

    Its first layer is split as in `LIIFEmbedding.precompute`. The part of a row of queries and the part of a
    column have codes too. The code of max(row - column, 0) is max(row, column) - column, without overflow,
    if the column part is stated as its distance from its largest value.

    Args:
        embedding: the embedding.
        expert: the expert.
        source: coding of the latent.
        neighbourhoods: sample latents (N, D*side²), unfolded.

    Raises:
        ValueError: a weight is not finite.
    """

    def __init__(
        self, embedding: LIIFEmbedding, expert: Expert, source: FineCoding, neighbourhoods: Tensor
    ) -> None:
        self._embedding, self._first = embedding, expert.first
        hidden, samples = _ranges(embedding, expert, neighbourhoods)
        later = expert.linears[1:]
        steps = [channel_steps(most, layer.weight) for most, layer in zip(hidden, later, strict=True)]
        self._step = steps[0]
        parts = embedding.parts(expert.first, neighbourhoods.new_zeros(1, 2))
        columns = parts.of_rel.detach() / self._step[:, None]  # (C, 2)
        self._column_y, self._column_x = columns.t().contiguous()
        self._reach_x = _REACH * self._column_x.abs()
        weight = in_gathered_order(parts.of_latent.detach(), (2 * embedding.radius + 1) ** 2)
        weight, zeros = weight / self._step[:, None], torch.zeros_like(self._step)
        self._of_latent = [Int8Linear(weight, zeros, source=each) for each in source]
        self._later = [
            Int8Linear(*scaled(layer, before, after), source=UNIT, target=UNIT, relu=True)
            for layer, (before, after) in zip(later, pairwise(steps), strict=False)
        ]
        last = compensated(*scaled(later[-1], steps[-1], None), samples / steps[-1])
        self._last = Int8Linear(*last, source=UNIT)

    @property
    def width(self) -> int:
        return len(self._step)

    def table(self, coarse: Tensor, fine: Tensor, rel_cell: Tensor) -> Tensor:
        """Return the first layer without the relative coordinate, in steps, (N, C).

        Args:
            coarse, fine: codes of gathered latents, (N, side²*D).
            rel_cell: (1, 2), the cell relative to a latent.
        """
        constant = self._embedding.parts(self._first, rel_cell).constant[0]  # (C,)
        # The largest of the column part is added to the row part, and 0.5 to round.
        of_coarse, of_fine = self._of_latent
        return of_coarse(coarse, constant / self._step + self._reach_x + 0.5).add_(of_fine(fine))

    def columns(self, rel_x: Tensor) -> Tensor:
        """Return the codes of the column parts, (w, R, C), from x relative to each LR column, (w, R)."""
        exact = torch.addcmul(self._reach_x + 0.5, rel_x[..., None], self._column_x, value=-1)
        codes = torch.empty_like(exact, dtype=torch.uint8)
        truncate(exact, out=codes)
        return codes

    def on_grid(self, table: Tensor, rel_y: Tensor, columns: Tensor, workspace: Workspace) -> Tensor:
        """Return the colours in [-1, 1] at a grid of queries around each LR pixel, (N, P, R, 3).

        Args:
            table: (N, C), the result of :meth:`table`.
            rel_y: (N, P), y of the grid rows relative to the LR pixel.
            columns: (N, R, C), codes of the column parts.
            workspace: scratch buffers.
        """
        n, per_y, per_x, width = *rel_y.shape, *columns.shape[1:]
        exact = workspace.empty("exact", (n, per_y, width), like=table)
        rows = workspace.empty("rows", (n, per_y, width), like=columns)
        codes = workspace.empty("codes", (n, per_y, per_x, width), like=columns)
        torch.addcmul(table[:, None], rel_y[..., None], self._column_y, out=exact)
        truncate(exact, out=rows)
        torch.maximum(rows[:, :, None], columns[:, None], out=codes).sub_(columns[:, None])

        hidden = codes.view(n * per_y * per_x, width)
        for layer in self._later:
            hidden = layer(hidden)
        return self._last(hidden).view(n, per_y, per_x, -1)


class Int8Experts:
    """The experts of a network on codes.

    Args:
        net: the network, in float32 on a CPU, on the LIIF embedding.
        latent: sample latents (B, D, h, w), whose ranges are coded.

    Raises:
        ValueError: a weight is not finite.
    """

    def __init__(self, net: ImplicitSR, latent: Tensor) -> None:
        embedding = net.embedding
        assert isinstance(embedding, LIIFEmbedding)
        self._radius = embedding.radius
        low, high = torch.aminmax(latent.transpose(0, 1).flatten(1), dim=1)  # (D,) each
        self._low, self._high = _TOLERANCE * low.clamp_max(0), _TOLERANCE * high.clamp_min(0)
        self._source = FineCoding.of_range(self._low.min().item(), self._high.max().item())
        samples = _sample_neighbourhoods(latent, embedding)
        self._experts = [Int8Expert(embedding, expert, self._source, samples) for expert in net.expert_list]

    def cover(self, latent: Tensor) -> bool:
        """Return whether codes cover a latent (B, D, h, w) and what experts make of it."""
        pixels = latent.permute(0, 2, 3, 1).flatten(0, 2)  # (B*h*w, D)
        return bool(((pixels.amin(0) >= self._low) & (pixels.amax(0) <= self._high)).all())

    @property
    def width(self) -> int:
        """The width of the hidden layers."""
        return self._experts[0].width

    def evaluate(
        self, padded: Tensor, rel_cell: Tensor, groups: Sequence[Tensor], rel_x: Tensor
    ) -> ExpertOnGrid:
        """Return the same function as `unfolded_experts`, for the given columns only.

        Args:
            padded: rows of the latent and the rim around them, (1, D, h + 2 * radius, w + 2 * radius).
            rel_cell: (1, 2), the cell relative to a latent.
            groups: J tensors (N_j,), the LR pixels in [0, h*w) of each expert.
            rel_x: (w, R), x of the R output columns relative to each LR column.
        """
        workspace = Workspace()
        coarse, fine = (
            Neighbourhoods(codes, self._radius) for codes in quantise_finely(padded, self._source)
        )
        height, width = (n - 2 * self._radius for n in padded.shape[2:])
        table = padded.new_empty(height * width, self.width)
        for expert, group in zip(self._experts, groups, strict=True):
            for pixels in group.split(_GATHERED_PIXELS):
                table.index_copy_(0, pixels, expert.table(coarse(pixels), fine(pixels), rel_cell))
        columns = [expert.columns(rel_x) for expert in self._experts]

        def evaluate(j: int, pixels: Tensor, rel_y: Tensor, _: Tensor) -> Tensor:
            of_pixels = columns[j].index_select(0, pixels % width)
            return self._experts[j].on_grid(table.index_select(0, pixels), rel_y, of_pixels, workspace)

        return evaluate


def _sample_neighbourhoods(latent: Tensor, embedding: LIIFEmbedding) -> Tensor:
    """Return unfolded latents (N, D*side²) at some LR pixels."""
    side = 2 * embedding.radius + 1
    unfolded = torch.nn.functional.unfold(latent, side, padding=embedding.radius)  # (B, D*side², h*w)
    rows = unfolded.transpose(1, 2).flatten(0, 1)  # (B*h*w, D*side²)
    return rows[:: max(1, len(rows) // _SAMPLES)]


def _ranges(embedding: LIIFEmbedding, expert: Expert, neighbourhoods: Tensor) -> tuple[list[Tensor], Tensor]:
    """Find the range of each hidden channel after its ReLU.

    That of the first layer is a bound over all relative coordinates. The others are found at random ones.

    Returns:
        (C,) of each hidden layer, and samples of the input of the last layer, (N, C).
    """
    cells = neighbourhoods.new_tensor([[2 / scale, 2 / scale] for scale in _SCALES])  # (S, 2)
    of_latent, of_rel, constants = embedding.parts(expert.first, cells)
    table = neighbourhoods @ of_latent.t()  # (N, C)
    largest = [(_most(table) + constants.amax(0) + _REACH * of_rel.abs().sum(1)).clamp_min(0)]
    generator = torch.Generator().manual_seed(_SEED)
    rel = (torch.rand(len(table), 2, generator=generator) * 2 - 1) * _REACH
    scale = torch.randint(len(cells), (len(table),), generator=generator)
    hidden = (table + constants[scale] + rel @ of_rel.t()).relu()
    for layer in expert.linears[1:-1]:
        hidden = layer(hidden).relu()
        largest.append(_most(hidden))
    return largest, hidden


def _most(numbers: Tensor) -> Tensor:
    """Return the largest number of each channel (C,) but for a few of (N, C)."""
    return numbers.topk(1 + int(len(numbers) * _CLAMPED_SHARE), dim=0).values[-1]
