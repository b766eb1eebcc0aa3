"""Register networks, losses and data sets of this package with the registries of mmengine."""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from addict import Dict
from basicsr.utils.registry import LOSS_REGISTRY
from mmengine.registry import DATASETS, MODELS
from torch.utils.data import ConcatDataset, Dataset

from moeisr_plugin.archs.registry import NETWORKS, register_with_toolbox
from moeisr_plugin.data import ArbitraryScaleDataset, ScaleValidationDataset
from moeisr_plugin.losses import MODULES as OWN_LOSSES

QUERY_LOSSES = ("L1Loss", "MSELoss", "CharbonnierLoss")
"""Losses of the toolbox that compare sampled pixels."""


@DATASETS.register_module()
class ScaleValidationSets(ConcatDataset):
    """Several validation sets, such as one per scale, in the one loader that a Runner has.

    A sample also has ``set``, the ``name`` in the options of its set, if there is one.

    Args:
        sets: options of each `ScaleValidationDataset`.
        common: options of all sets, into which those of a set are merged.

    Raises:
        ValueError: the options contradict each other or the pictures; one line.
    """

    def __init__(self, sets: Sequence[Mapping[str, Any]], common: Mapping[str, Any] | None = None) -> None:
        super().__init__([NamedSet(ScaleValidationDataset(_merged(common or {}, each))) for each in sets])


class NamedSet(Dataset):
    """A `ScaleValidationDataset` whose samples state its name."""

    def __init__(self, pictures: ScaleValidationDataset) -> None:
        self.pictures = pictures
        name = pictures.opt.get("name")
        self.stated = {} if name is None else {"set": name}

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**self.pictures[index], **self.stated}


def _merged(common: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return options in which nested ones are merged, as `_base_` of a Config merges them."""
    merged = Dict(common)  # a deep copy
    merged.update(own)
    return merged.to_dict()


def register_all() -> None:
    """Register the networks and encoders, the data sets, and the losses.

    Raises:
        KeyError: mmengine has another class under the name of a network or data set of this package.
    """
    register_with_toolbox()
    for name, network in NETWORKS.items():
        MODELS.register_module(name, module=network)
    for dataset in (ArbitraryScaleDataset, ScaleValidationDataset):
        DATASETS.register_module(module=dataset)
    for module in OWN_LOSSES.values():
        importlib.import_module(f"moeisr_plugin.losses.{module}")
    for name in (*OWN_LOSSES, *QUERY_LOSSES):
        if name not in MODELS.module_dict:  # such as an L1Loss of the user
            MODELS.register_module(name, module=LOSS_REGISTRY.get(name))
