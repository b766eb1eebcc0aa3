"""Say where to get the standard test sets, and check what is found.

    python tools/datasets.py
    python tools/datasets.py --check Set5=datasets/Set5 Urban100=datasets/Urban100

A check looks for the HR pictures in the layouts that `moeisr evaluate` knows. It compares their number with
that of the set. For Set5 and Set14 it also compares sizes and pixels with the common ×2 distribution, in
which HR is cropped to even sizes. The exit status is 1 if something differs.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from moeisr_plugin.data.benchmark_layouts import benchmark_options
from moeisr_plugin.pictures import is_picture_name, read_picture

KNOWN: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("datasets.json").read_text(encoding="utf-8")
)


def main(argv: Sequence[str] | None = None) -> int:
    """List the sets, or check folders.

    Returns:
        0, or 1 if a check finds a difference.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", nargs="+", type=_named, default=[], metavar="SET=FOLDER", help="check folders"
    )
    args = parser.parse_args(argv)
    if not args.check:
        print(
            "\n".join(
                f"{name}: {known['pictures']} pictures. {known['where']}" for name, known in KNOWN.items()
            )
        )
        return 0
    failed = False
    for name, folder in args.check:
        try:
            problems = check(name, folder)
        except (ValueError, OSError) as error:
            problems = [" ".join(str(error).split())]
        failed = failed or bool(problems)
        print("\n".join(f"{name}: {line}" for line in problems or ["complete"]))
    return 1 if failed else 0


def check(name: str, folder: Path) -> list[str]:
    """Return the differences of a folder from a known set."""
    known = KNOWN[name]
    hr = Path(benchmark_options(folder, (2.0, 2.0))["dataroot_gt"])
    paths = sorted(path for path in hr.iterdir() if is_picture_name(path))
    problems = []
    if len(paths) != known["pictures"]:
        problems.append(f"{hr} holds {len(paths)} pictures, not {known['pictures']}; get the set again")
    if "sizes" not in known:
        return problems
    expected = {tuple(size): digest for size, digest in zip(known["sizes"], known["sha256"], strict=True)}
    missing = dict(zip(known["sha256"], known["sizes"], strict=True))
    for path in paths:
        pixels = read_picture(path).pixels
        pixels = pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2]
        digest = digest_of(pixels)
        if digest in missing:
            del missing[digest]
        elif pixels.shape[:2] not in expected:
            problems.append(f"{path.name} is {pixels.shape[1]}x{pixels.shape[0]}, a size that the set lacks")
        else:
            problems.append(f"{path.name} has other pixels than that of the common distribution")
    problems += [f"a picture of {width}x{height} is missing" for height, width in missing.values()]
    return problems


def digest_of(pixels: Any) -> str:
    """Return the SHA-256 of the pixels as 8-bit RGB, so that formats and names do not matter."""
    rgb = pixels if pixels.ndim == 3 else pixels[..., None]
    rgb = rgb[..., :3].repeat(3, axis=2) if rgb.shape[2] == 1 else rgb[..., :3]
    return hashlib.sha256(rgb.tobytes()).hexdigest()


def _named(text: str) -> tuple[str, Path]:
    name, _, folder = text.partition("=")
    if name not in KNOWN or not folder:
        raise argparse.ArgumentTypeError(f"'{text}': give SET=FOLDER, with one of {', '.join(KNOWN)}")
    return name, Path(folder)


if __name__ == "__main__":
    sys.exit(main())
