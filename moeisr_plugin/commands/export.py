"""`moeisr export`: networks as ONNX files, or as programs of torch.export."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from moeisr_plugin.commands.weights import TRAINED
from moeisr_plugin.utils.arguments import parse_path
from moeisr_plugin.utils.atomic import prepared_folder, staging_folder
from moeisr_plugin.utils.regular_files import obstacle, require_replaceable
from moeisr_plugin.utils.torch_memory import require_memory_for_torch

if TYPE_CHECKING:
    from moeisr_plugin.archs.implicit_network import ImplicitNetwork

PARTS = ("encoder", "decoder")
OPSETS = range(18, 23)

DESCRIPTION = """Write the encoder with the mapper, and the routed decoder, of LIIF, LTE or a mixture on one
of them. All sizes and scales stay free, and an expert is evaluated for its own pixels alone. docs/export.md
has a program that enlarges a photograph with ONNX Runtime and NumPy alone."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "export", help="write a network as ONNX, for programs without PyTorch", description=DESCRIPTION
    )
    parser.add_argument("weights", metavar="WEIGHTS", help=TRAINED)
    parser.add_argument(
        "-o",
        "--output",
        dest="out",
        type=parse_path,
        required=True,
        metavar="FOLDER",
        help="folder for encoder.onnx and decoder.onnx",
    )
    parser.add_argument(
        "--precision",
        choices=("float32", "float16"),
        default="float32",
        help="type of weights and latents; coordinates and colours stay in float32 (default: %(default)s)",
    )
    parser.add_argument(
        "--format",
        choices=("onnx", "pt2"),
        default="onnx",
        help="onnx, or pt2 for programs of torch.export (default: %(default)s)",
    )
    parser.add_argument(
        "--opset",
        type=int,
        choices=OPSETS,
        default=OPSETS[0],
        help="version of the ONNX operators (default: %(default)s)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    return parser


def run(args: argparse.Namespace) -> int:
    """Export one network.

    Returns:
        0.

    Raises:
        ValueError, OSError: the network cannot be exported, or the files cannot be written.
    """
    targets = {part: args.out / f"{part}.{args.format}" for part in PARTS}
    if os.path.lexists(args.out) and not args.out.is_dir():
        raise ValueError(f"{args.out}: is {obstacle(args.out) or 'a file'}; give a folder with -o")
    for path in targets.values():
        require_replaceable(path)
        if path.exists() and not args.overwrite:
            raise ValueError(f"{path}: already exists; choose another -o or add --overwrite")

    require_memory_for_torch()
    from moeisr_plugin.checkpoints.network import network_from  # keeps torch out of parsing
    from moeisr_plugin.exporting.networks import exportable
    from moeisr_plugin.exporting.onnx_files import require_onnx
    from moeisr_plugin.render.casting import to_precision

    if args.format == "onnx":
        require_onnx()
    net = network_from(args.weights)
    exportable(net)  # raises before the work
    to_precision(net, args.precision)
    with prepared_folder(args.out), staging_folder(args.out) as stage:
        write = _write_onnx if args.format == "onnx" else _write_programs
        write(net, stage, args.opset)
        for path in targets.values():
            os.replace(stage / path.name, path)
    for path in targets.values():
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    return 0


def _write_onnx(net: "ImplicitNetwork", folder: Path, opset: int) -> None:
    from moeisr_plugin.exporting.onnx_files import onnx_models

    for part, model in onnx_models(net, opset=opset).items():
        (folder / f"{part}.onnx").write_bytes(model.SerializeToString())


def _write_programs(net: "ImplicitNetwork", folder: Path, opset: int) -> None:
    import torch

    from moeisr_plugin.exporting.graphs import exported

    graphs = exported(net)
    for part, graph in (("encoder", graphs.encoder), ("decoder", graphs.decoder)):
        torch.export.save(graph.program, folder / f"{part}.pt2")
