"""Rendering a grid matches the forward pass at the coordinates of its pixels."""

import pytest
import torch
from references import TINY_ENCODER, Reference, grid_queries, lively, picture

from moeisr_plugin import render
from moeisr_plugin.archs.coordinates import make_coord
from moeisr_plugin.archs.experts import Expert
from moeisr_plugin.archs.implicit_arch import LIIF, LTE, MoEISRLIIF, MoEISRLTE
from moeisr_plugin.render.grid import grid_axis

NETWORKS = {
    "LIIF": lambda: LIIF(encoder=TINY_ENCODER, hidden_dim=6),
    "LTE": lambda: LTE(encoder=TINY_ENCODER, hidden_dim=6, num_freq_features=8),
    "MoEISRLIIF": lambda: MoEISRLIIF(encoder=TINY_ENCODER, hidden_dim=6),
    "MoEISRLIIF no ensemble": lambda: MoEISRLIIF(encoder=TINY_ENCODER, hidden_dim=6, local_ensemble=False),
    "MoEISRLTE": lambda: MoEISRLTE(encoder=TINY_ENCODER, hidden_dim=6, num_freq_features=8),
}


@pytest.mark.parametrize(
    ("band_queries", "block_bytes", "blended_pixels"), [(1, 1, 1), (2000, 10**6, 10**6), (10**6, 5000, 50)]
)
@pytest.mark.parametrize("size", [(13, 22), (5, 7), (16, 8)])
@pytest.mark.parametrize("name", NETWORKS)
def test_rendering_matches_the_forward_pass(
    name, size, band_queries, block_bytes, blended_pixels, monkeypatch
):
    monkeypatch.setattr("moeisr_plugin.render.engine._BAND_QUERIES", {"cpu": band_queries})
    monkeypatch.setattr("moeisr_plugin.render.engine._BLENDED_PIXELS", {"cpu": blended_pixels})
    monkeypatch.setattr("moeisr_plugin.render.grid_decoder._BLOCK_BYTES", {"cpu": block_bytes})
    net, lr = lively(NETWORKS[name]()).double().eval(), picture(2, 5, 7)
    rendered = render.render(net, render.encode(net, lr), size)
    coord = make_coord(*size, dtype=torch.float64).expand(2, -1, -1)
    cell = torch.tensor([2 / n for n in size], dtype=torch.float64).expand(2, -1)
    expected = net(lr, coord, cell).rgb.detach()
    assert rendered.shape == (2, 3, *size)
    torch.testing.assert_close(rendered.flatten(2).transpose(1, 2), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", NETWORKS)
def test_float32_is_close_to_float64(name):
    """The frequencies of LTE amplify rounding errors."""
    net, lr = lively(NETWORKS[name]()), picture(2, 5, 7)
    rounded = render.render(net, render.encode(net, lr.float()), (13, 22))
    net = net.double()
    exact = render.render(net, render.encode(net, lr), (13, 22)).float()
    tolerance = 1e-4 if "LTE" in name else 1e-5
    torch.testing.assert_close(rounded, exact, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("size", [(13, 22), (1, 40), (6, 7)])
@pytest.mark.parametrize("lr_size", [(5, 7), (1, 6), (1, 1)])
@pytest.mark.parametrize("name", NETWORKS)
def test_rendering_matches_the_equations_of_the_papers(name, lr_size, size):
    net, lr = lively(NETWORKS[name]()), picture(1, *lr_size)
    scale = [n / n_lr for n, n_lr in zip(size, lr_size, strict=True)]
    clip = [max(s / 4, 1) if name.endswith("LTE") else 1 for s in scale]
    cell = torch.tensor([[2 / n * c for n, c in zip(size, clip, strict=True)]], dtype=torch.float64)
    coord = grid_queries(1, *size)
    expected = Reference(net)(lr, coord, cell)
    net = net.double()
    rendered = render.render(net, render.encode(net, lr), size)
    # In LIIF's formula, rounding decides at the centres of the last row and column.
    last = (1 - 1 / torch.tensor(lr_size, dtype=torch.float64) - coord[0]).abs() < 1e-12
    decided = ~last.any(dim=1)
    torch.testing.assert_close(
        rendered.flatten(2).transpose(1, 2)[:, decided], expected[:, decided], rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize("network", [LTE, MoEISRLTE])
def test_cells_beyond_the_trained_scale_are_clipped(network):
    net = lively(network(encoder=TINY_ENCODER, hidden_dim=6, num_freq_features=8, max_trained_scale=2))
    lr = picture(1, 5, 7)
    cell = torch.tensor([[2 / (2 * 5), 2 / 10]], dtype=torch.float64)  # of 15x10, clipped in y only
    expected = Reference(net)(lr, grid_queries(1, 15, 10), cell)
    net = net.double()
    rendered = render.render(net, render.encode(net, lr), (15, 10))
    decided = grid_queries(1, 15, 10)[0, :, 0] < 0.75  # rounding decides elsewhere; see above
    torch.testing.assert_close(
        rendered.flatten(2).transpose(1, 2)[:, decided], expected[:, decided], rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize("name", ["MoEISRLIIF", "MoEISRLTE"])
def test_hidden_states_of_a_step_are_limited_at_any_scale(name, monkeypatch):
    sizes, finish = [], Expert.finish

    def watch(expert, hidden):
        sizes.append(hidden.nbytes)
        return finish(expert, hidden)

    monkeypatch.setattr(Expert, "finish", watch)
    monkeypatch.setattr("moeisr_plugin.render.grid_decoder._BLOCK_BYTES", {"cpu": 100_000})
    net, lr = lively(NETWORKS[name]()), picture(1, 1, 2).float()
    render.render(net, render.encode(net, lr), (150, 230))
    assert sum(sizes) > 2 * 100_000 * torch.get_num_threads()
    assert max(sizes) <= 100_000 * torch.get_num_threads()


@pytest.mark.parametrize("local_ensemble", [True, False])
@pytest.mark.parametrize(
    ("size", "latent_size", "count"), [(50, 50, 2), (75, 25, 6), (20, 4, 10), (37, 10, 8)]
)
def test_each_output_pixel_has_one_slot_per_latent(size, latent_size, count, local_ensemble):
    """At the border, both neighbours are the same latent and share a slot."""
    axis = grid_axis(size, latent_size, local_ensemble=local_ensemble, dtype=torch.float64)
    assert axis.offsets.shape == (latent_size, count if local_ensemble else count // 2)
    assert axis.offsets[axis.index, axis.slot].equal(axis.rel)
    for latent in range(latent_size):
        pixels = (axis.index == latent).any(0).nonzero()[:, 0]  # output pixels
        slots = [set(axis.slot[:, n][axis.index[:, n] == latent].tolist()) for n in pixels]
        assert sorted(slots, key=min) == [{slot} for slot in range(len(pixels))]


def test_one_encoding_can_be_rendered_at_several_sizes():
    net, lr = lively(NETWORKS["MoEISRLIIF"]()).train(), picture(1, 5, 7).float()
    encoding = render.encode(net, lr)
    for size in ((10, 14), (31, 9)):
        first, second = (render.render(net, encoding, size) for _ in range(2))
        assert torch.equal(first, second)
        assert first.shape == (1, 3, *size)


def test_rendering_in_float64_returns_float64():
    net = lively(NETWORKS["MoEISRLTE"]()).double()
    assert render.render(net, render.encode(net, picture(1, 5, 7)), (9, 12)).dtype == torch.float64


@pytest.mark.parametrize(
    ("name", "decibels"), [("LIIF", 35), ("MoEISRLIIF", 35), ("LTE", 15), ("MoEISRLTE", 15)]
)
def test_bfloat16_is_close_to_float32(name, decibels):
    """Coordinates must stay in float32, because bfloat16 cannot resolve the columns of an image."""
    net, lr, size = lively(NETWORKS[name]()), picture(1, 20, 200).float(), (41, 600)
    encoding = render.encode(net, lr)
    exact = render.render(net, encoding, size)
    rounded = render.render(net.bfloat16(), encoding._replace(latent=encoding.latent.bfloat16()), size)
    assert rounded.dtype == torch.float32
    noise = (rounded - exact).square().mean() / exact.var()
    assert -10 * noise.log10() > decibels


def test_an_output_without_pixels_is_refused():
    net = lively(NETWORKS["LIIF"]())
    with pytest.raises(ValueError, match="0x12 has no pixels"):
        render.render(net, render.encode(net, picture(1, 5, 7).float()), (0, 12))


def test_expert_map_and_colours():
    net = lively(NETWORKS["MoEISRLIIF"]())
    encoding = render.encode(net, picture(2, 5, 7).float())
    experts = render.expert_map(encoding)
    assert torch.equal(experts, encoding.scores.argmax(1))
    colours = render.colour_experts(experts, 4)
    assert colours.shape == (2, 5, 7, 3)
    assert colours.dtype == torch.uint8
    red, green, blue = (colours[..., c].int() for c in range(3))
    assert ((red > 200) & (green > 200) & (blue < 100))[experts == 0].all()  # yellow, the shallowest
    assert ((red > 150) & (green < 100) & (blue < 100))[experts == 3].all()  # red, the deepest
    for num_experts in (2, 3, 4, 6):
        ramp = render.colour_experts(torch.arange(num_experts)[None], num_experts)[0]
        assert len({tuple(colour) for colour in ramp.tolist()}) == num_experts
