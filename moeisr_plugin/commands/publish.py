"""`moeisr publish`: make a training's weights ready to be given away."""

import argparse
from pathlib import Path

DESCRIPTION = """Keep of a checkpoint the weights alone, the averaged ones if there are any, in a file whose
name tells its contents, and write a card, an entry of a model index (metafile.yml) and a table of all models
(ModelZoo.md) beside it. Options, iterations and seconds come from the training's logs, results from what
moeisr evaluate wrote; CARD says only what a program cannot know: licence, limits, hardware and
training_images, a list of name, licence, source and pictures."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "publish", help="make trained weights ready to be given away", description=DESCRIPTION
    )
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="of a training")
    parser.add_argument(
        "-o", dest="out", type=Path, required=True, metavar="FOLDER", help="for what is published"
    )
    parser.add_argument("--card", type=Path, required=True, metavar="CARD", help="a YAML file")
    parser.add_argument(
        "--results",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="results.json of moeisr evaluate, one or more",
    )
    parser.add_argument(
        "--experiment",
        type=Path,
        metavar="FOLDER",
        help="the training's, with its logs (default: the one above the checkpoint's)",
    )
    parser.add_argument("--name", metavar="NAME", help="of the model (default: the experiment's)")
    parser.add_argument(
        "--dtype", choices=("float32", "float16"), default="float32", help="of the weights (default: float32)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a model of this name")
    return parser


def run(args: argparse.Namespace) -> int:
    """Publishes and names the files.

    Returns:
        0.

    Raises:
        ValueError, OSError: something that is given cannot be used.
    """
    from moeisr_plugin.publishing.publish import publish  # parsing needs no torch

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
    return 0
