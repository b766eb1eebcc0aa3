"""The options of `tools/benchmark.py --front`, and its run."""

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarking.entries import Peers, entries
from benchmarking.fixed_scale import is_supported
from benchmarking.front import PROTOCOL, measure_front
from benchmarking.front_report import finish, markdown
from moeisr_plugin import __version__
from moeisr_plugin.checkpoints.bundled import bundled_weights
from moeisr_plugin.checkpoints.network import located
from moeisr_plugin.data.scaled_set import ScaledSet
from moeisr_plugin.evaluation.machine import machine
from moeisr_plugin.render.casting import INT8, int8_obstacle
from moeisr_plugin.utils.atomic import atomic_write

BUDGETS = 10
PRECISIONS = ("float32", "bfloat16", "float16", INT8)
"""Precisions that a CPU may have."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the front to those of the benchmark."""
    group = parser.add_argument_group("front", "PSNR and seconds per megapixel on --pictures, on a CPU")
    group.add_argument(
        "--front",
        action="store_true",
        help="instead, measure bicubic, EDSR, the methods below, and --weights (default: the bundled "
        f"networks on LIIF) at --budgets (default: {BUDGETS}; 0 for none) in --precisions (default: those "
        "that this CPU has instructions for)",
    )
    group.add_argument("--scale", type=_parse_scale, default=4.0, metavar="S", help="default: 4")
    group.add_argument(
        "--liif", type=Path, metavar="FILE", help="a published LIIF, to decode plainly and by the package"
    )
    group.add_argument("--edsr-weights", type=Path, metavar="FILE", help="weights of the toolbox's EDSR")
    group.add_argument(
        "--lmf-weights", type=Path, metavar="FILE", help="a published LM-LIIF, with --beside-lmf"
    )
    group.add_argument("--beside-lerf", type=Path, metavar="DIR", help="checkout of ddlee-cn/LeRF-PyTorch")
    group.add_argument("--beside-pcsr", type=Path, metavar="DIR", help="checkout of 3587jjh/PCSR; ×4 only")
    group.add_argument(
        "--beside-onnx", action="store_true", help="also measure the exported networks in ONNX Runtime"
    )
    group.add_argument(
        "--published",
        action="append",
        type=_parse_published,
        default=[],
        metavar="NAME=DB",
        help="published PSNR of EDSR or LM-LIIF without weights, as EDSR=32; marked as such; repeatable",
    )


def run_front(args: argparse.Namespace) -> str:
    """Measure a front, write OUT/front.json, front.md and front.png, and return the Markdown.

    Raises:
        ValueError: options contradict each other, or files cannot be used.
    """
    if args.pictures is None:
        raise ValueError("--front: needs --pictures FOLDER")
    if args.device not in ("auto", "cpu"):
        raise ValueError("--front: measures on a CPU; omit --device")
    if len(args.threads) > 1:
        raise ValueError("--front: needs one number of --threads")
    if args.beside_pcsr is not None and args.scale != 4:
        raise ValueError("--beside-pcsr: its networks are for ×4; omit it, or --scale")
    if args.lmf_weights is not None and args.beside_lmf is None:
        raise ValueError("--lmf-weights: needs --beside-lmf DIR")
    device = torch.device("cpu")
    (threads,) = args.threads
    torch.set_num_threads(threads)
    precisions, left_out = usable_precisions(args.precisions)
    test_set = ScaledSet(args.pictures, (args.scale, args.scale), "auto")
    if len(test_set) == 0:
        raise ValueError(f"{args.pictures}: every picture is too small for scale {args.scale:g}")
    peers = Peers(
        edsr=is_supported(args.scale),
        edsr_weights=args.edsr_weights,
        liif=args.liif,
        liif_code=args.beside_liif,
        lmf=args.beside_lmf,
        lmf_weights=args.lmf_weights,
        lerf=args.beside_lerf,
        pcsr=args.beside_pcsr,
        onnx=args.beside_onnx,
    )
    if not peers.edsr:
        left_out.append(f"EDSR: the toolbox has none for scale {args.scale:g}")
    for line in left_out:
        print(f"left out: {line}", file=sys.stderr, flush=True)
    weights = args.weights or [Path(name) for name in bundled_weights() if _is_default(name)]
    budgets = BUDGETS if args.budgets is None else args.budgets
    competing = entries(weights, precisions, budgets, args.scale, device, peers, threads)
    report: dict[str, Any] = {}
    for rows in measure_front(competing, test_set, args.repeats):
        report = {
            "moeisr": __version__,
            "machine": machine(device),
            "threads": threads,
            "dataset": test_set.name,
            "scale": args.scale,
            "protocol": PROTOCOL,
            "repeats": args.repeats,
            "files": [located(path).name for path in [*weights, *([args.liif] if args.liif else [])]],
            "left_out": left_out,
            **finish(rows, threads, dict(args.published)),
        }
        done = len(rows[0]["pictures"])
        print(f"{rows[0]['pictures'][-1]['picture']}: {done} of {len(test_set)}", file=sys.stderr, flush=True)
        if args.out is not None:
            write(args.out, report)
    return markdown(report)


def write(folder: Path, report: dict[str, Any]) -> None:
    """Write a report as JSON, Markdown and plot. Each file is replaced atomically."""
    from illustration.front import plot  # needs Matplotlib, which measuring does not

    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (
        ("front.json", (json.dumps(report, indent=2, allow_nan=False) + "\n").encode()),
        ("front.md", markdown(report).encode()),
        ("front.png", plot(report)),
    ):
        with atomic_write(folder / name) as file:
            file.write(content)


def usable_precisions(given: list[str] | None) -> tuple[list[str], list[str]]:
    """Return the precisions to measure on this CPU, and lines on those that are left out.

    Precisions that are given are measured even without instructions for them, if they can be computed.

    Raises:
        ValueError: a precision needs a GPU.
    """
    if given is not None and "tf32" in given:
        raise ValueError("--precisions tf32: needs a GPU, and --front runs on a CPU")
    left_out = []
    has_instructions = {
        "bfloat16": torch.ops.mkldnn._is_mkldnn_bf16_supported(),
        "float16": torch.ops.mkldnn._is_mkldnn_fp16_supported(),
    }
    for precision, has in has_instructions.items():
        if not has and given is None:
            left_out.append(
                f"{precision}: slow, as this CPU lacks instructions for it; --precisions {precision} adds it"
            )
    reason = int8_obstacle(torch.device("cpu"))
    if reason is not None and (given is None or INT8 in given):
        left_out.append(f"{INT8}: {reason}")
    without = {line.partition(":")[0] for line in left_out}
    return [each for each in given or PRECISIONS if each not in without], left_out


def _is_default(name: str) -> bool:
    return "LIIF" in name and not name.startswith("photo")


def _parse_scale(text: str) -> float:
    try:
        scale = float(text)
    except ValueError:
        scale = math.nan
    if not (math.isfinite(scale) and scale >= 1):
        raise argparse.ArgumentTypeError(f"'{text}' is not a scale of at least 1")
    return scale


def _parse_published(text: str) -> tuple[str, float]:
    name, _, number = text.rpartition("=")
    try:
        psnr = float(number)
    except ValueError:
        psnr = math.nan
    if not (name and math.isfinite(psnr)):
        raise argparse.ArgumentTypeError(f"'{text}': give NAME=DB, as EDSR=32")
    return name, psnr
