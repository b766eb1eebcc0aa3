"""The networks that the page offers, loaded when they are first used."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from moeisr_plugin import render
from moeisr_plugin.archs.implicit_network import ImplicitNetwork
from moeisr_plugin.upscaler import Upscaler
from moeisr_plugin.web.refused import RefusedError


class Networks:
    """Networks by name.

    Args:
        files: the checkpoint of each name that may be asked for.
        notes: when to take a network, by name.
        device: device of the computation; None for the default.
        held: number of networks that stay loaded.
    """

    def __init__(
        self,
        files: Mapping[str, Path],
        *,
        notes: Mapping[str, str] | None = None,
        device: str | None = None,
        held: int = 4,
    ) -> None:
        self.files = dict(files)
        self._notes = dict(notes or {})
        self._device = device
        self._held = held
        self._lock = threading.Lock()
        self._loaded: OrderedDict[tuple[str, str], Upscaler] = OrderedDict()

    @property
    def facts(self) -> list[dict[str, str]]:
        """Name and note of each network."""
        return [{"name": name, "note": self._notes.get(name, "")} for name in self.files]

    @property
    def device(self) -> str:
        """The type of the device: cpu, cuda or mps."""
        given = self._device or ("cuda" if torch.cuda.is_available() else "cpu")
        return given.partition(":")[0]

    @property
    def precisions(self) -> tuple[str, ...]:
        """The precisions that the device computes in."""
        return ("float32", "bfloat16", "float16", *(("tf32",) if self.device == "cuda" else ()))

    def check(self, name: str, precision: str) -> None:
        """Raise `RefusedError` if the page does not offer a network or a precision."""
        if name not in self.files:
            raise RefusedError(f"there is no network of this name; choose {', '.join(self.files)}", 404)
        if precision not in self.precisions:
            raise RefusedError(f"this precision is not offered; choose {', '.join(self.precisions)}")

    def get(self, name: str, precision: str) -> Upscaler:
        """Return a network, loaded if necessary.

        Raises:
            RefusedError: the page does not offer it.
            ValueError: its file cannot be used.
        """
        self.check(name, precision)
        with self._lock:
            key = (name, precision)
            if key not in self._loaded:
                self._loaded[key] = Upscaler(self.files[name], device=self._device, precision=precision)
            self._loaded.move_to_end(key)
            while len(self._loaded) > self._held:
                self._loaded.popitem(last=False)
            return self._loaded[key]


def palette(num_experts: int) -> np.ndarray:
    """Return the colours of the expert map, (J, 3) uint8."""
    return render.colour_experts(torch.arange(num_experts)[None], num_experts)[0].numpy()


def experts_of(net: ImplicitNetwork) -> list[dict[str, Any]]:
    """Return depth, colour and MACs per query of each expert. Empty for a network without a mixture."""
    if net.num_experts == 1:
        return []
    colours = palette(net.num_experts).tolist()
    return [
        {"depth": expert.depth, "colour": colour, "macs": expert.macs()}
        for expert, colour in zip(net.expert_list, colours, strict=True)
    ]
