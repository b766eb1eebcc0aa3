"""Exported networks as ONNX models."""

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from moeisr_plugin import __version__
from moeisr_plugin.archs.implicit_network import ImplicitNetwork
from moeisr_plugin.exporting.graphs import Graph, exported

OLDEST_OPSET, NEWEST_OPSET = 18, 22
"""The versions of the ONNX operators that can be written."""


def onnx_models(net: ImplicitNetwork, *, opset: int = OLDEST_OPSET) -> dict[str, Any]:
    """Return the ONNX models of a network.

    Args:
        net: LIIF, LTE or a mixture on one of them, in float32 or float16, on the CPU.
        opset: version of the ONNX operators, from `OLDEST_OPSET` to `NEWEST_OPSET`.

    Returns:
        ``{"encoder": model, "decoder": model}``, each an `onnx.ModelProto`.

    Raises:
        ValueError: the network cannot be exported, or a package of the extra `onnx` is missing; one line.
    """
    require_onnx()
    graphs = exported(net)
    dtype = str(next(net.encoder.parameters()).dtype).removeprefix("torch.")
    about = {
        "producer": f"moeisr_plugin {__version__}",
        "network": json.dumps(net.hyper_parameters),
        "precision": dtype,
        "experts": str(len(net.experts)),
        # Empty for an encoder whose latents depend on the whole image, however large.
        "context": "" if graphs.context is None else str(graphs.context),
    }
    return {
        name: _model(graph, opset, {**about, "part": name})
        for name, graph in (("encoder", graphs.encoder), ("decoder", graphs.decoder))
    }


def require_onnx() -> None:
    """Check that the packages of the extra `onnx` are installed.

    Raises:
        ValueError: one of them is not; one line with the remedy.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise ValueError(
            f'ONNX needs the package {error.name}; install it with pip install ".[onnx]", or export in the '
            "format pt2"
        ) from error


def _model(graph: Graph, opset: int, metadata: Mapping[str, str]) -> Any:
    """Return an `onnx.ModelProto` with names for its inputs, outputs and free sizes."""
    import onnx

    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            graph.program,
            dynamo=True,
            opset_version=opset,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    for values, named in ((model.graph.input, graph.inputs), (model.graph.output, graph.outputs)):
        for value, (name, axes) in zip(values, named.items(), strict=True):
            assert value.name == name, f"{value.name} is not {name}"
            for dim, axis in zip(value.type.tensor_type.shape.dim, axes, strict=True):
                if axis is not None:
                    dim.dim_param = axis
    # Names of sizes inside the graph are no longer those of its inputs; and records of the source code name
    # folders of this machine.
    del model.graph.value_info[:]
    for part in (model, model.graph, *_parts(model)):
        part.doc_string = ""
        del part.metadata_props[:]
    model.producer_name, model.producer_version = "moeisr_plugin", __version__
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    return model


def _parts(model: Any) -> Iterator[Any]:
    """Yield all nodes, values and functions of a model."""
    graphs = [model.graph, *model.functions]
    for graph in graphs:
        yield from graph.node
    yield from (*model.graph.input, *model.graph.output, *model.graph.initializer, *model.functions)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's log and warnings, which do not concern users, off the terminal."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
