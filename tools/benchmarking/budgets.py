"""Measure PSNR and MACs of mixtures at budgets from the shallowest to the deepest expert."""

from pathlib import Path

import torch

from benchmarking.contenders import Network
from benchmarking.rendering import Row
from moeisr_plugin import render
from moeisr_plugin.data.scaled_set import ScaledSet
from moeisr_plugin.evaluation.measuring import Measures
from moeisr_plugin.render import complexity
from moeisr_plugin.render.budget import within_budget


def measure_budgets(
    networks: list[Network],
    folder: Path,
    scales: list[float],
    count: int,
    device: torch.device,
    *,
    protocol: str = "benchmark",
) -> list[Row]:
    """Return a row per network, scale and budget with means over the pictures of a folder.

    Args:
        networks: the networks. Those with one expert are skipped.
        folder: HR pictures, or HR and LR, as for `moeisr evaluate`.
        scales: scales of both axes.
        count: number of evenly spaced budgets from 0 to 1, at least 2.
        device: device of the networks.
        protocol: protocol of PSNR.

    Raises:
        ValueError: pictures are missing or too small.
    """
    measures = Measures(protocol, None)
    rows = []
    budgets = torch.linspace(0, 1, count, dtype=torch.float64).tolist()
    for network in (network for network in networks if len(network.net.experts) > 1):
        for scale in scales:
            test_set = ScaledSet(folder, (scale, scale), "auto")
            if len(test_set) == 0:
                raise ValueError(f"{folder}: every picture is too small for scale {scale:g}; omit the scale")
            figures: list[list[tuple[float, int]]] = [[] for _ in budgets]  # per budget, then per picture
            for index in range(len(test_set)):
                sample = test_set[index]
                encoding = render.encode(network.net, sample.lr.to(device))
                for budget, of_budget in zip(budgets, figures, strict=True):
                    kept = within_budget(network.net, encoding, budget)
                    picture = render.render(network.net, kept, sample.size)
                    work = complexity.workload(network.net, render.expert_map(kept)[0], sample.size)
                    macs = complexity.executed_macs(network.net, work)
                    of_budget.append((measures.psnr(picture, sample), macs))
            for budget, of_budget in zip(budgets, figures, strict=True):
                psnr, macs = (sum(column) / len(of_budget) for column in zip(*of_budget, strict=True))
                rows.append(
                    {
                        "network": network.name,
                        "scale": scale,
                        "budget": budget,
                        "psnr": psnr,
                        "decoder_macs": macs,
                        "protocol": protocol,
                        "dataset": test_set.name,
                        "pictures": len(of_budget),
                    }
                )
    return rows
