"""What an embedding provides: terms of the experts' first layers, computed once per LR pixel."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor, nn

from moeisr_plugin.ops.workspace import Workspace


class PixelTerms(Protocol):
    """Terms of the experts' first layers that depend only on the LR pixel.

    A query refers to its LR pixel by ``index``, a row of a table flattened from (B, h, w).
    """

    def first_layer(self, expert: int, index: Tensor, rel: Tensor) -> Tensor:
        """Evaluate the first layer of one expert before its ReLU.

        Args:
            expert: index of the expert in [0, J).
            index: (N,), LR pixel of each query. N can be 0, for an expert without queries. So give all sizes
                of a view: with -1 torch cannot infer a size of no elements.
            rel: (N, 2), coordinate relative to the LR pixel, y first.

        Returns:
            (N, hidden_dim).
        """
        ...

    def first_layers(self, index: Tensor, rel: Tensor) -> list[Tensor]:
        """Evaluate the first layers of all J experts at the same queries. See :meth:`first_layer`."""
        ...

    def first_layer_on_grid(
        self, expert: int, index: Tensor, rel_y: Tensor, rel_x: Tensor, *, workspace: Workspace
    ) -> Tensor:
        """Evaluate the first layer of one expert before its ReLU at a grid of queries around each LR pixel.

        Args:
            expert: index of the expert in [0, J).
            index: (N,), the LR pixels, at least one.
            rel_y: (N, P), y of the P grid rows relative to the LR pixel.
            rel_x: (N, R), x of the R grid columns relative to the LR pixel.
            workspace: scratch buffers for intermediate results.

        Returns:
            (N, P, R, hidden_dim), without gradient. It may be a view of a scratch buffer.
        """
        ...


class Embedding(nn.Module):
    """Maps a query to the input of the experts. A new backbone is a new subclass."""

    in_features: int
    """Width of the embedding."""
    radius: int
    """Radius of the receptive field in latents: 1 for a 3x3 neighbourhood, 0 for a single latent."""
    precise_parts: tuple[str, ...] = ()
    """Names of submodules that need more precision than bfloat16."""

    def precompute(
        self,
        latent: Tensor,
        rel_cell: Tensor,
        firsts: Sequence[nn.Linear],
        groups: Sequence[Tensor] | None = None,
    ) -> PixelTerms:
        """Compute the terms that depend only on the LR pixel, in the precision of the latent.

        Args:
            latent: (B, D, h + 2 * radius, w + 2 * radius), padded.
            rel_cell: (B, 2), the cell relative to a latent, (2h/H, 2w/W).
            firsts: first layers of the J experts.
            groups: J tensors (N_j,), the LR pixels in [0, B*h*w) that are routed to each expert; N_j can be
                0. Only the terms of this expert are then valid at these pixels. If None, all terms are valid
                everywhere.

        Returns:
            Terms at B*h*w LR pixels.
        """
        raise NotImplementedError

    def rel_cell(self, size: tuple[float, float], latent_size: tuple[int, int]) -> tuple[float, float]:
        """Return the cell of an output grid relative to a latent, as the experts receive it.

        Args:
            size: (H, W) of the output. Fractions occur where the output shows a window.
            latent_size: (h, w) of the latent.

        Returns:
            (2h/H, 2w/W), possibly clipped.
        """
        raise NotImplementedError
