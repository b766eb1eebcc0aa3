"""What there is to know of published weights, as a card in Markdown and as an entry of a model index."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from moeisr_plugin import complexity
from moeisr_plugin.archs.implicit_sr import ImplicitSR
from moeisr_plugin.card_statement import Statement
from moeisr_plugin.report import legend, protocol_sentence, table_of_averages
from moeisr_plugin.training_log import Training

COUNTED_LR = (180, 320)  # (h, w), of which MACs are told
COUNTED_SCALES = (2, 4, 8)
_SAMPLING = ("lr_size", "sample_q", "scale_range")
_LOSSES = ("pixel_opt", "balance_opt", "cost_opt")

_PAPERS = {
    "MoEISR": (
        "Balancing Efficiency and Quality: MoEISR for Arbitrary-Scale Image Super-Resolution",
        "2311.12077",
    ),
    "LIIF": ("Learning Continuous Image Representation with Local Implicit Image Function", "2012.09161"),
    "LTE": ("Local Texture Estimator for Implicit Representation Function", "2111.08918"),
}


class Results(NamedTuple):
    """What `moeisr evaluate` measured of the weights on one data set.

    Attributes:
        dataset, protocol, machine: as in its report.
        rows: its averages, of bicubic and of the weights, under their published name.
        rounded: whether the weights that were measured have the precision of the published ones.
    """

    dataset: str
    protocol: str
    machine: Mapping[str, Any]
    rows: list[dict[str, Any]]
    rounded: bool


@dataclass(frozen=True)
class Model:
    """Published weights.

    Attributes:
        name: of the model.
        file: of its weights.
        size: of the file, in bytes.
        sha256: of the file.
        dtype: of the weights, as torch names it.
        net: the network.
        averaged: whether the weights are averages over iterations.
        origin: of an upcycled network, its source and how each expert began.
    """

    name: str
    file: str
    size: int
    sha256: str
    dtype: str
    net: ImplicitSR
    averaged: bool
    training: Training
    statement: Statement
    results: list[Results]
    origin: Mapping[str, Any] | None = None

    @property
    def architecture(self) -> str:
        """The decoder and its encoder."""
        return f"{self.net.hyper_parameters['type']} on {self.net.hyper_parameters['encoder']['type']}"

    @property
    def collection(self) -> str:
        """The method it belongs to."""
        kind = self.net.hyper_parameters["type"]
        return "MoEISR" if kind.startswith("MoEISR") else kind


def card(model: Model) -> str:
    """The card."""
    parameters = complexity.parameters(model.net)
    weights = "averaged over iterations" if model.averaged else "of the last iteration"
    parts = [
        f"# {model.name}",
        f"{model.architecture}, {sum(parameters.values()):,} parameters ("
        + ", ".join(f"{name} {number:,}" for name, number in parameters.items())
        + f"). `{model.file}` holds them in {model.dtype}, {weights}: {model.size:,} bytes, SHA-256 "
        f"`{model.sha256}`.",
        f"```bash\nmoeisr upscale photo.png --scale 2.5 --weights {model.file}\n```",
        "## Results",
        *(_results(results) for results in model.results),
        "## Cost",
        _cost(model.net),
        "## Training",
        _training(model),
        *_origin(model),
        "## Limits",
        model.statement.limits,
        "## Licence",
        f"The weights: {model.statement.licence}. The training images:",
        _sources(model.statement),
    ]
    return "\n\n".join(parts) + "\n"


def collection_entry(model: Model) -> dict[str, Any]:
    """The entry of the model's method under `Collections`."""
    title, number = _PAPERS[model.collection]
    return {
        "Name": model.collection,
        "Metadata": {"Architecture": [model.collection]},
        "Paper": {"Title": title, "URL": f"https://arxiv.org/abs/{number}"},
    }


def model_entry(model: Model) -> dict[str, Any]:
    """The entry of the model under `Models`."""
    training = model.training
    return {
        "Name": model.name,
        "In Collection": model.collection,
        "Config": training.option_file,
        "Metadata": {
            "Architecture": [
                model.net.hyper_parameters["type"],
                model.net.hyper_parameters["encoder"]["type"],
            ],
            "Parameters": sum(complexity.parameters(model.net).values()),
            "Training Data": [images.name for images in model.statement.training_images],
            "Training Resources": model.statement.hardware,
            "Training Time (s)": round(training.seconds),
            "Iterations": training.iterations,
            "Batch Size": training.batch,
            "SHA-256": model.sha256,
            "License": model.statement.licence,
        },
        "Results": [
            {
                "Task": "Image Super-Resolution",
                "Dataset": results.dataset,
                "Protocol": results.protocol,
                "Metrics": {
                    f"{name} x{row['scale']}": round(row[key], 4)
                    for row in results.rows
                    if row["weights"] == model.name
                    for name, key in (("PSNR", "psnr"), ("SSIM", "ssim"))
                },
            }
            for results in model.results
        ],
        "Weights": model.file,
    }


