"""`moeisr complexity`: count the parameters and multiply-accumulates of a network."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moeisr_plugin.commands.sizes import (
    TargetScale,
    TargetSize,
    displayed_output_size,
    parse_scale,
    parse_size,
)
from moeisr_plugin.commands.weights import TRAINED
from moeisr_plugin.pictures import MAX_PIXELS, read_picture
from moeisr_plugin.utils.arguments import parse_path
from moeisr_plugin.utils.numbers import giga
from moeisr_plugin.utils.torch_memory import require_memory_for_torch

if TYPE_CHECKING:
    from moeisr_plugin.archs.implicit_network import ImplicitNetwork

DESCRIPTION = """Count the parameters and the multiply-accumulates (MACs; the paper's FLOPs) of a network.
Decoder MACs are counted in two ways. "As published" evaluates every layer for every query. "As executed"
computes terms that depend only on the input pixel once per pixel. The cost of a mixture of experts depends on
its routing. The report gives the cost of its shallowest and its deepest expert, and with --image the cost of
routing that picture, including alpha unless it is opaque."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "complexity", help="count parameters and multiply-accumulates", description=DESCRIPTION
    )
    network = parser.add_mutually_exclusive_group(required=True)
    network.add_argument("-opt", type=parse_path, metavar="FILE", help="option file with a network_g")
    network.add_argument("--weights", type=parse_path, metavar="FILE", help=TRAINED)
    lr = parser.add_mutually_exclusive_group()
    lr.add_argument(
        "--lr-size",
        type=parse_size,
        default=TargetSize(320, 180),
        metavar="WIDTHxHEIGHT",
        help="input size (default: 320x180)",
    )
    lr.add_argument("--image", type=parse_path, metavar="FILE", help="picture to route; needs --weights")
    parser.add_argument(
        "--scale",
        type=parse_scale,
        default=TargetScale(x=4, y=4),
        metavar="S",
        help="3.7, or 2x3.5 for width and height (default: 4)",
    )
    parser.add_argument("--json", action="store_true", help="write JSON")
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the counts.

    Returns:
        0.

    Raises:
        ValueError, OSError: the network cannot be built, or the picture cannot be read.
    """
    require_memory_for_torch()
    from moeisr_plugin.checkpoints.network import network_from  # keeps torch out of parsing

    if args.image is not None and args.weights is None:
        raise ValueError("--image needs --weights, because an untrained mapper routes at random")
    net = network_from(args.weights) if args.weights else _network_of_options(args.opt)
    report = _count(net, args)
    print(json.dumps(report, indent=2) if args.json else _as_text(report))
    return 0


def _network_of_options(path: Path) -> "ImplicitNetwork":
    from moeisr_plugin.checkpoints.network import build_without_pretrained
    from moeisr_plugin.options.parse import read_options
    from moeisr_plugin.options.starting import with_network_from
    from moeisr_plugin.utils.plugins import OPTION, import_modules

    options = read_options(path)
    try:
        import_modules(options.get(OPTION))
    except ValueError as error:
        raise ValueError(f"{path}: {OPTION}: {error}") from error
    options = with_network_from(options)
    if not isinstance(options.get("network_g"), dict):
        raise ValueError(f"{path}: has no network_g; name an option file of a training or a test")
    return build_without_pretrained(_checked(options["network_g"], path)).eval()


def _checked(network: dict[str, Any], path: Path) -> dict[str, Any]:
    """Check the options of a network and convert their values to the expected types.

    Raises:
        ValueError: an option is wrong. The message names the first wrong key.
    """
    from basicsr.utils.registry import ARCH_REGISTRY

    from moeisr_plugin.archs.implicit_sr import OWN_NETWORKS
    from moeisr_plugin.options.network_contradictions import is_own_network
    from moeisr_plugin.options.schema import NETWORK
    from moeisr_plugin.options.signatures import find

    problems: list[str] = []
    kind = find(dict(iter(ARCH_REGISTRY)), network.get("type"))
    if kind is not None and not is_own_network(kind):
        problems.append(f"network_g.type: is {network['type']}; give {OWN_NETWORKS}")
    sound = NETWORK.apply(network, "network_g", lambda key, text: problems.append(f"{key}: {text}"))
    if problems:
        raise ValueError(f"{path}: {problems[0]}")
    return sound


def _count(net: "ImplicitNetwork", args: argparse.Namespace) -> dict[str, Any]:
    from moeisr_plugin import render
    from moeisr_plugin.render import complexity
    from moeisr_plugin.upscaler import encode_layers

    if args.image is None:
        choices, lr_size, turned = [], (args.lr_size.height, args.lr_size.width), _swapped
    else:
        picture = read_picture(args.image)
        choices = [render.expert_map(layer)[0] for layer in encode_layers(net, picture.pixels)]  # (h, w) each
        lr_size, turned = (picture.pixels.shape[0], picture.pixels.shape[1]), picture.oriented_size
    layers = max(1, len(choices))
    shown = turned(lr_size)  # (width, height)
    shown_size = displayed_output_size(
        args.scale, *shown, max_pixels=MAX_PIXELS, remedy="choose a smaller output"
    )
    size = turned(shown_size)  # (H, W)
    bounds = [[work] * layers for work in complexity.extreme_workloads(net, lr_size, size)]
    works = dict(zip(["shallowest", "deepest"] if len(bounds) == 2 else ["decoder"], bounds, strict=True))
    if choices and net.num_experts > 1:
        works["routed"] = [complexity.workload(net, choice, size) for choice in choices]
    parameters = complexity.parameters(net)
    return {
        "network": net.hyper_parameters["type"],
        "lr_size": shown[::-1],
        "output_size": shown_size[::-1],
        "layers": layers,
        "parameters": {**parameters, "total": sum(parameters.values())},
        "encoder_macs": complexity.encoder_macs(net, lr_size) * layers,
        "decoder_macs": {
            label: {
                "as_published": sum(complexity.published_macs(net, work) for work in each),
                "as_executed": sum(complexity.executed_macs(net, work) for work in each),
                "lr_pixels": [sum(pixels) for pixels in zip(*(w.lr_pixels for w in each), strict=True)],
            }
            for label, each in works.items()
        },
    }


def _swapped(size: tuple[int, int]) -> tuple[int, int]:
    return size[1], size[0]


def _as_text(report: dict[str, Any]) -> str:
    sizes = ["{1}x{0}".format(*report[key]) for key in ("lr_size", "output_size")]
    title = f"{report['network']}, {sizes[0]} to {sizes[1]}{', colour and alpha' * (report['layers'] > 1)}"
    lines = [title, "", f"{'parameters':24}"]
    lines += [f"  {name:22}{number:>16,}" for name, number in report["parameters"].items()]
    lines += ["", f"{'MACs':24}{'as published':>16}{'as executed':>16}"]
    encoder_macs = _giga_macs(report["encoder_macs"])
    lines.append(f"  {'encoder':22}{encoder_macs:>16}{encoder_macs:>16}")
    for label, macs in report["decoder_macs"].items():
        name = label if label == "decoder" else f"decoder, {'' if label == 'routed' else 'all '}{label}"
        counts = _giga_macs(macs["as_published"]), _giga_macs(macs["as_executed"])
        lines.append(f"  {name:22}{counts[0]:>16}{counts[1]:>16}")
        if label == "routed":
            pixels = macs["lr_pixels"]
            shares = " / ".join(f"{n / sum(pixels):.1%}" for n in pixels)
            lines.append(f"  input pixels by expert, shallowest first: {shares}")
    return "\n".join(lines)


def _giga_macs(macs: int) -> str:
    return f"{giga(macs, ',.2f')} G"
