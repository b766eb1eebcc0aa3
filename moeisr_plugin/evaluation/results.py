"""Data classes for the results of an evaluation."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

BICUBIC = "bicubic"
ORIGINAL = "HR"


class Record(NamedTuple):
    """Figures of one picture enlarged by a network, by another method or by bicubic interpolation."""

    weights: str  # name of the network, of another method, or bicubic
    dataset: str
    scale: str
    lr: str  # source of LR: given, matlab or pil
    picture: str
    height: int  # of HR
    width: int
    figures: dict[str, float]


class Skipped(NamedTuple):
    """A picture that is too small to measure."""

    dataset: str
    scale: str
    picture: str
    reason: str


@dataclass
class Evaluation:
    """The result of an evaluation.

    Attributes:
        networks: by name: file, SHA-256 of the file, type, encoder, hyper-parameters, number of parameters.
        others: names of methods whose enlarged pictures were given.
        machine: the hardware and versions.
        records: one per network and picture.
        budgets: records of mixtures at fixed budgets, with "budget" among the figures. See
            `render.within_budget`.
        skipped: pictures that are too small.
        notes: remarks for readers of the numbers.
    """

    dataset: str
    protocol: str
    device: str
    networks: dict[str, dict[str, Any]]
    precision: str = "float32"
    others: list[str] = field(default_factory=list)
    machine: dict[str, Any] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    budgets: list[Record] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
