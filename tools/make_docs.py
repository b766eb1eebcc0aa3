"""Write the generated parts of README.md and docs/, from docs/results/*.json, metafile.yml and the options.

    python tools/make_docs.py
    python tools/make_docs.py --check

A page holds `<!-- begin:NAME -->` and `<!-- end:NAME -->`. The lines between them are replaced by the block
of this name. The blocks are functions of `documents`. `--check` changes nothing, and exits with 1 if a page
is out of date. Run this after a network or a measurement has been added.
"""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from documents import facts, networks, options, results, speed
from documents.sources import ROOT, Sources

from moeisr_plugin.utils.atomic import atomic_write

BLOCKS: dict[str, Callable[[Sources], str]] = {
    "networks": networks.short_table,
    "networks-full": networks.full_table,
    "networks-limits": networks.limits,
    "results": results.beside_published,
    "results-16-bits": results.half_precision,
    "upcycled": results.upcycled,
    "facts": facts.listed,
    "fixed-scale": speed.fixed_scale,
    "speed-cpu": speed.cpu,
    "speed-gpu": speed.gpu,
    "speed-4k": speed.to_4k,
    "speed-networks": speed.networks,
    "speed-training": speed.training,
    "options": options.tables,
}
_BLOCK = re.compile(r"(<!-- begin:([\w-]+) -->\n)(.*?)(<!-- end:\2 -->)", re.DOTALL)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the pages.

    Returns:
        0, or 1 if --check finds pages that are out of date.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="only report pages that are out of date")
    args = parser.parse_args(argv)
    changed = []
    for path in pages():
        before = path.read_text(encoding="utf-8")
        try:
            after = with_blocks(before, Sources(_link_prefix(path)))
        except ValueError as error:
            parser.error(f"{path.relative_to(ROOT)}: {error}")
        if before != after:
            changed.append(str(path.relative_to(ROOT)))
            if not args.check:
                with atomic_write(path) as file:
                    file.write(after.encode())
    for name in changed:
        print(f"{name}: {'out of date; run tools/make_docs.py' if args.check else 'written'}")
    return 1 if args.check and changed else 0


def pages() -> list[Path]:
    """Return the pages that may hold blocks."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def with_blocks(text: str, sources: Sources) -> str:
    """Return a page with current blocks.

    Raises:
        ValueError: a block is unknown, or a marker has no partner.
    """
    begun, ended = (re.findall(rf"<!-- {word}:([\w-]+) -->", text) for word in ("begin", "end"))
    if begun != ended or len(_BLOCK.findall(text)) != len(begun):
        raise ValueError("every begin marker needs an end marker of the same name below it")
    if unknown := [name for name in begun if name not in BLOCKS]:
        raise ValueError(f"unknown block {unknown[0]}; known: {', '.join(BLOCKS)}")
    return _BLOCK.sub(lambda found: f"{found[1]}\n{BLOCKS[found[2]](sources).strip()}\n\n{found[4]}", text)


def _link_prefix(path: Path) -> str:
    """Return the path from the folder of a page to docs."""
    return "docs/" if path.parent == ROOT else ""


if __name__ == "__main__":
    sys.exit(main())
