"""Evaluate the measurements of a front: who is on it, the ratios to EDSR, and the Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarking.contenders import PACKAGE, TOOLBOX

Row = dict[str, Any]
Report = Mapping[str, Any]

RANGE = (0.1, 10.0)
"""Seconds per megapixel between which the front is examined."""
_LEGEND = (
    "Seconds are those of all pictures per megapixel of the output. PSNR is on luma. *Budget* is the share "
    "of decoding cost between the shallowest expert everywhere (0) and the deepest (1); – is the routing of "
    "the mapper. *Front* marks the entries to which no faster one is equal in PSNR."
)


def finish(rows: Sequence[Row], threads: int, published: Mapping[str, float]) -> dict[str, Any]:
    """Return the parts of the report that follow from the rows.

    Args:
        rows: rows of `front.measure_front`.
        threads: number of threads. The clock is that of the CPU for one, and the wall clock for more.
        published: PSNR of networks without trained weights, by name, as published. It counts for float32.

    Raises:
        ValueError: a published PSNR is given for a network that is not measured, or that has its own.
    """
    clock = "cpu" if threads == 1 else "wall"
    for name in published:
        if not any(row["network"] == name and row["psnr_is"] != "measured" for row in rows):
            raise ValueError(f"--published {name}: no network of this name lacks a PSNR; check the name")
    found = []
    for row in rows:
        lacks_own = row["psnr"] is None and row["precision"] == "float32"
        stated = published.get(row["network"]) if lacks_own else None
        more = {} if stated is None else {"psnr": stated, "psnr_is": "published"}
        found.append({**row, **more, "seconds_per_megapixel": row[f"{clock}_seconds_per_megapixel"]})
    points = [(row["seconds_per_megapixel"], row["psnr"]) for row in found]
    for row, on_front in zip(found, on_the_front(points), strict=True):
        row["on_front"] = on_front
    return {
        "clock": clock,
        "entries": found,
        "others_on_front": [
            label(row)
            for row in sorted(found, key=lambda row: row["seconds_per_megapixel"])
            if row["on_front"] and not row["ours"] and RANGE[0] <= row["seconds_per_megapixel"] <= RANGE[1]
        ],
        "beside_edsr": beside_edsr(found, clock),
    }


def on_the_front(points: Sequence[tuple[float, float | None]]) -> list[bool]:
    """Return for each (seconds, PSNR) whether none is at least as good in both, and better in one."""

    def is_beaten(seconds: float, psnr: float) -> bool:
        return any(
            other is not None and other >= psnr and s <= seconds and (other, s) != (psnr, seconds)
            for s, other in points
        )

    return [psnr is not None and not is_beaten(seconds, psnr) for seconds, psnr in points]


def beside_edsr(rows: Sequence[Row], clock: str) -> list[dict[str, Any]]:
    """Return, for networks of this package, their time on each picture divided by that of EDSR in float32."""
    edsr = next((row for row in rows if (row["code"], row["precision"]) == (TOOLBOX, "float32")), None)
    if edsr is None:
        return []
    key = f"{clock}_seconds"
    found = []
    for row in rows:
        if row["code"] == PACKAGE and row["budget"] is None:
            ratios = {
                own["picture"]: own[key] / theirs[key]
                for own, theirs in zip(row["pictures"], edsr["pictures"], strict=True)
            }
            largest = max(ratios.values())
            found.append({"network": row["network"], "precision": row["precision"], "largest": largest})
            found[-1]["pictures"] = ratios
    return found


def label(row: Row) -> str:
    """Return a short description of an entry."""
    budget = "" if row["budget"] is None else f", budget {row['budget']:.2f}"
    code = "" if row["code"] in (PACKAGE, "torch") else f" ({row['code']})"
    precision = "" if row["precision"] == "float32" else f", {row['precision']}"
    return f"{row['network']}{code}{precision}{budget}"


def markdown(report: Report) -> str:
    """Return the tables of a report."""
    machine, pictures = report["machine"], len(report["entries"][0]["pictures"])
    threads = f"{report['threads']} thread{'s' * (report['threads'] > 1)}"
    clock = {"cpu": "time of the CPU", "wall": "wall clock"}[report["clock"]]
    parts = [
        f"# Front on {report['dataset']} ×{report['scale']:g}",
        f"{machine['cpu']}, {threads}, torch {machine['torch']}, {clock}, {pictures} pictures, "
        f"minimum of {report['repeats']} repeats.",
        _LEGEND,
        _entries(report["entries"]),
        _conclusion(report),
    ]
    parts += [f"Left out: {line}." for line in report["left_out"]]
    if report["beside_edsr"]:
        parts += ["## Beside EDSR by PixelShuffle", "Time of the network divided by that of EDSR in float32:"]
        parts.append(_ratios(report["beside_edsr"]))
    return "\n\n".join(parts) + "\n"


def _conclusion(report: Report) -> str:
    low, high = RANGE
    others = report["others_on_front"]
    held = "this package alone" if not others else f"also {', '.join(others)}"
    return f"Between {low:g} and {high:g} seconds per megapixel, the front holds {held}."


def _entries(rows: Sequence[Row]) -> str:
    lines = [["Network", "Code", "Precision", "Budget", "CPU s", "Wall s", "PSNR", "Front"], ["---"] * 8]
    for row in sorted(rows, key=lambda row: row["seconds_per_megapixel"]):
        psnr = "not measured" if row["psnr"] is None else f"{row['psnr']:.2f}"
        lines.append(
            [
                row["network"],
                row["code"],
                row["precision"],
                "–" if row["budget"] is None else f"{row['budget']:.2f}",
                f"{row['cpu_seconds_per_megapixel']:.3g}",
                f"{row['wall_seconds_per_megapixel']:.3g}",
                f"{psnr}, as published" if row["psnr_is"] == "published" else psnr,
                "yes" if row["on_front"] else "",
            ]
        )
    return _table(lines)


def _ratios(rows: Sequence[Mapping[str, Any]]) -> str:
    names = [f"{row['network']}, {row['precision']}" for row in rows]
    lines = [["Picture", *names], ["---"] * (1 + len(rows))]
    for picture in rows[0]["pictures"]:
        lines.append([picture, *(f"{row['pictures'][picture]:.2f}" for row in rows)])
    return _table([*lines, ["largest", *(f"{row['largest']:.2f}" for row in rows)]])


def _table(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
