"""Write a contribution to BasicSR into a folder, in the layout of its repository.

    python tools/upstream.py -o contribution --weights tiny_LIIF tiny_MoEISR_LIIF_s
    python tools/upstream.py -o contribution --weights tiny_LIIF --set Set5=datasets/Set5/HR

The folder receives an arch file that needs BasicSR alone, option files, tests, the weights in the format of
BasicSR, and patches for imports that fail with current versions of torchvision, SciPy and Python. With --set,
networks are measured as in docs/ModelZoo.md. docs/contributing-upstream.md says what to send where.
"""

import argparse
import importlib.util
import io
import sys
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import torch
from contribution.networks import PUBLISHED, Source, as_yaml, experiment_name, read_source
from contribution.repairs import patches
from contribution.zoo import measure, rows

from moeisr_plugin.utils.atomic import atomic_write

TEMPLATES = Path(__file__).parent / "contribution" / "templates"
SCALES = (2, 3, 4)
OPTIONS = "options/{phase}/LIIF/{name}.yml"
WEIGHTS = "experiments/pretrained_models/LIIF"


def main(argv: Sequence[str] | None = None) -> int:
    """Write the contribution, and print the paths."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "-o", dest="out", type=Path, required=True, metavar="FOLDER", help="a new or empty folder"
    )
    parser.add_argument(
        "--weights", nargs="+", default=[], metavar="FILE", help="checkpoints, or names of bundled networks"
    )
    parser.add_argument(
        "--set",
        dest="sets",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="measure on the HR pictures of a data set; may be repeated",
    )
    parser.add_argument(
        "--basicsr",
        type=Path,
        metavar="FOLDER",
        help="sources of BasicSR 1.4.2 (default: the installed ones)",
    )
    args = parser.parse_args(argv)
    try:
        if args.out.is_dir() and any(args.out.iterdir()):
            raise ValueError(f"-o {args.out}: is not empty; give a new folder")
        files = contribution(args.weights, _folders(args.sets), args.basicsr or _installed())
        for name, content in files.items():
            path = args.out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as file:
                file.write(content)
            print(path)
    except (ValueError, OSError) as error:
        parser.error(" ".join(str(error).split()))
    return 0


def contribution(weights: Sequence[str], sets: Mapping[str, Path], toolbox: Path) -> dict[str, bytes]:
    """Return the content of all files by their path in the repository of BasicSR.

    Args:
        weights: checkpoints, or names of bundled networks.
        sets: folders of HR pictures by name of the data set.
        toolbox: the folder `basicsr` of BasicSR 1.4.2.

    Raises:
        ValueError: an input is wrong; one line.
        OSError: a file cannot be read.
    """
    if sets and not weights:
        raise ValueError("--set measures networks; give some by --weights")
    sources = [read_source(each) for each in weights]
    stems = [source.stem for source in sources]
    if repeated := [stem for stem in stems if stems.count(stem) > 1]:
        raise ValueError(f"--weights: two files are named {repeated[0]}; rename one")
    texts = {
        "basicsr/archs/liif_arch.py": _template("liif_arch.py"),
        "tests/test_archs/test_liif_arch.py": _template("test_liif_arch.py"),
        **{f"patches/{name}": text for name, text in patches(toolbox).items()},
    }
    for kind, options in PUBLISHED.items():
        size = f"f{options['num_feat']}b{options['num_block']}h{options['num_hidden']}"
        network = as_yaml({"type": kind, **options, "upscale": 4})
        path = OPTIONS.format(phase="train", name=f"train_{kind}_x4")
        texts[path] = _template("train.yml").format(
            name=f"{kind}_x4_{size}_DIV2K_300k_B16G1", network=network
        )
    files: dict[str, bytes] = {}
    for source in sources:
        saved = _saved(source)
        file = f"{source.stem}-{sha256(saved).hexdigest()[:8]}.pth"
        files[f"{WEIGHTS}/{file}"] = saved
        for scale in SCALES:
            name = experiment_name(source, scale)
            network = as_yaml({**source.options, "upscale": scale})
            path = OPTIONS.format(phase="test", name=f"test_{source.stem}_x{scale}")
            texts[path] = _template("test.yml").format(name=name, scale=scale, network=network, file=file)
    if sets:
        figures = {
            experiment_name(source, scale): {
                name: measure(source.net, path, scale) for name, path in sets.items()
            }
            for source in sources
            for scale in SCALES
        }
        texts["docs/ModelZoo_rows.md"] = rows(figures, list(sets))
    return {**{name: text.encode() for name, text in texts.items()}, **files}


def _folders(given: Sequence[str]) -> dict[str, Path]:
    """Return the folders by name from arguments NAME=FOLDER."""
    pairs = [each.partition("=") for each in given]
    for name, sign, folder in pairs:
        if not (name and sign and Path(folder).is_dir()):
            raise ValueError(f"--set {name}{sign}{folder}: give NAME=FOLDER, with a folder of HR pictures")
    return {name: Path(folder) for name, _, folder in pairs}


def _installed() -> Path:
    """Return the folder of the installed toolbox."""
    spec = importlib.util.find_spec("basicsr")
    if spec is None or spec.origin is None:
        raise ValueError("--basicsr: BasicSR is not installed; give the folder of its sources")
    return Path(spec.origin).parent


def _saved(source: Source) -> bytes:
    """Return the weights as the toolbox saves them."""
    with io.BytesIO() as file:
        torch.save({"params": source.net.state_dict()}, file)
        return file.getvalue()


def _template(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
