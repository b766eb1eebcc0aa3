"""The model that a Runner trains and validates."""

import math
from collections.abc import Mapping
from typing import Any

from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor, nn

from moeisr_plugin import render
from moeisr_plugin.archs import routing
from moeisr_plugin.archs.implicit_network import ImplicitNetwork
from moeisr_plugin.archs.implicit_sr import OWN_NETWORKS
from moeisr_plugin.archs.registry import build_network
from moeisr_plugin.checkpoints.provenance import starting_from
from moeisr_plugin.models.freezing import is_below, learning_experts
from moeisr_plugin.models.transfer import network_named

Options = Mapping[str, Any]

DEFAULT_LOSS = {"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"}


@MODELS.register_module()
class ImplicitRestorer(BaseModel):
    """Implicit network with its losses. The batches are those of this package's data sets.

    Args:
        network: options of a registered network (``type`` and its parameters), or weights to start from: a
            file, or the name of a bundled network.
        pixel_loss: options of the loss between predicted and sampled colours. Default: the mean L1.
        balance_loss, cost_loss: options of the losses of the mapper's scores; None for a network with one
            expert.
        random_gates_iter: number of first iterations in which each LR pixel is routed to one random expert.
            The mapper does not learn, and the losses of its scores are not used.
        mapper_alone_after: number of iterations after which only the mapper learns. Default: never.
        data_preprocessor, init_cfg: see `mmengine.model.BaseModel`.

    Attributes:
        network: the network.
        provenance: entries of a checkpoint about the weights that the training starts from.

    Raises:
        ValueError: the network is not an implicit one, its weights cannot be read, or a network with one
            expert has losses of scores; one line.
    """

    def __init__(
        self,
        network: Options | str,
        pixel_loss: Options | None = None,
        balance_loss: Options | None = None,
        cost_loss: Options | None = None,
        random_gates_iter: int = 0,
        mapper_alone_after: float = math.inf,
        data_preprocessor: Options | nn.Module | None = None,
        init_cfg: Options | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)  # pyright: ignore[reportArgumentType]
        self.network, self.provenance = _started(network)
        self.pixel_loss = MODELS.build(dict(pixel_loss or DEFAULT_LOSS))
        given = {"balance": balance_loss, "cost": cost_loss}
        self.score_losses = nn.ModuleDict(
            {name: MODELS.build(dict(loss)) for name, loss in given.items() if loss is not None}
        )
        self.random_gates_iter = random_gates_iter
        self.mapper_alone_after = mapper_alone_after
        if self.network.num_experts == 1 and (
            len(self.score_losses) or random_gates_iter or mapper_alone_after < math.inf
        ):
            raise ValueError(
                f"{type(self.network).__name__} has one expert; remove balance_loss, cost_loss, "
                "random_gates_iter and mapper_alone_after"
            )

    def forward(
        self,
        lq: Tensor,
        gt: Tensor | None = None,
        coord: Tensor | None = None,
        cell: Tensor | None = None,
        scale: Tensor | None = None,
        mode: str = "tensor",
        **_: Any,
    ) -> Tensor | dict[str, Tensor] | list[dict[str, Tensor]]:
        """Run the network in one of the modes of mmengine.

        Args:
            lq: LR pictures, (B, 3, h, w) in [0, 1].
            gt: sampled HR colours (B, Q, 3) for ``loss``; HR pictures (B, 3, H, W) for ``predict``.
            coord: (B, Q, 2), coordinates of the colours, y first, in [-1, 1].
            cell: (B, 2), size of an HR pixel.
            scale: (B, 2), scales (y, x), for ``predict`` without HR.
            mode: ``tensor``, ``loss`` or ``predict``.

        Returns:
            - ``tensor``: colours at `coord`, (B, Q, 3).
            - ``loss``: ``loss_pix`` and the losses of the scores.
            - ``predict``: a dictionary per picture with ``rgb``, (3, H, W), and ``scores``, (J, h, w).

        Raises:
            ValueError: the mode is unknown, or an argument that it needs is missing.
        """
        if mode == "predict":
            return self._predict(lq, gt, scale)
        if mode not in ("tensor", "loss"):
            raise ValueError(f"mode is {mode!r}; give tensor, loss or predict")
        if coord is None or cell is None or (gt is None and mode == "loss"):
            raise ValueError(
                f"mode {mode} needs {'gt, ' * (mode == 'loss')}coord and cell; use ArbitraryScaleDataset"
            )
        if mode == "tensor":
            return self.network(lq, coord, cell).rgb
        assert gt is not None
        return self._losses(lq, gt, coord, cell)

    def _losses(self, lq: Tensor, gt: Tensor, coord: Tensor, cell: Tensor) -> dict[str, Tensor]:
        if self._iteration() >= self.mapper_alone_after:
            for name, parameter in self.network.named_parameters():
                if not is_below(name, ["mapper"]):
                    parameter.requires_grad_(False)
        at_random = self._iteration() < self.random_gates_iter
        choice = routing.random_choice(lq, learning_experts(self.network.experts)) if at_random else None
        decoding = self.network(lq, coord, cell, choice=choice)
        losses = {"loss_pix": self.pixel_loss(decoding.rgb, gt)}
        if not at_random:
            losses |= {f"loss_{name}": loss(decoding.scores) for name, loss in self.score_losses.items()}
        return losses

    def _predict(self, lq: Tensor, gt: Tensor | None, scale: Tensor | None) -> list[dict[str, Tensor]]:
        if gt is not None:
            size = gt.shape[-2], gt.shape[-1]
        elif scale is not None and bool((scale == scale[0]).all()):
            per_axis = scale[0].tolist()
            size = round(lq.shape[-2] * per_axis[0]), round(lq.shape[-1] * per_axis[1])
        else:
            raise ValueError("mode predict needs gt or one scale; use ScaleValidationDataset")
        encoding = render.encode(self.network, lq)
        pictures = render.render(self.network, encoding, size)
        return [{"rgb": rgb, "scores": scores} for rgb, scores in zip(pictures, encoding.scores, strict=True)]

    @staticmethod
    def _iteration() -> int:
        """Return the number of finished iterations, which the Runner publishes before each."""
        return MessageHub.get_current_instance().get_info("iter", 0)


def _started(network: Options | str) -> tuple[ImplicitNetwork, dict[str, Any]]:
    """Return the network, and the provenance of its weights."""
    if isinstance(network, str):
        net, path = network_named(network)
        return net, starting_from(str(path), None)
    options = dict(network)
    known = MODELS.get(str(options.get("type")))
    net = build_network(options) if known is None else MODELS.build(options)
    if not isinstance(net, ImplicitNetwork):
        raise ValueError(f"network: is a {type(net).__name__}; give {OWN_NETWORKS}")
    return net, starting_from(None, (options.get("encoder") or {}).get("pretrained"))
