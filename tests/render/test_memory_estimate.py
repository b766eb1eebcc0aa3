"""The estimate of memory is below the measured peak, and near it for large pictures."""

import sys

import pytest
from processes import run_python
from references import TINY_ENCODER

from moeisr_plugin.archs.ciaosr_arch import CiaoSR
from moeisr_plugin.checkpoints.network import network_from
from moeisr_plugin.render.memory_estimate import band_memory, encoding_memory

# Prints the growth of the peak while a picture is encoded and rendered.
MEASURE = """
import pathlib, re, sys, torch
from moeisr_plugin import render
from moeisr_plugin.checkpoints.network import network_from
from moeisr_plugin.render.bounds import colour_bounds
net = network_from(sys.argv[1])
height, width = int(sys.argv[2]), int(sys.argv[3])
def peak():
    # getrusage would give the peak of the parent if that is larger.
    return int(re.search(r"VmHWM:\\s*(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]) * 1024
render.render(net, render.encode(net, torch.rand(1, 3, 8, 8)), (12, 12))  # libraries are loaded
before = peak()
encoding = render.encode(net, torch.rand(1, 3, height, width))
bounds = colour_bounds(encoding.lr)
for band in render.render_bands(net, encoding, (height, width)):
    break
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss differs")
@pytest.mark.parametrize(("lr_size", "least"), [((200, 301), 0.4), ((500, 401), 0.5), ((700, 901), 0.6)])
def test_estimate_is_at_most_the_measured_peak_and_near_it(lr_size, least):
    name = "tiny_MoEISR_LIIF_s"
    net = network_from(name)
    estimate = encoding_memory(net, lr_size) + band_memory(net, lr_size, lr_size)
    measured = int(run_python(MEASURE, name, *map(str, lr_size)).stdout)
    assert least * measured < estimate <= 1.05 * measured


def test_estimate_of_encoding_grows_with_the_picture_and_shrinks_with_the_precision():
    import torch

    net = network_from("tiny_MoEISR_LIIF_s")
    small, large = encoding_memory(net, (1000, 1000)), encoding_memory(net, (2000, 2000))
    assert large - small >= 3 * 10**6 * 4 * net.refined_channels  # the latent
    assert encoding_memory(net, (2000, 2000), dtype=torch.bfloat16) < 0.7 * large


def test_a_band_of_a_huge_scale_is_as_large_as_the_output():
    net = network_from("tiny_LIIF")
    assert band_memory(net, (1, 1), (30_000, 30_000)) > 12 * 30_000**2
    assert band_memory(net, (1000, 1000), (2000, 2000)) < 200 * 10**6


def test_a_decoder_that_is_not_folded_has_small_bands_and_may_have_a_wider_latent():
    def made(scales):
        return CiaoSR(encoder=TINY_ENCODER, hidden_dim=6, depth=2, non_local_scales=scales)

    assert band_memory(made(()), (1, 1), (30_000, 30_000)) < 10 * 10**6
    local, wider = (encoding_memory(made(scales), (300, 401)) for scales in ((), (2, 3)))
    assert wider - local == 300 * 401 * 4 * 2 * made(()).latent_channels
