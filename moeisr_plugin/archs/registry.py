"""Networks by name, for use with and without the toolbox.

The toolbox's registry is part of `basicsr`, which is not needed to enlarge pictures. So the networks of this
package register here. They also register with the toolbox as soon as it is loaded.
"""

import importlib
import logging
import sys
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, TypeVar

from torch import nn

from moeisr_plugin.utils.missing import toolbox_needed

NETWORKS: dict[str, type[nn.Module]] = {}
"""The networks of this package that have been imported."""

_MODULES = ("implicit_arch", "encoders.edsr_encoder_arch", "encoders.rdn_encoder_arch")
_MODULES_ON_TOOLBOX = ("encoders.swinir_encoder_arch", "encoders.toolbox_encoder_arch")
"""Modules whose networks are made of toolbox networks."""

_Network = TypeVar("_Network", bound=type[nn.Module])


def register(network: _Network) -> _Network:
    """Register a network under the name of its class; use as a decorator."""
    NETWORKS[network.__name__] = network
    if "basicsr.utils.registry" in sys.modules:
        _register_with_toolbox(network)
    return network


def register_with_toolbox() -> None:
    """Import all networks of this package and register them with the toolbox, which must be installed."""
    for module in (*_MODULES, *_MODULES_ON_TOOLBOX):
        importlib.import_module(f"moeisr_plugin.archs.{module}")
    for network in NETWORKS.values():
        _register_with_toolbox(network)


def _register_with_toolbox(network: type[nn.Module]) -> None:
    registry = sys.modules["basicsr.utils.registry"].ARCH_REGISTRY
    if dict(iter(registry)).get(network.__name__) is not network:
        registry.register(network)


def build_network(options: Mapping[str, Any]) -> nn.Module:
    """Build a network from its options, as the toolbox's function of this name does.

    Args:
        options: the registered `type` and the parameters of a network of this package, of the toolbox, or
            of any registered with the toolbox.

    Raises:
        MissingToolboxError: the network is not of this package alone, and the toolbox is not installed.
        KeyError: no such network is registered with the toolbox.
    """
    parameters = dict(deepcopy(options))
    network = _find(parameters.pop("type"))(**parameters)
    logging.getLogger("basicsr").info(f"Network [{type(network).__name__}] is created.")
    return network


def _find(name: str) -> type[nn.Module]:
    if name in NETWORKS:
        return NETWORKS[name]
    for module in _MODULES:
        importlib.import_module(f"moeisr_plugin.archs.{module}")
    if name in NETWORKS:
        return NETWORKS[name]
    with toolbox_needed(name):
        import basicsr  # noqa: F401  registers the networks on it, too
        from basicsr.utils.registry import ARCH_REGISTRY
    return ARCH_REGISTRY.get(name)
