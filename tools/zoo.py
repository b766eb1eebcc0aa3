"""Add results of `moeisr evaluate` to networks that are published already.

    moeisr evaluate --weights tiny_LIIF tiny_LTE --data datasets/Set5 --protocol basicsr -o results/Set5
    python tools/zoo.py results/Set5/results.json

Networks are told by their SHA-256. Their figures are written into metafile.yml, in place of those of the same
data set and protocol. ModelZoo.md is written anew. Its rows are those of the protocol basicsr.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from moeisr_plugin.checkpoints.provenance import INDEX
from moeisr_plugin.publishing.card import ZOO
from moeisr_plugin.publishing.index import Index, read_index, with_results, zoo_tables
from moeisr_plugin.publishing.reports import read_results, result_entry
from moeisr_plugin.utils.atomic import atomic_write

WEIGHTS = Path(__file__).resolve().parents[1] / "moeisr_plugin" / "weights"


def main(argv: Sequence[str] | None = None) -> int:
    """Write the index and the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", nargs="*", type=Path, metavar="FILE", help="results.json")
    parser.add_argument(
        "--folder", type=Path, default=WEIGHTS, help="folder of the networks (default: those of the package)"
    )
    args = parser.parse_args(argv)
    try:
        index = read_index(args.folder / INDEX)
        for path in args.results:
            index = added(index, path)
        texts = {
            INDEX: yaml.safe_dump(index, sort_keys=False, allow_unicode=True, width=100),
            ZOO: zoo_tables(index),
        }
        for name, text in texts.items():
            with atomic_write(args.folder / name) as file:
                file.write(text.encode())
    except (ValueError, OSError) as error:
        parser.error(" ".join(str(error).split()))
    print(args.folder / ZOO)
    return 0


def added(index: Index, path: Path) -> Index:
    """Return the index with the results of a report.

    Raises:
        ValueError: the report has no network of the index, or was not measured in float32.
    """
    models = {str(model["Metadata"]["SHA-256"]): str(model["Name"]) for model in index["Models"]}
    measured = [digest for digest in _digests(path) if digest in models]
    if not measured:
        raise ValueError(f"{path}: holds no network of the index; measure its files by moeisr evaluate")
    for digest in measured:
        results = read_results(path, models[digest], {digest: True})
        index = with_results(index, models[digest], [result_entry(results, models[digest])])
    return index


def _digests(path: Path) -> list[Any]:
    try:
        networks = json.loads(path.read_text(encoding="utf-8"))["networks"]
        return [network["sha256"] for network in networks.values()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: not a results.json of moeisr evaluate; run moeisr evaluate again"
        ) from error


if __name__ == "__main__":
    sys.exit(main())
