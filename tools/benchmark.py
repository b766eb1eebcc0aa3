"""Measure this package's speed beside that of decoders run as published, in one run, with the same weights.

    python tools/benchmark.py -o results
    python tools/benchmark.py --cases 4x96x96 --networks LIIF MoEISRLIIF-s --precisions float32 bfloat16
    python tools/benchmark.py --beside-liif path/to/liif --beside-lmf path/to/LMF --threads 1 2 -o results
    python tools/benchmark.py --device cuda --cases 3x1280x720 --plain LIIF --without-kernels -o results
    python tools/benchmark.py --training --training-precisions float32 tf32 bfloat16 --compile -o results

Each network is decoded by the package and by a plain reference that does what the publications say
(tools/plain_decoders.py); on request the published code itself runs beside them. All run in turns, there and
back, and medians are told. A mixture with random weights chooses no experts worth the name: its encoder and
mapper run, but an expert map that costs what the paper's does takes the place of the mapper's. Trained
`--weights` use their own.

OUT/benchmark.json holds: moeisr (version), machine, encoder, weights, channels_last, repeats, gemm (MACs per
second of large matrix products), rendering (a row per case, contender and number of threads; `runs` are
seconds of encoder and decoder), training, budgets. OUT/benchmark.md is made from it.
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
from benchmarking.budgets import measure_budgets
from benchmarking.cases import Case, expert_map, lr_picture, parse_case, shares_of_mean_depth
from benchmarking.contenders import ENCODERS, MEAN_EXTRA_LAYERS, NETWORKS, Network, contenders
from benchmarking.iterations import measure_iterations
from benchmarking.precisions import PRECISIONS, gemm_peak
from benchmarking.rendering import Row, add_peak_share, measure
from benchmarking.tables import markdown
from benchmarking.training import Batch, measure_training, parse_batch

from moeisr_plugin import __version__
from moeisr_plugin.archs.implicit_arch import LIIF
from moeisr_plugin.checkpoints.network import network_from
from moeisr_plugin.commands.counts import parse_count
from moeisr_plugin.commands.devices import add_device, chosen_device
from moeisr_plugin.evaluation.evaluate import distinct_names
from moeisr_plugin.evaluation.machine import machine
from moeisr_plugin.models.memory import keep_freed_memory
from moeisr_plugin.utils.atomic import atomic_write

Shares = dict[str, list[float]]
_TRAINED = ("LIIF", "MoEISRLIIF-b", "MoEISRLIIF-s")


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints the tables and writes OUT."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # else the profiler tells of every start and stop
    parser = _parser()
    args = parser.parse_args(argv)
    keep = partial(write_report, args.out) if args.out is not None else None
    try:
        report = run(args, keep)
    except (ValueError, OSError) as error:
        parser.error(" ".join(str(error).split()))
    print(markdown(report))
    return 0


def write_report(folder: Path, report: dict[str, Any]) -> None:
    """Writes a report as JSON and as Markdown, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, contents in (
        ("benchmark.json", json.dumps(report, indent=2, allow_nan=False) + "\n"),
        ("benchmark.md", markdown(report)),
    ):
        with atomic_write(folder / name) as file:
            file.write(contents.encode())


def run(args: argparse.Namespace, keep: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any]:
    """All that is asked for, as OUT/benchmark.json will hold it.

    Args:
        args: the command line.
        keep: is given the report after each repeat of a case, of which some take many minutes, and at the
            end.

    Raises:
        ValueError: options that contradict each other, or files that cannot be used.
    """
    device = torch.device(chosen_device(args) or ("cuda" if torch.cuda.is_available() else "cpu"))
    if "tf32" in args.precisions and device.type != "cuda":
        raise ValueError("--precisions tf32: needs a GPU")
    if device.type != "cuda" and "tf32" in args.training_precisions:
        raise ValueError("--training-precisions tf32: needs a GPU")
    if (args.training_precisions or args.compile) and not args.training:
        raise ValueError("--training-precisions and --compile: need --training")
    if args.without_kernels and device.type != "cuda":
        raise ValueError("--without-kernels: needs a GPU, as without one there are none")
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
            _tell(f"{case.label}, threads: {threads}")
            routed = [route(network, shares, case) for network in networks]
            competing = contenders(
                routed,
                args.precisions,
                device,
                plain=args.plain,
                without_kernels=args.without_kernels,
                liif=args.beside_liif,
                lmf=args.beside_lmf,
            )
            lr = lr_picture(case.lr_size).to(device)
            # Between the cases, and the best of all: another process may take its share of a processor.
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
        keep_freed_memory()  # as training does; rendering, before, was as in anyone's process
        for threads in args.threads:
            _tell(f"training, threads: {threads}")
            torch.set_num_threads(threads)
            for part, rows in _train(args, device).items():
                report[part] += [{"threads": threads, **row} for row in rows]
    if keep is not None:
        keep(report)
    return report


