"""Compare the speed of this package with decoders run as published, with the same weights.

    python tools/benchmark.py -o results
    python tools/benchmark.py --cases 4x96x96 --networks LIIF MoEISRLIIF-s --precisions float32 bfloat16
    python tools/benchmark.py --beside-liif path/to/liif --beside-lmf path/to/LMF --threads 1 2 -o results
    python tools/benchmark.py --cases 4x96x96 --networks LIIF MoEISRLIIF-s --plain LIIF --beside-edsr
    python tools/benchmark.py --device cuda --cases 3x1280x720 --plain LIIF --without-kernels -o results
    python tools/benchmark.py --front --pictures datasets/Set5 --liif edsr-baseline-liif.pth -o results
    python tools/benchmark.py --processes 2 --pictures datasets/Set5 --weights MoEISR_LIIF_s -o results
    python tools/benchmark.py --training --training-precisions float32 tf32 bfloat16 --compile -o results

Each network is decoded by the package and by a plain reference that follows the publications
(moeisr_plugin/archs/reference.py). Options add published code and the toolbox's
fixed-scale EDSR. The contenders run in alternating order,
and medians are reported. The mapper of a mixture with random weights runs, but its routing is replaced by an
expert map with the mean cost of the paper. Trained `--weights` use their own routing.

OUT/benchmark.json contains moeisr (version), machine, encoder, weights, channels_last, repeats, gemm (MACs
per second of large matrix products), rendering (a row per case, contender and number of threads, with the
seconds of encoder and decoder in `runs`), training, iterations and budgets. OUT/benchmark.md shows it.

--front measures trained networks and other methods on pictures instead, and writes OUT/front.json (an entry
per network, code, precision and budget), front.md and front.png. --processes measures a folder instead, and
writes OUT/processes.json.
"""

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from benchmarking.arguments import parser_of
from benchmarking.budgets import measure_budgets
from benchmarking.cases import Case, expert_map, lr_picture, shares_of_mean_depth
from benchmarking.contenders import ENCODERS, MEAN_EXTRA_LAYERS, NETWORKS, Network, contenders
from benchmarking.fixed_scale import is_supported
from benchmarking.front_command import run_front
from benchmarking.iterations import measure_iterations
from benchmarking.number_formats import gemm_peak
from benchmarking.rendering import Row, add_peak_share, measure
from benchmarking.shared_folder import measure_processes, sentence
from benchmarking.tables import markdown
from benchmarking.training import measure_training

from moeisr_plugin import __version__
from moeisr_plugin.archs.implicit_arch import LIIF
from moeisr_plugin.checkpoints.network import network_from
from moeisr_plugin.commands.devices import chosen_device
from moeisr_plugin.evaluation.loading import distinct_names
from moeisr_plugin.evaluation.machine import machine
from moeisr_plugin.render.casting import INT8, int8_obstacle
from moeisr_plugin.utils.allocator import keep_freed_memory
from moeisr_plugin.utils.atomic import atomic_write

Shares = dict[str, list[float]]
_TRAINED = ("LIIF", "MoEISRLIIF-b", "MoEISRLIIF-s")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the tables and write OUT."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # silences a message at each start of the profiler
    parser = parser_of(__doc__)
    args = parser.parse_args(argv)
    keep = partial(write_report, args.out) if args.out is not None else None
    try:
        if args.front and args.processes is not None:
            raise ValueError("--front and --processes: are two measurements; give one of them")
        if args.front:
            text = run_front(args)
        elif args.processes is not None:
            text = run_processes(args)
        else:
            args.precisions = args.precisions or ["float32"]
            text = markdown(run(args, keep))
    except (ValueError, OSError) as error:
        parser.error(" ".join(str(error).split()))
    print(text)
    return 0


