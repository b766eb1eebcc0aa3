"""Networks of this package as networks of the contributed arch file."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from moeisr_plugin.archs.implicit_network import ImplicitNetwork
from moeisr_plugin.checkpoints.network import located, network_from
from moeisr_plugin.checkpoints.provenance import INDEX
from moeisr_plugin.publishing.index import read_index
from moeisr_plugin.utils.hashing import sha256_of

TYPES = {"LIIF": "EDSRLIIF", "MoEISRLIIF": "EDSRMoEISR"}
# Settings that the contributed arch file has built in.
BUILT_IN = {"unfold": True, "cell_decode": True, "local_ensemble": True, "mapper_kernel_size": 3}
PUBLISHED = {  # of the option files for trainings: the sizes of the papers
    "EDSRLIIF": {"num_feat": 64, "num_block": 16, "num_hidden": 256, "depth": 5},
    "EDSRMoEISR": {
        "num_feat": 64,
        "num_block": 16,
        "num_hidden": 128,
        "depths": [2, 3, 4, 5],
        "mapper_depth": 5,
        "tau": 1.0,
    },
}


class Source(NamedTuple):
    """A network to contribute.

    Attributes:
        stem: name of the file of weights without suffix and hash.
        net: the network, with averaged weights where there are some.
        options: its options in the contributed arch file, without the scale.
        index: its entry in the model index beside the weights; empty if there is none.
    """

    stem: str
    net: ImplicitNetwork
    options: dict[str, Any]
    index: Mapping[str, Any]


def read_source(weights: str) -> Source:
    """Read a network to contribute.

    Args:
        weights: a checkpoint of a training, or the name of a bundled network.

    Raises:
        ValueError: the weights cannot be read, or the contributed arch file has no such network; one line.
    """
    path = located(weights)
    net = network_from(path)
    try:
        options = contributed_options(net.hyper_parameters)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    index = _index_entry(path)
    return Source(str(index.get("Name", path.stem)), net, options, index)


def contributed_options(hyper_parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the contributed arch file for hyper-parameters of this package.

    Raises:
        ValueError: the arch file has no such network.
    """
    known, encoder = dict(hyper_parameters), dict(hyper_parameters["encoder"])
    if known["type"] not in TYPES or encoder.get("type") != "EDSREncoder":
        raise ValueError(
            f"is {known['type']} on {encoder.get('type')}; "
            f"the contribution has {' and '.join(TYPES)} on EDSREncoder"
        )
    for key, value in BUILT_IN.items():
        if known.get(key, value) != value:
            raise ValueError(f"{key} is {known[key]}; the contribution has {value} only")
    width = encoder.get("num_feat", 64)
    if known.get("mapper_hidden_dim") not in (None, width):
        raise ValueError(
            f"mapper_hidden_dim is {known['mapper_hidden_dim']}; the contribution has {width} only"
        )
    options = {
        "type": TYPES[known["type"]],
        "num_feat": width,
        "num_block": encoder.get("num_block", 16),
        "res_scale": encoder.get("res_scale", 1),
        "num_hidden": known.get("hidden_dim", 256),
    }
    if known["type"] == "LIIF":
        return {**options, "depth": known.get("depth", 5)}
    return {
        **options,
        "depths": list(known.get("expert_depths", (2, 3, 4, 5))),
        "mapper_depth": known.get("mapper_depth", 5),
        "tau": known.get("tau", 1.0),
    }


def experiment_name(source: Source, scale: int) -> str:
    """Return the name of an experiment in the form of BasicSR, such as EDSRLIIF_x4_f32b8h96_CID22_25k_B8.

    The parts are method, scale, width and blocks of the encoder, hidden width of the decoder, data,
    iterations and batch size. ``pretrain`` says that the training started from other weights. Without an
    index, the name of the file replaces what is not known.
    """
    options = source.options
    start = (
        f"{options['type']}_x{scale}_f{options['num_feat']}b{options['num_block']}h{options['num_hidden']}"
    )
    facts = source.index.get("Metadata")
    if not facts:
        return f"{start}_{source.stem}"
    data = "-".join(re.sub(r"\W", "", name.partition(",")[0]) for name in facts["Training Data"])
    iterations = facts["Iterations"]
    length = f"{iterations // 1000}k" if iterations >= 1000 else str(iterations)
    pretrained = "_pretrain" if facts.get("Started From") else ""
    return f"{start}_{data}_{length}_B{facts['Batch Size']}{pretrained}"


def as_yaml(options: Mapping[str, Any]) -> str:
    """Return options as the lines of a section of an option file."""
    return "\n".join(
        f"  {key}: {yaml.safe_dump(value, default_flow_style=True).splitlines()[0]}"
        for key, value in options.items()
    )


def _index_entry(path: Path) -> Mapping[str, Any]:
    digest = sha256_of(path)
    entries = read_index(path.parent / INDEX)["Models"]
    return next((entry for entry in entries if entry.get("Metadata", {}).get("SHA-256") == digest), {})