def _train(args: argparse.Namespace, device: torch.device) -> dict[str, list[Row]]:
    """What training takes, by part of the report."""
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
    """Untrained networks of these names, which share an encoder, then those of files of weights.

    The order is that of the weights of convolutions in memory.
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
    """The shares of the experts by network: those given, else the paper's; trained ones have their mapper's.

    Args:
        networks: of which the last `trained` have trained weights.
        given: by name.
        trained: how many.

    Raises:
        ValueError: shares of a network that is not measured, or of another number of experts.
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
    """The network with an expert map for this case, if it has shares."""
    if network.name not in shares:
        return network
    choice = expert_map(shares[network.name], case.lr_size)
    return dataclasses.replace(network, choice=choice.to(next(network.net.parameters()).device))


def parse_shares(text: str) -> tuple[str, list[float]]:
    """Reads ``MoEISRLIIF-s=0.4,0.3,0.2,0.1``."""
    name, _, numbers = text.partition("=")
    try:
        shares = [float(number) for number in numbers.split(",")]
    except ValueError:
        shares = []
    if not shares or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise argparse.ArgumentTypeError(f"'{text}': write NETWORK=0.4,0.3,0.2,0.1, with a sum of 1")
    return name, shares


def _tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_device(parser)
    parser.add_argument("--threads", nargs="+", type=parse_count, default=[1], metavar="N", help="default: 1")
    parser.add_argument("--encoder", choices=ENCODERS, default="EDSR", help="default: EDSR-baseline")
    parser.add_argument(
        "--cases",
        nargs="+",
        type=parse_case,
        default=[Case(4, (96, 96)), Case(8, (64, 64))],
        metavar="CASE",
        help="scale, width and height of LR (default: 4x96x96 8x64x64)",
    )
    parser.add_argument(
        "--networks", nargs="+", choices=NETWORKS, help="default: all; with --weights only LIIF, to compare"
    )
    parser.add_argument(
        "--plain",
        nargs="+",
        choices=NETWORKS,
        help="of the networks those that the plain reference runs, too (default: all)",
    )
    parser.add_argument(
        "--without-kernels",
        action="store_true",
        help="on a GPU: the package without kernels of Triton's, too",
    )
    parser.add_argument(
        "--channels-last",
        dest="order",
        action="store_const",
        const=torch.channels_last,
        default=torch.contiguous_format,
        help="weights of convolutions with their channels last, as tensor cores want; plain ones too",
    )
    parser.add_argument(
        "--precisions", nargs="+", choices=PRECISIONS, default=["float32"], help="default: float32"
    )
    parser.add_argument("--repeats", type=parse_count, default=5, metavar="N", help="timed runs (default: 5)")
    parser.add_argument(
        "--shares",
        action="append",
        type=parse_shares,
        default=[],
        metavar="NETWORK=S,S,...",
        help="shares of the experts, shallowest first; repeatable (default: the paper's mean depth)",
    )
    parser.add_argument(
        "--weights", nargs="+", type=Path, default=[], metavar="FILE", help="trained networks, too"
    )
    parser.add_argument(
        "--training",
        nargs="?",
        type=parse_batch,
        const=Batch(),
        metavar="SAMPLESxLR_SIZExQUERIES",
        help=f"also a step of training (default: {Batch().label})",
    )
    parser.add_argument(
        "--training-precisions",
        nargs="+",
        choices=PRECISIONS,
        default=[],
        help="with --training: also whole iterations in these precisions",
    )
    parser.add_argument(
        "--compile", action="store_true", help="with --training: also whole iterations, compiled and not"
    )
    parser.add_argument(
        "--budgets",
        type=partial(parse_count, least=2),
        metavar="N",
        help="also N budgets of the --weights on --pictures",
    )
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="as moeisr evaluate takes its --data")
    parser.add_argument("--beside-liif", type=Path, metavar="DIR", help="a checkout of yinboc/liif")
    parser.add_argument("--beside-lmf", type=Path, metavar="DIR", help="a checkout of HeZongyao/LMF")
    parser.add_argument("-o", dest="out", type=Path, metavar="OUT", help="folder for the results")
    return parser


if __name__ == "__main__":
    sys.exit(main())
