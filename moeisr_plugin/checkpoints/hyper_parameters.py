"""Check hyper-parameters from a file by the signature of the network that they describe."""

import inspect
import math
from collections.abc import Iterator, Mapping
from typing import Any

from moeisr_plugin.archs.registry import own_network


def check_hyper_parameters(hyper_parameters: Mapping[str, Any]) -> None:
    """Check numbers and switches, also those of the encoder, before anything is built from them.

    Classes of other packages check theirs themselves: what they take is not known, such as -1 for an axis.

    Raises:
        ValueError: a number is negative, not finite or no number, or a switch is not true or false.
    """
    for key, value in _wrong("network_g", hyper_parameters):
        raise ValueError(f"{key} is {_shown(value)}, which describes no network")


def _wrong(key: str, options: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the key and the value of each wrong option."""
    network = own_network(str(options.get("type")))
    parameters = {} if network is None else inspect.signature(network).parameters
    for name, value in options.items():
        path = f"{key}.{name}"
        if isinstance(value, Mapping):
            yield from _wrong(path, value)
        elif network is not None and not _has_kind_of(
            getattr(parameters.get(str(name)), "default", None), value
        ):
            yield path, value


def _has_kind_of(default: Any, value: Any) -> bool:
    """Return whether a value has the kind of the default, and its numbers are finite and not negative."""
    if isinstance(value, list | tuple):
        return (default is None or not isinstance(default, int | float)) and all(
            _has_kind_of(None, each) for each in value
        )
    if isinstance(default, bool):
        return isinstance(value, bool)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return math.isfinite(value) and value >= 0 and (not isinstance(default, int) or value == int(value))
    return not isinstance(default, int | float)


def _shown(value: Any) -> str:
    """Return a value, cut off after 40 characters."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
