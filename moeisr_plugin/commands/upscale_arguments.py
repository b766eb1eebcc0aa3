"""The arguments of `moeisr upscale`."""

import argparse

from moeisr_plugin.checkpoints.bundled import DEFAULT
from moeisr_plugin.commands.budgets import parse_budget
from moeisr_plugin.commands.counts import parse_positive
from moeisr_plugin.commands.devices import add_device, add_precision, add_threads
from moeisr_plugin.commands.sizes import parse_any_scale, parse_long_side, parse_short_side, parse_target
from moeisr_plugin.commands.streams import parse_input
from moeisr_plugin.commands.weights import TRAINED
from moeisr_plugin.commands.windows import parse_window
from moeisr_plugin.pictures import ALIASES, MAX_PIXELS, WRITABLE
from moeisr_plugin.utils.arguments import parse_path
from moeisr_plugin.video.formats import CONTAINERS

DESCRIPTION = """Enlarge pictures and videos to any scale or size. Of pictures, bit depth, transparency,
colour profile and EXIF are kept; of videos, audio and timing. Widths and heights refer to the picture as
displayed. Outputs are PNG, unless --format or the suffix of OUT gives another format. PNG and TIFF are
written band by band and may be larger than memory. Other formats must fit into memory."""

HIGHEST_QUALITY = 100

Arguments = argparse._ActionsContainer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _add_inputs(parser.add_argument_group("pictures"))
    _add_target(parser.add_argument_group("size (give one)"))
    _add_window(parser.add_argument_group("part"))
    _add_outputs(parser.add_argument_group("outputs"))
    _add_computation(parser.add_argument_group("network and speed"))
    _add_messages(parser.add_argument_group("messages"))


def _add_inputs(group: Arguments) -> None:
    group.add_argument(
        "inputs",
        nargs="*",
        type=parse_input,
        metavar="INPUT",
        help="picture, folder of pictures, pattern such as 'photos/*.jpg', - for standard input, or video. "
        "Outputs of earlier runs in a folder or a pattern are left out: pictures whose name is that of "
        "another picture and a label, such as a_x2.png for a.jpg, and whose size is what the label says",
    )
    group.add_argument(
        "-i",
        "--input",
        dest="more_inputs",
        nargs="+",
        action="extend",
        default=[],
        type=parse_input,
        metavar="INPUT",
        help="the same as INPUT",
    )
    group.add_argument(
        "-r",
        "--recursive",
        action="store_true",
        help="also enlarge the pictures of folders in a folder; the outputs lie in folders of the same names",
    )
    group.add_argument(
        "--max-pixels",
        type=parse_positive,
        default=MAX_PIXELS,
        metavar="N",
        help="limit in pixels of inputs, and of outputs other than PNG and TIFF (default: %(default)s)",
    )
    group.add_argument(
        "--accept-truncated",
        action="store_true",
        help="enlarge a JPEG, PNG or WebP that lacks its end, with the missing part filled, and a JPEG whose "
        "data are damaged; also a video that lacks its end or has damaged frames",
    )


def _add_target(group: Arguments) -> None:
    target = group.add_mutually_exclusive_group(required=True)
    target.add_argument(
        "-s",
        "--scale",
        type=parse_any_scale,
        metavar="S",
        help="scale of at least 1: 3.7, or 2x3.5 for width and height; with --window, also below 1",
    )
    target.add_argument(
        "--size",
        type=parse_target,
        metavar="WIDTHxHEIGHT",
        help="output size in pixels; 1920x or x1080 keep the aspect ratio. Of several pictures, those that "
        "are as large already are skipped",
    )
    target.add_argument(
        "--long-side",
        dest="size",
        type=parse_long_side,
        metavar="N",
        help="like --size, for the longer side: N pixels; keeps the aspect ratio",
    )
    target.add_argument(
        "--short-side",
        dest="size",
        type=parse_short_side,
        metavar="N",
        help="like --size, for the shorter side: N pixels; keeps the aspect ratio",
    )


def _add_window(group: Arguments) -> None:
    group.add_argument(
        "--window",
        type=parse_window,
        metavar="TOP,LEFT,BOTTOM,RIGHT",
        help="enlarge only this part, in pixels of the input as displayed; edges may be fractions. Scales "
        "and sizes are then those of the part, and may also reduce it",
    )


def _add_outputs(group: Arguments) -> None:
    group.add_argument(
        "-o",
        "--output",
        dest="out",
        type=_parse_output,
        metavar="OUT",
        help="output file (for one picture), folder, or - for standard output (default: photo_x3.7.png "
        "beside photo.jpg, and photos_x3.7 beside the folder photos)",
    )
    group.add_argument(
        "-f",
        "--format",
        type=_parse_format,
        choices=(*WRITABLE, *CONTAINERS),
        help="output format (default: png; of videos that of the input, or else mkv). Formats that hold 8 "
        "bits per sample reduce pictures of 16",
    )
    group.add_argument(
        "--quality",
        type=_parse_quality,
        metavar="Q",
        help="quality of jpg, webp and avif from 1 (smallest file) to 100 (best picture) (default: 95 for "
        "jpg, 90 for avif, and lossless webp). Also of videos, where 100 is lossless RGB (default: near "
        "to the original)",
    )
    group.add_argument(
        "--expert-map",
        action="store_true",
        help="also write <output>_experts.png, which shows the expert of each input pixel in colour",
    )
    group.add_argument(
        "--keep-hidden-colour",
        action="store_true",
        help="keep the colour of transparent pixels, for textures whose alpha is a mask",
    )
    existing = group.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true", help="replace existing outputs")
    existing.add_argument(
        "--skip-existing",
        action="store_true",
        help="skip pictures whose outputs exist, to continue an interrupted run",
    )


def _add_computation(group: Arguments) -> None:
    group.add_argument(
        "-n",
        "--network",
        "--weights",
        dest="weights",
        type=parse_path,
        metavar="NETWORK",
        help=f"{TRAINED} (default: {DEFAULT}). moeisr networks compares them",
    )
    add_device(group)
    add_precision(group)
    add_threads(group)
    group.add_argument(
        "--budget",
        type=parse_budget,
        metavar="B",
        help="cost of decoding: a share from 0 (shallowest expert everywhere) to 1 (deepest), or "
        "multiply-accumulates per output pixel such as 20000mac. Below 0.1 it is faster and worse. Above, it "
        "is mostly slower and hardly better. Leave it out unless speed matters most (default: the network "
        "chooses for each pixel)",
    )


def _add_messages(group: Arguments) -> None:
    group.add_argument(
        "--dry-run",
        action="store_true",
        help="write nothing. Read the pictures, print each output and its size, and estimate time and memory "
        "from a part of the first picture. Other programs that run may slow it down",
    )
    amount = group.add_mutually_exclusive_group()
    amount.add_argument("-q", "--quiet", action="store_true", help="print nothing but errors")
    amount.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="also print the network, the device and times per picture",
    )


def _parse_output(text: str) -> str:
    parse_path(text)
    return text  # a slash at the end tells a folder


def _parse_format(text: str) -> str:
    name = text.lower().removeprefix(".")
    return ALIASES.get(name, name)


def _parse_quality(text: str) -> int:
    quality = parse_positive(text)
    if quality > HIGHEST_QUALITY:
        raise argparse.ArgumentTypeError(f"'{text}' is not a quality; give a number from 1 to 100")
    return quality
