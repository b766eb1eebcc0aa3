"""`moeisr publish`: prepare trained weights for distribution."""

import argparse
import sys
from pathlib import Path

from moeisr_plugin.utils.arguments import parse_path
from moeisr_plugin.utils.torch_memory import require_memory_for_torch

DESCRIPTION = """Write the weights of a checkpoint (the averaged ones if there are any) to a file with a hash
in its name. Beside it, write a model card, an entry of the model index (metafile.yml) and the table of all
models (ModelZoo.md). Options, iterations and seconds come from the training logs, and results from the output
of moeisr evaluate. CARD gives the rest: licence, limits, hardware and training_images (a list with name,
licence, source and pictures)."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "publish", help="prepare trained weights for distribution", description=DESCRIPTION
    )
    parser.add_argument("checkpoint", type=parse_path, metavar="CHECKPOINT", help="checkpoint of a training")
    parser.add_argument(
        "-o", dest="out", type=parse_path, required=True, metavar="FOLDER", help="output folder"
    )
    parser.add_argument("--card", type=parse_path, required=True, metavar="CARD", help="YAML file")
    parser.add_argument(
        "--results",
        nargs="+",
        type=parse_path,
        default=[],
        metavar="FILE",
        help="one or more results.json of moeisr evaluate",
    )
    parser.add_argument(
        "--experiment",
        type=parse_path,
        metavar="FOLDER",
        help="experiment folder with the training logs (default: the parent of the checkpoint's folder)",
    )
    parser.add_argument("--name", metavar="NAME", help="model name (default: name of the experiment)")
    parser.add_argument(
        "--dtype",
        choices=("float32", "float16"),
        default="float32",
        help="type of the weights (default: float32)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing model of this name")
    return parser


def run(args: argparse.Namespace) -> int:
    """Publish the weights and print the paths of the files.

    Returns:
        0.

    Raises:
        ValueError, OSError: an input cannot be used.
    """
    require_memory_for_torch()
    from moeisr_plugin.publishing.index import ZOO_PROTOCOL, is_in_zoo_measure, read_index
    from moeisr_plugin.publishing.publish import publish  # keeps torch out of parsing

    written = publish(
        args.checkpoint,
        args.out,
        card_file=args.card,
        results=args.results,
        experiment=args.experiment,
        name=args.name,
        dtype=args.dtype,
        overwrite=args.overwrite,
    )
    print("\n".join(map(str, written)))
    _, _, index, zoo = written
    model = next(
        each for each in read_index(index)["Models"] if Path(each["Weights"]).name == written[0].name
    )
    if not is_in_zoo_measure(model):
        remedy = f"add --results of moeisr evaluate --protocol {ZOO_PROTOCOL}"
        print(f"{zoo}: {model['Name']} has no figures in BasicSR's measure; {remedy}", file=sys.stderr)
    return 0