def _results(results: Results) -> str:
    lines = [f"### {results.dataset}", "", protocol_sentence(results.protocol)]
    lines += [*legend(results.rows), f"Seconds on {_machine(results.machine)}."]
    lines += [] if results.rounded else ["Measured before the weights were rounded."]
    lines.append("")
    return "\n".join([*lines, *table_of_averages(results.rows)])


def _machine(machine: Mapping[str, Any]) -> str:
    threads = machine["threads"]
    on_cpu = f"{machine['cpu']}, {threads} thread{'s' if threads > 1 else ''}"
    return f"{machine.get('gpu') or on_cpu}, torch {machine['torch']}"


def _cost(net: ImplicitSR) -> str:
    """MACs of pictures of one size at several scales, both ways of counting."""
    height, width = COUNTED_LR
    encoder = _giga(complexity.encoder_macs(net, COUNTED_LR))
    ends = ["all to the shallowest expert", "all to the deepest"] if len(net.experts) > 1 else ["decoder"]
    lines = [
        f"Multiply-accumulates (MACs) of enlarging {width}×{height} pixels; mapping, if any, included. *As "
        "published*, every layer is evaluated for each query and neighbour; *as executed* here, what depends "
        f"on the LR pixel alone is computed once. Encoding takes {encoder}.",
        "",
        "| Scale | Routing | As published | As executed |",
        "|---|---|---|---|",
    ]
    for scale in COUNTED_SCALES:
        works = complexity.extremes(net, COUNTED_LR, (height * scale, width * scale))
        for routing, work in zip(ends, works, strict=True):
            counts = complexity.published_macs(net, work), complexity.executed_macs(net, work)
            lines.append(f"| ×{scale} | {routing} | {_giga(counts[0])} | {_giga(counts[1])} |")
    return "\n".join(lines)


def _giga(macs: float) -> str:
    return f"{macs / 1e9:.4g} G"


def _training(model: Model) -> str:
    training, options = model.training, model.training.options
    train, data = options["train"], options["datasets"]["train"]
    goes = f", in {training.goes} runs" if training.goes > 1 else ""
    rows = {
        "Option file": f"`{training.option_file}`",
        "Pictures": f"{training.pictures:,}",
        "Samples": _parameters({key: data[key] for key in _SAMPLING if key in data}) or "by default",
        "Iterations": f"{training.iterations:,} of {train['total_iter']:,}",
        "Batch": f"{training.batch}, {training.samples:,} patches in all",
        **({"Precision": train["precision"]} if train.get("precision") else {}),
        "Optimiser": _spelt(train["optim_g"]),
        "Schedule": _spelt(train["scheduler"]),
        "Losses": "; ".join(_spelt(train[key]) for key in _LOSSES if train.get(key)),
        **{
            label: f"{train[key]:,}"
            for label, key in (
                ("Warm-up iterations", "warmup_iter"),
                ("Iterations with pixels dealt at random", "random_gates_iter"),
                ("Iterations of the mapper alone", "mapper_alone_iter"),
                ("Decay of the average", "ema_decay"),
            )
            if train.get(key, 0) > 0
        },
        **({"Frozen": ", ".join(train["freeze"])} if train.get("freeze") else {}),
        "Seed": str(options["manual_seed"]),
        "Seconds": f"{training.seconds:,.0f}{goes}, validation included",
        "Hardware": model.statement.hardware,
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {label} | {value} |" for label, value in rows.items())])


def _origin(model: Model) -> list[str]:
    """Where a training began that did not begin from random weights."""
    told = []
    if model.origin is not None:
        experts = [f"- depth {expert['depth']}: {expert['how']}" for expert in model.origin["experts"]]
        told.append(
            f"Upcycled from the {model.origin['network']} in `{model.origin['file']}`, SHA-256 "
            f"`{model.origin['sha256']}`. The experts began so:\n\n" + "\n".join(experts)
        )
    if model.statement.origin:
        told.append(model.statement.origin)
    return ["## Origin", *told] if told else []


def _spelt(options: Mapping[str, Any]) -> str:
    """A type and its parameters."""
    rest = _parameters(options)
    return f"{options['type']} ({rest})" if rest else options["type"]


def _parameters(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in options.items() if key != "type")


def _sources(statement: Statement) -> str:
    lines = ["| Collection | Pictures | Licence | Source |", "|---|---|---|---|"]
    return "\n".join(
        [
            *lines,
            *(
                f"| {images.name} | {images.pictures:,} | {images.licence} | {images.source} |"
                for images in statement.training_images
            ),
        ]
    )
