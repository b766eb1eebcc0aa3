"""A picture that is encoded once, and rendered at any number of sizes and windows."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from moeisr_plugin import pictures, render
from moeisr_plugin.archs.implicit_network import Encoding, ImplicitNetwork
from moeisr_plugin.render.averaging import averaged
from moeisr_plugin.render.bounds import Bounds, alpha_bounds, colour_bounds
from moeisr_plugin.render.casting import require_finite
from moeisr_plugin.render.sizes import checked_coordinates, enlarged_size, size_of_window
from moeisr_plugin.render.window import View, Window, checked_window, view_of
from moeisr_plugin.utils.progress import Bar

# Distance from the picture at which a coordinate still counts as inside, because of rounding errors.
_ROUNDING = 1e-6


class EncodedPicture:
    """An encoded picture, ready for rendering at any size.

    Args:
        net: the network that encoded the picture.
        image: the picture.
        encodings: encoding of the colour and, unless the picture is opaque, of the alpha.
        progress: whether to show a progress bar on stderr.
        keep_hidden_colour: whether transparent pixels keep their colour.
    """

    def __init__(
        self,
        net: ImplicitNetwork,
        image: np.ndarray,
        encodings: list[Encoding],
        *,
        progress: bool = False,
        keep_hidden_colour: bool = False,
    ) -> None:
        self._net = net
        self._progress = progress
        self._keep_hidden_colour = keep_hidden_colour
        self._image = image
        self._encodings = encodings

    def __repr__(self) -> str:
        height, width = self._image.shape[:2]
        return f"<{width}x{height} pixels, encoded by {self._net.hyper_parameters['type']}>"

    def _repr_png_(self) -> bytes:
        """Return the picture as it was encoded, for notebooks."""
        return pictures.notebook_png(self._image)

    @property
    def layers(self) -> int:
        """Number of decoded layers: the colour and, unless the picture is opaque, the alpha."""
        return len(self._encodings)

    def render(
        self,
        *,
        scale: float | tuple[float, float] | None = None,
        size: tuple[int, int] | None = None,
        window: Sequence[float] | None = None,
    ) -> np.ndarray:
        """Return the enlarged picture, or a part of it.

        A window equals the same part of the whole enlarged picture. Its time and memory follow from its own
        size. Below the size of the window, the network is rendered with a pixel or more for each pixel of
        the picture, and averaged over areas.

        Args:
            scale, size: see :meth:`.Upscaler.__call__`. With a window, they are those of the window, and may
                also reduce it.
            window: (top, left, bottom, right) in pixels of the picture. Edges may be fractions.

        Raises:
            ValueError: see :meth:`.Upscaler.__call__`. The window has no area, or reaches beyond the picture.
        """
        part, target = self._part(scale, size, window)
        return pictures.join_bands(self._bands(target, part), like=self._image, size=target)

    def render_bands(
        self,
        *,
        scale: float | tuple[float, float] | None = None,
        size: tuple[int, int] | None = None,
        window: Sequence[float] | None = None,
    ) -> Iterator[np.ndarray]:
        """Render band by band from the top, with bounded memory. The arguments are those of :meth:`render`.

        Yields:
            Bands (N, W) or (N, W, C) of N rows each.
        """
        part, target = self._part(scale, size, window)
        return self._bands(target, part)

    def render_at(self, coord: np.ndarray, cell: Sequence[float]) -> np.ndarray:
        """Return the colours at any coordinates, for rotations, perspective and corrections of lenses.

        Args:
            coord: (..., 2), y first. The picture lies between -1 and 1 on both axes. Coordinates outside are
                black, and transparent if the picture has alpha.
            cell: height and width of an output pixel in the same units, such as 2/H and 2/W. Pixels of the
                output that are larger than those of the picture count as equally large, and are not averaged.

        Returns:
            (...) or (..., C), with the channels and type of the picture.

        Raises:
            ValueError: coordinates or cell have another form, or are not finite.
        """
        coord, spacing = checked_coordinates(coord, cell)
        inside = (np.abs(coord) <= 1 + _ROUNDING).all(axis=-1)  # (...)
        query = torch.from_numpy(coord[inside].clip(-1, 1))  # (Q, 2)
        layers = []
        for encoding, bounds in zip(self._encodings, (colour_bounds, alpha_bounds), strict=False):
            colours = render.render_at(self._net, encoding, query, spacing)  # (Q, 3)
            require_finite(self._net, colours)
            layers.append(_bounded_at(bounds, encoding.lr, colours, query).T[None, :, None])  # (1, 3, 1, Q)
        pixels = np.zeros((*coord.shape[:-1], *self._image.shape[2:]), self._image.dtype)
        pixels[inside] = self._pixels(layers)[0]
        return pixels

    def _part(
        self,
        scale: float | tuple[float, float] | None,
        size: tuple[int, int] | None,
        window: Sequence[float] | None,
    ) -> tuple[Window | None, tuple[int, int]]:
        """Return the checked window, and the (H, W) of the output."""
        part = self._checked(window)
        if part is None:
            return None, enlarged_size(*self._image.shape[:2], scale=scale, size=size)
        return part, size_of_window(part, scale=scale, size=size)

    def _bands(self, size: tuple[int, int], window: Window | None) -> Iterator[np.ndarray]:
        view = view_of(self._image.shape[:2], size, window)
        layers = [
            averaged(self._bounded(encoding, bounds(encoding.lr, window), view, window), view.reduction)
            for encoding, bounds in zip(self._encodings, (colour_bounds, alpha_bounds), strict=False)
        ]
        with progress_bar("rendering", "row", self._progress, total=size[0]) as bar:
            for bands in zip(*layers, strict=True):
                yield self._pixels(bands)
                bar.update(bands[0].shape[2])

    def _bounded(
        self, encoding: Encoding, bounds: Bounds, view: View, window: Window | None
    ) -> Iterator[Tensor]:
        """Yield the bands of a layer, (1, 3, N, W), before they are averaged."""
        row, size = 0, view.finer().size
        for band in render.render_bands(self._net, encoding, size, window):
            require_finite(self._net, band)
            bounded = bounds.clamp(band, first_row=row, size=size)
            # An average is that of what is shown.
            yield bounded if view.reduction == (1, 1) else bounded.clamp(0, 1)
            row += band.shape[2]

    def _pixels(self, bands: Sequence[Tensor]) -> np.ndarray:
        return to_pixels(bands, like=self._image, keep_hidden_colour=self._keep_hidden_colour)

    def within_budget(self, budget: float) -> "EncodedPicture":
        """Return the same picture with a routing of the given cost. No training is needed.

        Args:
            budget: from 0 (shallowest expert for all pixels) to 1 (deepest expert for all pixels).

        Raises:
            ValueError: the budget is not between 0 and 1, or the network has only one expert.
        """
        encodings = [render.within_budget(self._net, encoding, budget) for encoding in self._encodings]
        return EncodedPicture(
            self._net,
            self._image,
            encodings,
            progress=self._progress,
            keep_hidden_colour=self._keep_hidden_colour,
        )

    def experts(self) -> np.ndarray | None:
        """Return the expert of each LR pixel as a number, (h, w) uint8. None for a single expert."""
        if self._net.num_experts == 1:
            return None
        return render.expert_map(self._encodings[0])[0].to(torch.uint8).cpu().numpy()

    def expert_map(self, window: Sequence[float] | None = None) -> np.ndarray | None:
        """Return the expert of each LR pixel as a colour, (h, w, 3) uint8. None for a single expert.

        A notebook shows the map as a picture.

        Args:
            window: the map has only the pixels that this window touches, also in part: rows floor(top) to
                ceil(bottom), and columns floor(left) to ceil(right). See :meth:`render`.

        Raises:
            ValueError: the window is empty or reaches beyond the picture.
        """
        part = self._checked(window)
        num_experts = self._net.num_experts
        if num_experts == 1:
            return None
        chosen = render.expert_map(self._encodings[0], part)[0]  # (h, w)
        return pictures.shown_array(render.colour_experts(chosen, num_experts).cpu().numpy())

    def expert_shares(self, window: Sequence[float] | None = None) -> dict[int, float]:
        """Return the share of the area that each expert decodes, by its depth, shallowest first.

        Args:
            window: a part of the picture, see :meth:`render`.

        Raises:
            ValueError: the window is empty or reaches beyond the picture.
        """
        part = self._checked(window)
        shares = render.expert_shares(self._encodings[0], part).tolist()
        return {expert.depth: share for expert, share in zip(self._net.expert_list, shares, strict=True)}

    def _checked(self, window: Sequence[float] | None) -> Window | None:
        return None if window is None else checked_window(window, self._image.shape[:2])


def _bounded_at(
    bounds: Callable[[Tensor, Window | None], Bounds], lr: Tensor, colours: Tensor, coord: Tensor
) -> Tensor:
    """Return colours (Q, 3) at coordinates (Q, 2) within the bounds of an LR picture."""
    if len(coord) == 0:
        return colours
    lr_size = lr.shape[2:]
    places = (coord + 1) * (torch.tensor(lr_size, device="cpu") / 2)  # (Q, 2), in LR pixels
    around = Window(*places.amin(0).tolist(), *places.amax(0).tolist())
    return bounds(lr, around).clamp_at(colours, places.to(colours.device))


def to_pixels(bands: Sequence[Tensor], *, like: np.ndarray, keep_hidden_colour: bool = False) -> np.ndarray:
    """Combine bands of all layers, (1, 3, N, W) each, to pixels (N, W) or (N, W, C).

    Args:
        bands: bounded bands.
        like: a picture with the channels and type of the pixels.
        keep_hidden_colour: whether transparent pixels keep their colour.
    """
    planes = [band[0].permute(1, 2, 0) for band in bands]  # (N, W, 3) each
    if len(planes) == 1 and like.dtype == np.uint8 and like.shape[2:] == (3,):
        # Rounding on the device transfers a quarter of the bytes and saves work on the host.
        return planes[0].clamp(0, 1).mul_(255).round_().byte().contiguous().cpu().numpy()
    layers = [plane.cpu().numpy() for plane in planes]
    return pictures.from_layers(layers, like=like, keep_hidden_colour=keep_hidden_colour)


def progress_bar(stage: str, unit: str, shown: bool, *, total: int | None = None) -> Bar:
    """Return a progress bar on stderr, which shows nothing unless `shown`."""
    return Bar(total=total, desc=stage, unit=unit, leave=False, disable=not shown)
