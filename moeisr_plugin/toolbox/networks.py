"""Load networks safely, from torch and from safetensors files."""

from typing import Any

from torch import nn

from moeisr_plugin.utils.tensor_files import AVERAGED


def mend_base_model(base_model: Any) -> None:
    """Load networks from safetensors, too, without running code, and report a misfit in one line.

    Mends `BaseModel.load_network` in basicsr/models/base_model.py:277, which unpickles any object before
    torch 2.6. Can go when the toolbox passes `weights_only` and reads safetensors.
    """
    base_model.BaseModel.load_network = load_network


def load_network(
    model: Any, net: nn.Module, load_path: str, strict: bool = True, param_key: str | None = "params"
) -> None:
    """Load a network from a checkpoint as the toolbox does.

    Args:
        model: the toolbox model that owns the network.
        net: the network, bare or wrapped for several processes.
        load_path: the checkpoint, of torch or safetensors, or the name of a bundled network.
        strict: refuse a file that does not fit; otherwise load what fits, and log the rest.
        param_key: the entry to load. The weights themselves replace missing averaged ones (`params_ema`).
            None for a file that has no entries.

    Raises:
        ValueError: one line, if the file cannot be read, has no such entry or does not fit.
    """
    from basicsr.utils import get_root_logger

    from moeisr_plugin.archs.pretrained import check_fit, read_weights
    from moeisr_plugin.checkpoints.network import default_entry, located

    net = model.get_bare_model(net)
    load_path = str(located(load_path))
    if param_key == AVERAGED:
        param_key = default_entry(load_path)
    weights = read_weights(load_path, param_key)
    get_root_logger().info(f"Loading {type(net).__name__} from {load_path}{_stated(param_key)}.")
    if strict:
        check_fit(weights, net.state_dict(), load_path, type(net).__name__)
    else:
        model._print_different_keys_loading(net, weights, strict)  # also renames what has another shape
    net.load_state_dict(weights, strict=strict)


def _stated(param_key: str | None) -> str:
    named = f"averaged weights ({AVERAGED})" if param_key == AVERAGED else param_key
    return f": {named}" if named else ""
