"""Describe published weights as a Markdown card and as an entry of a model index."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from moeisr_plugin import __version__
from moeisr_plugin.archs.implicit_network import ImplicitNetwork
from moeisr_plugin.archs.registry import modules_of
from moeisr_plugin.checkpoints.provenance import DATA_LICENCES
from moeisr_plugin.evaluation.report import legend, protocol_sentence, table_of_averages
from moeisr_plugin.losses.names import PICTURE_LOSSES, SCORE_LOSSES
from moeisr_plugin.publishing import origin
from moeisr_plugin.publishing.reports import Results, result_entry
from moeisr_plugin.publishing.statement import Statement
from moeisr_plugin.publishing.training_log import Training
from moeisr_plugin.render import complexity
from moeisr_plugin.utils.numbers import giga

ZOO = "ModelZoo.md"
"""The table of all models, in the folder of the index."""

COUNTED_LR = (180, 320)  # (h, w) of the input of the MAC table
COUNTED_SCALES = (2, 4, 8)
_SAMPLING = ("lr_size", "sample_q", "hr_size", "scale_range")
_LOSSES = (
    "pixel_opt",
    "distillation_opt",
    *(f"{name}_opt" for name in (*PICTURE_LOSSES, *SCORE_LOSSES)),
    "gan_opt",
)

_PAPERS = {
    "MoEISR": (
        "Balancing Efficiency and Quality: MoEISR for Arbitrary-Scale Image Super-Resolution",
        "2311.12077",
    ),
    "LIIF": ("Learning Continuous Image Representation with Local Implicit Image Function", "2012.09161"),
    "CiaoSR": (
        "CiaoSR: Continuous Implicit Attention-in-Attention Network for Arbitrary-Scale Image "
        "Super-Resolution",
        "2212.04362",
    ),
    "LTE": ("Local Texture Estimator for Implicit Representation Function", "2111.08918"),
}


@dataclass(frozen=True)
class Model:
    """Published weights.

    Attributes:
        name: name of the model.
        file: name of the file of weights.
        size: size of the file in bytes.
        sha256: SHA-256 of the file.
        dtype: type of the weights, such as float32.
        net: the network.
        averaged: whether the weights are averaged over iterations.
        training: facts from the training logs.
        statement: facts from the card file.
        results: one entry per data set.
        upcycled, started: entries of the checkpoint, as in `checkpoints.provenance`.
    """

    name: str
    file: str
    size: int
    sha256: str
    dtype: str
    net: ImplicitNetwork
    averaged: bool
    training: Training
    statement: Statement
    results: list[Results]
    upcycled: Mapping[str, Any] | None = None
    started: Sequence[Mapping[str, Any]] = ()

    @property
    def address(self) -> str:
        """The address of the file where it is published, otherwise its name."""
        return f"{self.statement.url.rstrip('/')}/{self.file}" if self.statement.url else self.file

    @property
    def architecture(self) -> str:
        """Types of decoder and encoder."""
        return f"{self.net.hyper_parameters['type']} on {self.net.hyper_parameters['encoder']['type']}"

    @property
    def collection(self) -> str:
        """Name of the method."""
        kind = self.net.hyper_parameters["type"]
        return "MoEISR" if kind.startswith("MoEISR") else kind


def card(model: Model) -> str:
    """Return the card in Markdown."""
    parameters = complexity.parameters(model.net)
    weights = "averaged over iterations" if model.averaged else "of the last iteration"
    parts = [
        f"# {model.name}",
        f"{model.architecture}, {sum(parameters.values()):,} parameters ("
        + ", ".join(f"{name} {number:,}" for name, number in parameters.items())
        + f"). `{model.file}` holds them in {model.dtype}, {weights}: {model.size:,} bytes, SHA-256 "
        f"`{model.sha256}`." + (f" It is published at <{model.address}>." if model.statement.url else ""),
        _command(model),
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


def _command(model: Model) -> str:
    """Return the command that uses the weights, with the modules of classes of other packages."""
    modules = modules_of(model.net.hyper_parameters)
    imports = "".join(f" --import {module}" for module in dict.fromkeys(modules.values()))
    command = f"```bash\nmoeisr upscale photo.png --scale 2.5 --weights {model.file}{imports}\n```"
    needed = [f"`{name}` of the module `{module}`" for name, module in modules.items()]
    return f"{command}\n\nIt needs {', '.join(needed)}." if needed else command


def collection_entry(model: Model) -> dict[str, Any]:
    """Return the entry of the method under `Collections`."""
    module = type(model.net).__module__
    own = module.partition(".")[0] == "moeisr_plugin"
    entry = {
        "Name": model.collection,
        "Metadata": {"Architecture": [model.collection]},
        "README": ZOO,
        "Code": {
            "URL": f"{module.replace('.', '/')}.py",  # relative, as that of the repository is not known
            **({"Version": f"v{__version__}"} if own else {}),
        },
    }
    if model.collection not in _PAPERS:  # a network of another package
        return entry
    title, number = _PAPERS[model.collection]
    return {**entry, "Paper": {"Title": title, "URL": f"https://arxiv.org/abs/{number}"}}


def model_entry(model: Model) -> dict[str, Any]:
    """Return the entry of the model under `Models`."""
    training, sources = model.training, origin.index_entries(model.started)
    return {
        "Name": model.name,
        "In Collection": model.collection,
        "Config": training.option_file,
        "README": f"{model.name}.md",
        "Metadata": {
            "Architecture": [
                model.net.hyper_parameters["type"],
                model.net.hyper_parameters["encoder"]["type"],
            ],
            "Parameters": sum(complexity.parameters(model.net).values()),
            "Training Data": origin.training_data(model.statement, model.started),
            DATA_LICENCES: origin.data_licences(model.statement, model.started),
            **({"Started From": sources} if sources else {}),
            "Training Resources": model.statement.hardware,
            "Training Time (s)": round(training.seconds),
            "Iterations": training.iterations,
            "Batch Size": training.batch,
            "SHA-256": model.sha256,
            "License": model.statement.licence,
        },
        "Results": [result_entry(results, model.name) for results in model.results],
        "Weights": model.address,
    }


def _results(results: Results) -> str:
    lines = [f"### {results.dataset}", "", protocol_sentence(results.protocol)]
    lines += [*legend(results.rows), f"Seconds on {_machine(results.machine)}."]
    lines += [] if results.rounded else ["Measured before the weights were rounded."]
    lines.append("")
    notes = [f"- {note}" for note in results.notes]
    return "\n".join([*lines, *table_of_averages(results.rows), *([""] if notes else []), *notes])


def _machine(machine: Mapping[str, Any]) -> str:
    threads = machine["threads"]
    on_cpu = f"{machine['cpu']}, {threads} thread{'s' if threads > 1 else ''}"
    return f"{machine.get('gpu') or on_cpu}, torch {machine['torch']}"


def _cost(net: ImplicitNetwork) -> str:
    """Return the MACs at several scales, as published and as executed."""
    height, width = COUNTED_LR
    encoder = _giga_macs(complexity.encoder_macs(net, COUNTED_LR))
    ends = ["all to the shallowest expert", "all to the deepest"] if net.num_experts > 1 else ["decoder"]
    lines = [
        f"Multiply-accumulates (MACs) of decoder and mapper for an input of {width}×{height} pixels. *As "
        "published* evaluates every layer for each query and neighbour. *As executed* computes terms that "
        f"depend only on the LR pixel once. Encoding takes {encoder}.",
        "",
        "| Scale | Routing | As published | As executed |",
        "|---|---|---|---|",
    ]
    for scale in COUNTED_SCALES:
        works = complexity.extreme_workloads(net, COUNTED_LR, (height * scale, width * scale))
        for routing, work in zip(ends, works, strict=True):
            counts = complexity.published_macs(net, work), complexity.executed_macs(net, work)
            lines.append(f"| ×{scale} | {routing} | {_giga_macs(counts[0])} | {_giga_macs(counts[1])} |")
    return "\n".join(lines)


def _giga_macs(macs: float) -> str:
    return f"{giga(macs, '.4g')} G"


def _training(model: Model) -> str:
    training, options = model.training, model.training.options
    train, data = options["train"], options["datasets"]["train"]
    runs = f", in {training.runs} runs" if training.runs > 1 else ""
    started = origin.summary(model.started)
    distilled = origin.summary(model.started, distilled=True)
    rows = {
        "Option file": f"`{training.option_file}`",
        **({"Started from": started} if started else {}),
        **({"Distilled from": distilled} if distilled else {}),
        "Pictures": f"{training.pictures:,}",
        "Samples": _parameters({key: data[key] for key in _SAMPLING if key in data}) or "by default",
        **({"Degradation": _operations(data["degradation"])} if data.get("degradation") else {}),
        "Iterations": f"{training.iterations:,} of {train['total_iter']:,}",
        "Batch": f"{training.batch}, {training.samples:,} patches in all",
        **({"Precision": train["precision"]} if train.get("precision") else {}),
        "Optimiser": _type_and_parameters(train["optim_g"]),
        "Schedule": _type_and_parameters(train["scheduler"]),
        "Losses": "; ".join(_type_and_parameters(train[key]) for key in _LOSSES if train.get(key)),
        **{
            label: f"{train[key]:,}"
            for label, key in (
                ("Warm-up iterations", "warmup_iter"),
                ("Iterations with random routing", "random_gates_iter"),
                ("Iterations of mapper training only", "mapper_alone_iter"),
                ("Decay of the average", "ema_decay"),
            )
            if train.get(key, 0) > 0
        },
        **({"Frozen": ", ".join(train["freeze"])} if train.get("freeze") else {}),
        "Seed": str(options["manual_seed"]),
        "Seconds": f"{training.seconds:,.0f}{runs}, validation included",
        "Hardware": model.statement.hardware,
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {label} | {value} |" for label, value in rows.items())])


def _origin(model: Model) -> list[str]:
    """Return the section on the weights that the training started from, if any."""
    texts = [origin.table(model.started)] if model.started else []
    texts += [origin.upcycling(model.upcycled)] if model.upcycled else []
    texts += [model.statement.origin] if model.statement.origin else []
    return ["## Origin", *texts] if texts else []


def _type_and_parameters(options: Mapping[str, Any]) -> str:
    # Of a teacher only the name of its file is stated, not the folder on the machine of the author.
    rest = _parameters(
        {key: PurePath(each).name if key == "teacher" else each for key, each in options.items()}
    )
    return f"{options['type']} ({rest})" if rest else options["type"]


def _operations(degradation: Mapping[str, Any]) -> str:
    """Return the random changes of the LR patches, in their order."""
    return "; ".join(f"{name} ({_parameters(options)})" for name, options in degradation.items() if options)


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
