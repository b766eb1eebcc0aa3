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

from moeisr_plugin.utils.missing import missing_package
from moeisr_plugin.utils.plugins import import_installed

NETWORKS: dict[str, type[nn.Module]] = {}
"""The networks of this package that have been imported."""

_MODULES = (
    "implicit_arch",
    "ciaosr_arch",
    "encoders.edsr_encoder_arch",
    "encoders.rdn_encoder_arch",
    "encoders.network_encoder_arch",
)
_MODULES_ON_TOOLBOX = ("encoders.swinir_encoder_arch", "encoders.toolbox_encoder_arch")
"""Modules whose networks are made of toolbox networks."""

_OWN_PACKAGES = ("moeisr_plugin", "basicsr")

_Network = TypeVar("_Network", bound=type[nn.Module])


class UnknownNetworkError(ValueError):
    """No network of this name is registered, or the toolbox, which may have it, is not installed.

    Attributes:
        network: the name.
    """

    def __init__(self, network: str, message: str | None = None) -> None:
        super().__init__(
            message
            or f"there is no network {network}; give the module that registers it by --import MODULE, or by "
            "import: [MODULE] in an option file"
        )
        self.network = network


def register(network: _Network) -> _Network:
    """Register a network under the name of its class; use as a decorator.

    Raises:
        ValueError: a class of another module has this name; checkpoints would build the wrong one.
    """
    name, other = network.__name__, NETWORKS.get(network.__name__, network)
    if other.__module__ != network.__module__:
        raise ValueError(
            f"the network {name} of {network.__module__} has the name of one of {other.__module__}; rename it"
        )
    NETWORKS[name] = network
    if "basicsr.utils.registry" in sys.modules:
        _register_with_toolbox(network)
    return network


def register_with_toolbox() -> None:
    """Import all networks of this package and register them with the toolbox, which must be installed."""
    for module in (*_MODULES, *_MODULES_ON_TOOLBOX):
        importlib.import_module(f"moeisr_plugin.archs.{module}")
    for network in NETWORKS.values():
        _register_with_toolbox(network)
    import_installed()


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
        UnknownNetworkError: no such network is registered. If the toolbox is not installed, the message says
            so.
    """
    parameters = dict(deepcopy(options))
    network = find_network(parameters.pop("type"))(**parameters)
    logging.getLogger("basicsr").info(f"Network [{type(network).__name__}] is created.")
    return network


def own_network(name: str) -> type[nn.Module] | None:
    """Return the network of this package with a name, or None; those that need the toolbox may be missing."""
    network = _registered(name)
    return network if network is not None and _package(network) == "moeisr_plugin" else None


def _registered(name: str) -> type[nn.Module] | None:
    """Return the network that is registered here under a name, or None."""
    if name not in NETWORKS:
        for module in _MODULES:
            importlib.import_module(f"moeisr_plugin.archs.{module}")
    return NETWORKS.get(name)


def find_network(name: str) -> type[nn.Module]:
    """Return the network of this package, of another one or of the toolbox with a name.

    Raises:
        UnknownNetworkError: see :func:`build_network`.
    """
    if (network := _registered(name)) is not None:
        return network
    import_installed()
    if name in NETWORKS:
        return NETWORKS[name]
    try:
        import basicsr  # noqa: F401  registers the networks on it, too
        from basicsr.utils.registry import ARCH_REGISTRY
    except ModuleNotFoundError as error:
        raise UnknownNetworkError(name, missing_package(name, error.name)) from error
    known = dict(iter(ARCH_REGISTRY))  # its `get` prints the names that it tries
    found = known.get(name) or known.get(f"{name}_basicsr")
    if found is None:
        raise UnknownNetworkError(name)
    return found


def modules_of(options: Mapping[str, Any]) -> dict[str, str]:
    """Return the modules of the networks of other packages in nested options, by registered name."""
    found: dict[str, str] = {}
    for value in options.values():
        if isinstance(value, Mapping):
            found |= modules_of(value)
    name = options.get("type")
    network = _loaded(name) if isinstance(name, str) else None
    if network is not None and _package(network) not in (*_OWN_PACKAGES, "__main__"):
        found[str(name)] = network.__module__
    return found


def _package(network: type[nn.Module]) -> str:
    return network.__module__.partition(".")[0]


def _loaded(name: str) -> type[nn.Module] | None:
    """Return a registered network without importing anything."""
    toolbox = sys.modules.get("basicsr.utils.registry")
    known = dict(iter(toolbox.ARCH_REGISTRY)) if toolbox else {}
    return NETWORKS.get(name) or known.get(name)
