"""What a view costs: the MACs of decoding it, and the share of each expert."""

import threading
from collections import OrderedDict
from typing import Any

import numpy as np
import torch

from moeisr_plugin.archs.implicit_network import ImplicitNetwork
from moeisr_plugin.archs.implicit_sr import ImplicitSR
from moeisr_plugin.render.complexity import (
    FoldedCost,
    Workload,
    executed_macs,
    folded_cost,
    mapper_macs,
    workload,
)
from moeisr_plugin.web.encodings import Routed
from moeisr_plugin.web.held_pictures import HeldPicture
from moeisr_plugin.web.views import View, stored_view

_HELD = 256
"""Counts held. Each zoom has one or a few for each network."""


class Costs:
    """Count the cost of views. What depends on the network and the scale alone is counted once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counted: OrderedDict[Any, tuple[int, FoldedCost]] = OrderedDict()

    def of(self, held: HeldPicture, routed: Routed, view: View) -> dict[str, Any]:
        """Return the MACs of a view, those with the cheapest and the dearest routing, and the shares."""
        net = routed.upscaler.net
        stored = stored_view(view, held.picture)
        rows, columns = stored.window.pixels
        if routed.experts is None:
            experts = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
        else:
            experts = routed.experts[rows, columns]
        counts = np.bincount(experts.ravel(), minlength=net.num_experts)
        routings = [experts, *(np.full_like(experts, j) for j in (0, net.num_experts - 1))]
        macs, least, most = (
            self._macs(net, workload(net, torch.from_numpy(each.astype(np.int64)), stored.size))
            for each in routings
        )
        shares = [round(float(share), 4) for share in counts / counts.sum()]
        return {"macs": macs, "least": least, "most": most, "shares": shares}

    def _macs(self, net: ImplicitNetwork, work: Workload) -> int:
        if not isinstance(net, ImplicitSR):
            return executed_macs(net, work)
        of_mapper, cost = self._cost(net, work.pixel_grid)
        per_pixel = zip(cost.per_lr_pixel, work.lr_pixels, strict=True)
        return of_mapper * sum(work.lr_pixels) + cost.fixed + sum(macs * n for macs, n in per_pixel)

    def _cost(self, net: ImplicitSR, pixel_grid: tuple[int, int]) -> tuple[int, FoldedCost]:
        with self._lock:
            key = (id(net), pixel_grid)
            if key not in self._counted:
                of_mapper = next((m for k, (m, _) in self._counted.items() if k[0] == id(net)), None)
                if of_mapper is None:
                    of_mapper = mapper_macs(net, (1, 1))
                self._counted[key] = (of_mapper, folded_cost(net, pixel_grid))
            while len(self._counted) > _HELD:
                self._counted.popitem(last=False)
            return self._counted[key]
