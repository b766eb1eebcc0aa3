"""What keeps a machine from computing with 8-bit codes."""

import pytest
import torch

from moeisr_plugin.ops import int8, int8_support
from moeisr_plugin.ops.int8 import Int8Linear

needs_int8 = pytest.mark.skipif(int8_support.obstacle() is not None, reason=str(int8_support.obstacle()))


@pytest.fixture(autouse=True)
def fresh():
    int8_support.obstacle.cache_clear()
    yield
    int8_support.obstacle.cache_clear()


def test_torch_without_the_operators(monkeypatch):
    monkeypatch.setattr(int8, "onednn", object())
    assert int8_support.obstacle() == "this PyTorch lacks the operators of oneDNN"


@pytest.mark.parametrize("capability", ["DEFAULT", "AVX2"])
def test_a_cpu_without_avx512(monkeypatch, capability):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert int8_support.obstacle() == "this CPU lacks AVX-512 VNNI"


@needs_int8
def test_a_cpu_without_vnni(monkeypatch):
    monkeypatch.setattr(int8_support, "_has_vnni", lambda: False)
    assert int8_support.obstacle() == "this CPU lacks AVX-512 VNNI"


@needs_int8
def test_operators_that_saturate(monkeypatch):
    monkeypatch.setattr(Int8Linear, "__call__", lambda *_: torch.full((4, 64), 32767.0))
    assert int8_support.obstacle() == "oneDNN does not compute exactly with 8-bit codes here"


@needs_int8
def test_operators_with_other_arguments(monkeypatch):
    class Other:
        qconv2d_pointwise = qlinear_prepack = qconv_prepack = staticmethod(lambda: None)

    monkeypatch.setattr(int8, "onednn", Other())
    assert int8_support.obstacle() == "oneDNN does not compute exactly with 8-bit codes here"
