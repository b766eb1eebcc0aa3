"""Casting a network to the precision of rendering."""

import pytest
import torch
from references import TINY_ENCODER

from moeisr_plugin.archs.implicit_arch import MoEISRLIIF, MoEISRLTE
from moeisr_plugin.render.casting import to_precision


@pytest.mark.parametrize("precision", ["bfloat16", "float16", "float32", "tf32"])
@pytest.mark.parametrize("mixture", [MoEISRLIIF, MoEISRLTE])
def test_all_parameters_are_cast_except_the_angles_of_lte(mixture, precision):
    net = to_precision(mixture(encoder=TINY_ENCODER, hidden_dim=6), precision)
    dtype = torch.float32 if precision == "tf32" else getattr(torch, precision)
    precise = {"embedding.freq.weight", "embedding.freq.bias", "embedding.phase.weight"}
    for name, parameter in net.named_parameters():
        assert parameter.dtype == (torch.float32 if name in precise else dtype), name
    assert net.allow_tf32 == (precision == "tf32")
