"""Tables of quality."""

from documents.sources import SCALES, Measured, Model, Sources, decibels, table

DATASETS = ("Set5", "Set14")
SOURCE = "liif"
"""Name of the published EDSR-LIIF in reports, in lower case."""

PUBLISHED = ("RDN-LIIF", "RDN-MoEISR(LIIF)-s", "RDN-MoEISR(LIIF)-b", "SwinIR-MoEISR(LIIF)-b")


def beside_published(sources: Sources) -> str:
    """Return the table of README: bicubic, the networks of the package, and rows of the paper."""
    rows = [["PSNR in dB", *(f"{dataset} ×{scale}" for dataset in DATASETS for scale in SCALES)]]
    rows.append(
        [
            "bicubic, grey as RGB",
            *(decibels(psnr) for dataset in DATASETS for psnr in sources.bicubic(dataset)),
        ]
    )
    for model in (m for m in reversed(sources.models) if not m.is_tiny and not m.is_for_comparison):
        numbers = [model.psnr(dataset, scale) for dataset in DATASETS for scale in SCALES]
        rows.append([f"`{model.name}`", *map(decibels, numbers)])
    default = next(each for each in sources.models if each.is_default)
    cells = []
    for dataset in DATASETS:
        liif = source_of(sources, default, dataset)
        cells += [decibels(liif.row(scale)["psnr"] if liif else None) for scale in SCALES]
    rows.append(["EDSR-LIIF, its published weights", *cells])
    for method in PUBLISHED:
        rows.append([f"*{method}, as published*", *_published(sources, method)])
    return table(rows, "l")


def half_precision(sources: Sources) -> str:
    """Return the loss of PSNR on Set5 in 16 bits, for each network with reports in all precisions."""
    precisions = ("bfloat16", "float16")
    rows = [["dB lost on Set5", *(f"{precision}, ×{scale}" for precision in precisions for scale in SCALES)]]
    files: dict[str, None] = {}
    for model in sources.models:
        full = sources.measured(model, "Set5")
        halved = [sources.measured(model, "Set5", precision) for precision in precisions]
        if full is None or None in halved:
            continue
        found = [each for each in (full, *halved) if each is not None]
        files |= dict.fromkeys(each.file for each in found)
        lost = [full.row(s)["psnr"] - each.row(s)["psnr"] for each in found[1:] for s in SCALES]
        rows.append([f"`{model.name}`", *(f"{round(psnr, 3) + 0.0:.3f}" for psnr in lost)])
    linked = ", ".join(sources.link(name, name.removesuffix(".json")) for name in files)
    return table(rows, "l") + f"\n\nFrom {linked}."


def upcycled(sources: Sources) -> str:
    """Return the routing of the mixtures beside the LIIF that they come from, on each data set."""
    rows = [["Network", "Set", "LIIF", "PSNR", "MACs as published", "MACs as executed", "Shares", "Gain"]]
    files: dict[str, None] = {}
    for model in sources.models:
        for dataset in DATASETS:
            measured, source = sources.measured(model, dataset), source_of(sources, model, dataset)
            if measured is not None and source is not None:
                files |= dict.fromkeys((measured.file, source.file))
                rows += [_beside(model, measured, source, scale) for scale in SCALES]
    linked = ", ".join(sources.link(name, name.removesuffix(".json")) for name in files)
    return table(rows, "ll") + f"\n\nFrom {linked}."


def _beside(model: Model, measured: Measured, source: Measured, scale: str) -> list[str]:
    """Return the row of a mixture at a scale."""
    row, base = measured.row(scale), source.row(scale)
    depths = measured.report["networks"][measured.name]["network_g"]["expert_depths"]
    shares = " / ".join(f"{100 * row[f'share_d{depth}']:.0f}" for depth in depths)
    whole = base["decoder_macs_published"]
    return [
        f"`{model.name}`",
        f"{measured.dataset} ×{scale}",
        decibels(base["psnr"]),
        decibels(row["psnr"]),
        f"{100 * row['decoder_macs_published'] / whole:.0f} %",
        f"{100 * row['decoder_macs_executed'] / whole:.0f} %",
        f"{shares} %",
        f"{row['gain']:+.2f} dB" if "gain" in row else "–",
    ]


def source_of(sources: Sources, model: Model, dataset: str = "Set14") -> Measured | None:
    """Return the published EDSR-LIIF on a data set where the mixture has a report too, or None."""
    if sources.measured(model, dataset) is None or model.is_for_comparison or model.is_tiny:
        return None
    for name, report in sources.reports:
        if (report["dataset"], report["precision"]) == (dataset, "float32"):
            for network in report["networks"]:
                if network.lower() == SOURCE:
                    return Measured(name, report, network)
    return None


def _published(sources: Sources, method: str) -> list[str]:
    columns = sources.published["2"]["columns"]
    numbers = next(row["psnr"] for row in sources.published["2"]["rows"] if row["method"] == method)
    by_column = dict(zip(columns, numbers, strict=True))
    return [f"*{by_column[f'{dataset} ×{s}']:.2f}*" for dataset in DATASETS for s in SCALES]