def run_processes(args: argparse.Namespace) -> str:
    """Time a folder by one process and by several, and write OUT/processes.json. Return a line per network.

    Raises:
        ValueError: options are missing, or a run fails.
    """
    if args.pictures is None or not args.weights:
        raise ValueError("--processes: needs --pictures FOLDER and --weights")
    rows = [
        measure_processes(args.pictures, str(weights), args.scale, args.processes, args.repeats)
        for weights in args.weights
    ]
    if args.out is not None:
        report = {"moeisr": __version__, "machine": machine(torch.device("cpu")), "rows": rows}
        args.out.mkdir(parents=True, exist_ok=True)
        with atomic_write(args.out / "processes.json") as file:
            file.write((json.dumps(report, indent=2) + "\n").encode())
    return "\n".join(map(sentence, rows))


def write_report(folder: Path, report: dict[str, Any]) -> None:
    """Write a report as JSON and Markdown. Each file is replaced atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, contents in (
        ("benchmark.json", json.dumps(report, indent=2, allow_nan=False) + "\n"),
        ("benchmark.md", markdown(report)),
    ):
        with atomic_write(folder / name) as file:
            file.write(contents.encode())


def run(args: argparse.Namespace, keep: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any]:
    """Measure, and return the content of OUT/benchmark.json.

    Args:
        args: the command line.
        keep: called with the report after each repeat of a case and at the end, so that an interrupted run
            keeps its results.

    Raises:
        ValueError: options contradict each other, or files cannot be used.
    """
    device = torch.device(chosen_device(args) or ("cuda" if torch.cuda.is_available() else "cpu"))
    if "tf32" in args.precisions and device.type != "cuda":
        raise ValueError("--precisions tf32: needs a GPU")
    if INT8 in args.precisions and (reason := int8_obstacle(device)):
        raise ValueError(f"--precisions int8: {reason}")
    if device.type != "cuda" and "tf32" in args.training_precisions:
        raise ValueError("--training-precisions tf32: needs a GPU")
    if (args.training_precisions or args.compile) and not args.training:
        raise ValueError("--training-precisions and --compile: need --training")
    if args.without_kernels and device.type != "cuda":
        raise ValueError("--without-kernels: needs a GPU, because only a GPU uses kernels")
    if args.beside_edsr and not all(is_supported(case.scale) for case in args.cases):
        raise ValueError("--beside-edsr: the toolbox has EDSR for scales 2, 3, 4, 8 ...; change --cases")
    if args.budgets and not (args.weights and args.pictures):
        raise ValueError("--budgets: needs --weights and --pictures")
    names = args.networks or (["LIIF"] if args.weights else list(NETWORKS))
    networks = build_networks(args.encoder, names, args.weights, device, args.order)
    shares = wanted_shares(networks, args.shares, trained=len(args.weights))
    report: dict[str, Any] = {
        "moeisr": __version__,
        "machine": machine(device),
        "encoder": args.encoder,
        "weights": distinct_names(args.weights),
        "channels_last": args.order == torch.channels_last,
        "repeats": args.repeats,
        "gemm": [],
        "rendering": [],
        "training": [],
        "iterations": [],
        "budgets": [],
    }
    for threads in args.threads:
        torch.set_num_threads(threads)
        before = report["rendering"], report["gemm"]
        peaks = dict.fromkeys(args.precisions, 0.0)
        measured: list[Row] = []
        for case in args.cases:
            _log(f"{case.label}, threads: {threads}")
            routed = [route(network, shares, case) for network in networks]
            competing = contenders(
                routed,
                args.precisions,
                device,
                plain=args.plain,
                without_kernels=args.without_kernels,
                liif=args.beside_liif,
                lmf=args.beside_lmf,
                fixed_scale=int(case.scale) if args.beside_edsr else None,
            )
            lr = lr_picture(case.lr_size).to(device)
            # The best of a measurement per case, because other processes may slow a single one.
            peaks = {each: max(peak, gemm_peak(each, device)) for each, peak in peaks.items()}
            report["gemm"] = before[1] + [
                {"threads": threads, "precision": precision, "macs_per_second": peak}
                for precision, peak in peaks.items()
            ]
            rows: list[Row] = []
            for rows in measure(competing, case, lr, args.repeats):
                add_peak_share(measured + rows, peaks)
                report["rendering"] = before[0] + [{"threads": threads, **row} for row in measured + rows]
                if keep is not None:
                    keep(report)
            measured += rows
    if args.budgets:
        scales = sorted({case.scale for case in args.cases})
        report["budgets"] = measure_budgets(
            networks[-len(args.weights) :], args.pictures, scales, args.budgets, device
        )
    if args.training:
        keep_freed_memory()  # as training does; rendering above runs with the default allocator
        for threads in args.threads:
            _log(f"training, threads: {threads}")
            torch.set_num_threads(threads)
            for part, rows in _train(args, device).items():
                report[part] += [{"threads": threads, **row} for row in rows]
    if keep is not None:
        keep(report)
    return report


def _train(args: argparse.Namespace, device: torch.device) -> dict[str, list[Row]]:
    """Measure training, and return rows by section of the report."""
    networks = build_networks(args.encoder, _TRAINED, [], device, args.order)
    return {
        "training": measure_training(networks, args.training, args.repeats, device),
        "iterations": measure_iterations(
            networks,
            args.training,
            args.training_precisions or (["float32"] if args.compile else []),
            [False, True] if args.compile else [False],
            args.repeats,
            device,
        ),
    }


def build_networks(
    encoder: str,
    names: Sequence[str],
    weights: Sequence[Path],
    device: torch.device,
    order: torch.memory_format,
) -> list[Network]:
    """Build untrained networks that share an encoder, then load trained networks.

    Args:
        encoder: a key of `ENCODERS`.
        names: keys of `NETWORKS`.
        weights: files of trained networks.
        device: device of the networks.
        order: memory format of convolution weights.
    """
    torch.manual_seed(0)
    shared = LIIF(encoder=ENCODERS[encoder]).encoder
    nets = {name: NETWORKS[name](encoder=shared) for name in names}
    nets |= dict(zip(distinct_names(weights), map(network_from, weights), strict=True))
    return [
        Network(name, net.to(device, memory_format=order).eval())  # type: ignore[call-overload]
        for name, net in nets.items()
    ]


def wanted_shares(
    networks: Sequence[Network], given: Sequence[tuple[str, list[float]]], trained: int
) -> Shares:
    """Return the expert shares by network name. Trained networks without given shares use their mapper.

    Args:
        networks: the networks. The last `trained` ones have trained weights.
        given: shares by name. Other untrained mixtures get the mean cost of the paper.
        trained: number of trained networks.

    Raises:
        ValueError: the network is not measured, or has another number of experts.
    """
    experts = {network.name: len(network.net.experts) for network in networks}
    for name, shares in given:
        if name not in experts:
            raise ValueError(f"--shares {name}: choose one of {', '.join(experts)}")
        if len(shares) != experts[name]:
            raise ValueError(f"--shares {name}: needs {experts[name]} numbers, not {len(shares)}")
    wanted = {}
    for network in networks[: len(networks) - trained]:
        if network.name in MEAN_EXTRA_LAYERS:
            depths = [expert.depth for expert in network.net.expert_list]
            extra = [depth - depths[0] for depth in depths]
            wanted[network.name] = shares_of_mean_depth(extra, MEAN_EXTRA_LAYERS[network.name])
    return wanted | dict(given)


def route(network: Network, shares: Shares, case: Case) -> Network:
    """Return the network with an expert map for this case, if it has shares."""
    if network.name not in shares:
        return network
    choice = expert_map(shares[network.name], case.lr_size)
    return dataclasses.replace(network, choice=choice.to(next(network.net.parameters()).device))


def _log(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
