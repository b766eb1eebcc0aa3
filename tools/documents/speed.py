"""Tables of speed, from the reports of tools/benchmark.py."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from benchmarking.machines import name_of

from documents.sources import Sources, table

BESIDE_EDSR = "benchmark_beside_edsr.json"
CPU, GPU, TO_4K = (
    "benchmark.json",
    "benchmark_on_a_gpu.json",
    "benchmark_on_a_gpu_to_4k.json",
)
DECODERS = ("LIIF", "MoEISRLIIF-b", "MoEISRLIIF-s", "LTE", "MoEISRLTE-s")

Report = Mapping[str, Any]


def cpu(sources: Sources) -> str:
    """Return the speed relative to the published decoding, on one and two threads of a CPU."""
    columns = []
    for case, precision in product(("4x96x96", "8x64x64"), ("float32", "bfloat16")):
        for threads in (1, 2):
            label = f"×{case[0]}, {precision}" + (", 2 threads" if threads == 2 else "")
            columns.append((label, case, precision, threads))
    return _relative(sources, CPU, "Times as fast", columns)


def gpu(sources: Sources) -> str:
    """Return the speed relative to the published decoding on a GPU."""
    precisions = ("float32", "tf32", "bfloat16")
    columns = [
        (f"×{case[0]}, {precision}", case, precision, 1)
        for case in ("4x96x96", "8x64x64")
        for precision in precisions
    ]
    return _relative(sources, GPU, "Times as fast on a GPU", columns)


def to_4k(sources: Sources) -> str:
    """Return the speed of enlarging 1280×720 to 3840×2160 on a GPU."""
    columns = [(precision, "3x1280x720", precision, 1) for precision in ("float32", "tf32", "bfloat16")]
    return _relative(sources, TO_4K, "Times as fast from 720p to 4K", columns)


def networks(sources: Sources) -> str:
    """Return the speed of trained networks, beside the published decoding of a LIIF of published size."""
    report = sources.benchmark(BESIDE_EDSR)
    rows = [["Network", "×4 of 96×96"]]
    for name in report["weights"]:
        times = packaged(report, name, "4x96x96")["times_plain_liif_float32"]
        rows.append([f"`{name}`", f"{times:.0f}"])
    return table(rows, "l") + f"\n\n{_from(sources, BESIDE_EDSR)}"


def fixed_scale(sources: Sources) -> str:
    """Return the time of the toolbox's EDSR of one scale relative to networks for any scale."""
    report = sources.benchmark(BESIDE_EDSR)
    cases = list(dict.fromkeys(row["case"] for row in report["rendering"]))
    rows = [["Seconds of EDSR by PixelShuffle ÷ seconds of", *(f"×{case.split('x')[0]}" for case in cases)]]
    for name in ("MoEISRLIIF-b", "MoEISRLIIF-s", *report["weights"]):
        ratios = [
            edsr(report, case)["seconds"] / _row(report, name, "package", "float32", case, 1)["seconds"]
            for case in cases
        ]
        label = f"`{name}`" if name in report["weights"] else f"{name}, random weights"
        rows.append([label, *(f"{ratio:.2f}" for ratio in ratios)])
    return table(rows, "l") + f"\n\n{_from(sources, BESIDE_EDSR)}"


def training(sources: Sources) -> str:
    """Return the speed of forward and backward passes relative to the published decoding."""
    rows = [["Network", "Code", "Times as fast, CPU, 1 thread", "GPU"]]
    found = {
        (row["network"], row["code"]): [f"{row['decoder_times_plain']:.1f}", "–"]
        for row in sources.benchmark(CPU)["training"]
        if row["threads"] == 1 and row["code"] != "plain"
    }
    for row in sources.benchmark(GPU)["training"]:
        if (row["network"], row["code"]) in found:
            found[row["network"], row["code"]][1] = f"{row['decoder_times_plain']:.1f}"
    rows += [[network, code, *cells] for (network, code), cells in found.items()]
    files = f"{sources.link(CPU, 'CPU')}, {sources.link(GPU, 'GPU')}"
    return table(rows, "ll") + f"\n\nFrom {files}."


def edsr(report: Report, case: str, precision: str = "float32") -> Mapping[str, Any]:
    """Return the row of the toolbox's EDSR."""
    return _row(report, f"EDSR ×{case.split('x')[0]}", "BasicSR", precision, case, 1)


def times_plain(report: Report, network: str, precision: str, case: str, threads: int = 1) -> float:
    """Return how many times as fast as the published decoding in float32 a network is."""
    plain = _row(report, "LTE" if "LTE" in network else "LIIF", "plain", "float32", case, threads)
    return plain["seconds"] / _row(report, network, "package", precision, case, threads)["seconds"]


def _relative(sources: Sources, file: str, heading: str, columns: Sequence[tuple[str, str, str, int]]) -> str:
    report = sources.benchmark(file)
    present = {row["network"] for row in report["rendering"]}
    rows = [[heading, *(label for label, *_ in columns)]]
    for network in (name for name in DECODERS if name in present):
        cells = [
            f"{times_plain(report, network, precision, case, threads):.1f}"
            for _, case, precision, threads in columns
        ]
        rows.append([network.replace("MoEISR", "MoEISR-"), *cells])
    return table(rows, "l") + f"\n\n{_from(sources, file)}"


def _from(sources: Sources, file: str) -> str:
    machine = sources.benchmark(file)["machine"]
    name = name_of(machine)
    where = f"{machine['gpu']}, {name}" if machine.get("gpu") else name
    return f"On {where}. From {sources.link(file, file.removesuffix('.json'))}."


def _row(
    report: Report, network: str, code: str, precision: str, case: str, threads: int
) -> Mapping[str, Any]:
    wanted = network, code, precision, case, threads
    for row in report["rendering"]:
        if (row["network"], row["code"], row["precision"], row["case"], row["threads"]) == wanted:
            return row
    raise ValueError(f"no measurement of {', '.join(map(str, wanted))}; measure it by tools/benchmark.py")


def packaged(report: Report, network: str, case: str, precision: str = "float32") -> Mapping[str, Any]:
    """Return the row of a network decoded by this package on one thread."""
    return _row(report, network, "package", precision, case, 1)
