"""Print the results of `moeisr evaluate` as rows of a table for a paper, as LaTeX or Markdown.

    python tools/rows.py results/Set5/results.json results/Set14/results.json --format latex
    python tools/rows.py docs/results/Set14_of_upcycled.json --ssim

Columns are data sets and scales. Networks are told apart by their SHA-256. The protocol and the source of the
LR pictures must be the same in all files; a comment states them.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from moeisr_plugin.evaluation.notes import grey_sentence
from moeisr_plugin.evaluation.report import protocol_sentence

Cells = dict[str, dict[str, str]]


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", nargs="+", type=Path, metavar="FILE", help="results.json")
    parser.add_argument(
        "--format", choices=("markdown", "latex"), default="markdown", help="default: markdown"
    )
    parser.add_argument("--ssim", action="store_true", help="also print SSIM")
    parser.add_argument("--digits", type=int, default=2, metavar="N", help="digits of PSNR (default: 2)")
    args = parser.parse_args(argv)
    try:
        reports = [read(path) for path in args.results]
        print(conditions(reports, "% " if args.format == "latex" else ""))
        cells = collect(reports, args.digits, args.ssim)
        print(latex(cells) if args.format == "latex" else markdown(cells))
    except (ValueError, OSError) as error:
        parser.error(" ".join(str(error).split()))
    return 0


def read(path: Path) -> Mapping[str, Any]:
    """Read a report.

    Raises:
        ValueError: the file is not a report.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not readable as JSON ({error}); run moeisr evaluate again") from error
    if not isinstance(report, dict) or {"averages", "protocol", "dataset", "precision"} - report.keys():
        raise ValueError(f"{path}: not a results.json of moeisr evaluate; run moeisr evaluate again")
    return report


def conditions(reports: Sequence[Mapping[str, Any]], comment: str) -> str:
    """Return the sentences on protocol, LR and precision, and on grey pictures.

    Raises:
        ValueError: they differ between reports.
    """
    for key, values in (
        ("protocol", {report["protocol"] for report in reports}),
        ("precision", {report["precision"] for report in reports}),
        ("source of LR", {row["lr"] for report in reports for row in report["averages"]}),
    ):
        if len(values) > 1:
            raise ValueError(f"the {key} differs: {', '.join(sorted(values))}; print the files one by one")
    lr, precision = reports[0]["averages"][0]["lr"], reports[0]["precision"]
    grey = dict.fromkeys(
        f"{comment}{report['dataset']}: {sentence}"
        for report in reports
        if (sentence := grey_sentence(report))
    )
    stated = f"{comment}PSNR. {protocol_sentence(reports[0]['protocol'])} LR {lr}, {precision}."
    return "\n".join([stated, *grey]) + "\n"


def collect(reports: Sequence[Mapping[str, Any]], digits: int, ssim: bool) -> Cells:
    """Return the cells by network and column."""
    found: Cells = {}
    for report in reports:
        for row in report["averages"]:
            number = "∞" if row["psnr"] is None else f"{row['psnr']:.{digits}f}"
            cell = f"{number} / {row['ssim']:.4f}" if ssim else number
            found.setdefault(row["weights"], {})[f"{row['dataset']} ×{row['scale']}"] = cell
    return found


def markdown(cells: Cells) -> str:
    """Return a Markdown table."""
    columns = columns_of(cells)
    lines = [["Method", *columns], ["---", *["---:"] * len(columns)]]
    lines += [[name, *(row.get(column, "–") for column in columns)] for name, row in cells.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def latex(cells: Cells) -> str:
    """Return the rows of a LaTeX tabular, the heading first."""
    columns = columns_of(cells)
    heading = [column.replace("×", r"$\times$") for column in columns]
    lines = [["Method", *heading]]
    for name, row in cells.items():
        numbers = [row.get(column, "--").replace("∞", r"$\infty$") for column in columns]
        lines.append([name.replace("_", r"\_"), *numbers])
    return "\n".join(f"{' & '.join(line)} \\\\" for line in lines)


def columns_of(cells: Cells) -> list[str]:
    return list(dict.fromkeys(column for row in cells.values() for column in row))


if __name__ == "__main__":
    sys.exit(main())
