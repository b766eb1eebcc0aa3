"""A record of a routed network does not keep the routing of its example: recording raises."""

from typing import Any

import pytest
import torch
from references import TINY_ENCODER, lively
from torch.fx.experimental.proxy_tensor import make_fx

from moeisr_plugin import render
from moeisr_plugin.archs.ciaosr_arch import MoEISRCiaoSR
from moeisr_plugin.archs.implicit_arch import LIIF, LTE, MoEISRLIIF, MoEISRLTE
from moeisr_plugin.archs.recording import refuse_recording

pytestmark = [
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
ROUTED = {
    "MoEISRLIIF": lambda: MoEISRLIIF(encoder=TINY_ENCODER, hidden_dim=6),
    "MoEISRLTE": lambda: MoEISRLTE(encoder=TINY_ENCODER, hidden_dim=6, num_freq_features=8),
    "without ensemble": lambda: MoEISRLIIF(encoder=TINY_ENCODER, hidden_dim=6, local_ensemble=False),
}
SINGLE = {
    "LIIF": lambda: LIIF(encoder=TINY_ENCODER, hidden_dim=6),
    "LTE": lambda: LTE(encoder=TINY_ENCODER, hidden_dim=6, num_freq_features=8),
}


def inputs(*, seed=0, count=20):
    generator = torch.Generator().manual_seed(seed)
    lr, coord = torch.rand(1, 3, 6, 7, generator=generator), torch.rand(1, count, 2, generator=generator)
    return lr, coord * 2 - 1, torch.tensor([[0.1, 0.13]])


def decoded(net):
    """Return a function of the example's encoding, coordinates and cell."""
    return lambda lr, coord, cell: net.decode(net.encode(lr), coord, cell)


RECORDERS = {
    "torch.jit.trace": lambda net, example: torch.jit.trace(net, example, check_trace=False),
    "torch.export": lambda net, example: torch.export.export(net, example),
    "make_fx": lambda net, example: make_fx(decoded(net))(*example),
}


@pytest.mark.parametrize(
    ("name", "recorder"),
    [
        *((name, "torch.jit.trace") for name in ROUTED),
        ("MoEISRLTE", "make_fx"),
        pytest.param("MoEISRLTE", "torch.export", marks=pytest.mark.slow),
    ],
)
def test_recording_a_routed_network_raises_with_the_remedy(name, recorder):
    net = lively(ROUTED[name]()).eval()
    with pytest.raises(
        RuntimeError, match=r"keep the routing of its example.*moeisr export WEIGHTS"
    ) as caught:
        RECORDERS[recorder](net, inputs())
    assert recorder in str(caught.value)


def test_a_mixture_on_ciaosr_cannot_be_traced():
    net = lively(MoEISRCiaoSR(encoder=TINY_ENCODER, hidden_dim=6, depth=3, expert_depths=(2, 3))).eval()
    with pytest.raises(RuntimeError, match="keep the routing of its example"):
        make_fx(decoded(net))(*inputs())
    with pytest.raises((RuntimeError, TypeError)):  # torch itself fails before the routing
        torch.jit.trace(net, inputs(), check_trace=False)


@pytest.mark.parametrize("dynamo", [pytest.param(True, marks=pytest.mark.slow), False])
def test_onnx_export_of_a_routed_network_raises_with_the_remedy(tmp_path, dynamo):
    pytest.importorskip("onnxscript", reason='pip install ".[onnx]"')
    net = lively(ROUTED["MoEISRLIIF"]()).eval()

    class Positional(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, lr, coord, cell):
            return self.net(lr, coord, cell).rgb

    with pytest.raises(Exception, match="moeisr export WEIGHTS"):
        torch.onnx.export(Positional(), inputs(), str(tmp_path / "net.onnx"), dynamo=dynamo, verbose=False)
    assert not (tmp_path / "net.onnx").exists()


def test_rendering_a_routed_network_cannot_be_traced():
    net = lively(ROUTED["MoEISRLIIF"]()).eval().requires_grad_(False)
    with pytest.raises(RuntimeError, match="keep the routing of its example"):
        torch.jit.trace(lambda lr: render.render(net, render.encode(net, lr), (9, 11)), inputs()[0])


@pytest.mark.parametrize("name", SINGLE)
def test_a_trace_of_a_network_with_one_expert_holds_for_other_pictures(name):
    """It has no routing. As any trace, it holds for pictures of the size of the example."""
    net = lively(SINGLE[name]()).eval()
    with torch.no_grad():
        traced: Any = torch.jit.trace(net, inputs(), check_trace=False)
        for seed in (1, 2):
            lr, coord, cell = inputs(seed=seed)
            torch.testing.assert_close(traced(lr, coord, cell)[0], net(lr, coord, cell).rgb)


def test_computing_is_not_recording():
    refuse_recording()
