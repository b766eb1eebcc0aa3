"""Encoding in tiles matches encoding the whole image."""

import pytest
import torch
from references import lively, picture
from torch.nn import functional as F

from moeisr_plugin import render
from moeisr_plugin.archs.encoders.edsr_encoder_arch import EDSREncoder
from moeisr_plugin.archs.encoders.rdn_encoder_arch import RDNEncoder
from moeisr_plugin.archs.encoders.swinir_encoder_arch import SwinIREncoder
from moeisr_plugin.archs.encoders.toolbox_encoder_arch import ToolboxEncoder
from moeisr_plugin.archs.implicit_arch import LIIF, LTE, MoEISRLIIF, MoEISRLTE
from moeisr_plugin.render.encoding import Tiling, encoder_tiling, in_tiles, spans

pytestmark = pytest.mark.slow

SWINIR = {"embed_dim": 12, "depths": [2, 2, 2], "num_heads": [2, 3, 2], "window_size": 4}


def toolbox(arch, **params):
    return lambda: ToolboxEncoder(arch=arch, params=params)


LOCAL = {
    "EDSR": lambda: EDSREncoder(num_feat=4, num_block=2),
    "RDN": lambda: RDNEncoder(num_feat=4, num_block=2, num_layer=2, num_grow_ch=3),
    "toolbox EDSR": toolbox("EDSR", num_feat=6, num_block=1),
    "MSRResNet": toolbox("MSRResNet", num_feat=6, num_block=2),
    "RRDBNet": toolbox("RRDBNet", num_feat=6, num_block=1, num_grow_ch=3),
}
UNBOUNDED = {
    "SwinIR": lambda: SwinIREncoder(**SWINIR),
    "toolbox SwinIR": toolbox("SwinIR", **SWINIR, img_size=16),
    "RCAN": toolbox("RCAN", num_feat=6, num_group=2, num_block=2, squeeze_factor=3),
}


def untiled(net, lr):
    with torch.no_grad():
        return net.encode(lr)


def assert_same(encoding, expected, tolerance):
    for tiled, whole in ((encoding.latent, expected.latent), (encoding.scores, expected.scores)):
        assert tiled.dtype == whole.dtype
        assert (tiled - whole).abs().max() <= tolerance * whole.abs().max()


# --- with a halo: equal ---


@pytest.mark.parametrize(("size", "tile"), [((37, 23), 9), ((29, 43), 21), ((1, 40), 13), ((17, 5), 1)])
@pytest.mark.parametrize("name", LOCAL)
def test_tiles_with_a_halo_match_the_whole_image(name, size, tile):
    net = lively(MoEISRLIIF(encoder=LOCAL[name](), hidden_dim=6, mapper_depth=3)).eval()
    assert net.encoder.halo is not None
    lr = picture(2, *size)
    assert_same(render.encode(net, lr.float(), tile=tile), untiled(net, lr.float()), 1e-5)
    net = net.double()
    assert_same(render.encode(net, lr, tile=tile), untiled(net, lr), 1e-12)


@pytest.mark.parametrize("options", [{"mapper_depth": 1}, {"mapper_kernel_size": 5, "mapper_hidden_dim": 3}])
def test_scores_match_the_whole_image_for_any_mapper(options):
    net = lively(MoEISRLTE(encoder=LOCAL["EDSR"](), hidden_dim=6, **options)).eval().double()
    lr = picture(1, 41, 26)
    assert_same(render.encode(net, lr, tile=11), untiled(net, lr), 1e-12)


@pytest.mark.parametrize("make", [LIIF, LTE])
def test_networks_with_one_expert_can_be_tiled(make):
    net, lr = lively(make(encoder=LOCAL["EDSR"](), hidden_dim=6)).eval().double(), picture(1, 19, 26)
    encoding = render.encode(net, lr, tile=8)
    assert encoding.lr is lr
    assert_same(encoding, untiled(net, lr), 1e-12)
    assert encoding.scores.shape == (1, 1, 19, 26)


def test_a_tile_is_computed_with_its_halo_and_no_more():
    """The size of a tile limits memory."""
    net, seen = lively(MoEISRLIIF(encoder=LOCAL["EDSR"](), hidden_dim=6)).eval(), []
    for part in (net.encoder, net.mapper):
        part.register_forward_pre_hook(lambda module, given: seen.append((module, given[0].shape[2:])))
    render.encode(net, picture(1, 70, 90).float(), tile=20)
    halo = {net.encoder: 6, net.mapper: 5}
    assert {module for module, _ in seen} == set(halo)
    assert max(max(size) - 2 * halo[module] for module, size in seen) <= 20
    assert len(seen) == 2 * 4 * 5


def test_an_image_of_at_most_one_tile_is_encoded_in_one_step():
    net, seen = lively(MoEISRLIIF(encoder=LOCAL["EDSR"](), hidden_dim=6)).eval(), []
    net.encoder.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape))
    render.encode(net, picture(2, 20, 12).float(), tile=20)
    render.encode(net, picture(1, 60, 50).float())
    assert seen == [(2, 3, 20, 12), (1, 3, 60, 50)]


def test_tiles_are_halved_while_a_gpu_is_out_of_memory():
    net, lr, seen = lively(MoEISRLIIF(encoder=LOCAL["EDSR"](), hidden_dim=6)).eval(), picture(1, 150, 290), []

    def allocate(module, given):
        seen.append(given[0].shape[2] * given[0].shape[3])
        if seen[-1] > 100 * 100:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    net.double().encoder.register_forward_pre_hook(allocate)
    encoding = render.encode(net, lr)
    assert seen[:2] == [150 * 290, (75 + 6) * (145 + 6)]
    assert len(seen) == 2 + 3 * 5
    net.encoder._forward_pre_hooks.clear()
    assert_same(encoding, untiled(net, lr), 1e-12)


def test_the_mapper_halves_its_tiles_independently():
    net, lr, seen = lively(MoEISRLIIF(encoder=LOCAL["EDSR"](), hidden_dim=6)).eval(), picture(1, 90, 70), []

    def allocate(module, given):
        seen.append(module)
        if len(seen) == 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    for part in (net.double().encoder, net.mapper):
        part.register_forward_pre_hook(allocate)
    encoding = render.encode(net, lr)
    assert seen[:2] == [net.encoder, net.mapper]
    assert set(seen[2:]) == {net.mapper}
    assert len(seen) > 3
    for part in (net.encoder, net.mapper):
        part._forward_pre_hooks.clear()
    assert_same(encoding, untiled(net, lr), 1e-12)


def test_out_of_memory_in_the_smallest_tile_is_raised():
    net, tried = LIIF(encoder=LOCAL["EDSR"](), hidden_dim=6).eval(), []

    def allocate(module, given):
        tried.append(given[0].shape[2:])
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    net.encoder.register_forward_pre_hook(allocate)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        render.encode(net, picture(1, 7, 200).float())
    assert len(tried) == 3


def test_encoding_in_bfloat16_returns_bfloat16():
    net, lr = lively(MoEISRLIIF(encoder=LOCAL["EDSR"](), hidden_dim=6)).bfloat16(), picture(1, 30, 21)
    encoding = render.encode(net, lr.bfloat16(), tile=9)
    assert encoding.latent.dtype == encoding.scores.dtype == torch.bfloat16
    assert_same(encoding, untiled(net, lr.bfloat16()), 0.05)


@pytest.mark.parametrize("tile", [0, -3])
def test_a_tile_without_pixels_is_refused(tile):
    net = LIIF(encoder=LOCAL["EDSR"](), hidden_dim=6)
    with pytest.raises(ValueError, match=f"tile is {tile}; give"):
        render.encode(net, picture(1, 5, 7).float(), tile=tile)


# --- tilings ---

TILINGS = [
    Tiling(7, context=3),
    Tiling(1, context=0),
    Tiling(9, context=4, blend=8),
    Tiling(16, context=8, blend=8, grid=4),
    Tiling(10, context=9, blend=4, grid=3),
    Tiling(2, context=8, blend=16, grid=8),
]


@pytest.mark.parametrize("n", [1, 2, 7, 8, 15, 16, 17, 33, 101])
@pytest.mark.parametrize("tiling", TILINGS)
def test_weights_of_tiles_sum_to_1(tiling, n):
    total = torch.zeros(n)
    for span in spans(n, tiling):
        assert span.weight.shape == total[span.computed].shape
        assert (span.weight >= 0).all()
        total[span.computed] += span.weight
    torch.testing.assert_close(total, torch.ones(n), rtol=0, atol=1e-6)


@pytest.mark.parametrize("n", [8, 33, 101])
@pytest.mark.parametrize("tiling", TILINGS)
def test_tiles_are_on_the_grid_and_have_their_context(tiling, n):
    for span in spans(n, tiling):
        assert span.computed.start % tiling.grid == 0
        assert span.computed.stop % tiling.grid == 0 or span.computed.stop == n
        used = span.weight.nonzero()[:, 0]
        margin = tiling.context - tiling.blend // 2
        assert used[0] >= margin or span.computed.start == 0
        assert len(span.weight) - 1 - used[-1] >= margin or span.computed.stop == n
        assert len(span.weight) <= max(tiling.tile, tiling.grid) + 2 * tiling.context


def test_tiles_are_blended_linearly():
    left, right = (span.weight for span in spans(16, Tiling(8, context=2, blend=4)))
    assert left.tolist() == [1, 1, 1, 1, 1, 1, 0.875, 0.625, 0.375, 0.125]
    assert right.tolist() == [0.125, 0.375, 0.625, 0.875, 1, 1, 1, 1, 1, 1]


def test_pointwise_functions_do_not_depend_on_tiles():
    x = picture(2, 33, 21)
    for tiling in TILINGS:
        torch.testing.assert_close(in_tiles(lambda part: 3 * part, x, tiling), 3 * x, rtol=1e-7, atol=0)


@pytest.mark.parametrize(("name", "grid"), [("SwinIR", 4), ("toolbox SwinIR", 4), ("RCAN", 1)])
def test_tiles_without_a_halo_are_aligned_to_windows_and_blended(name, grid):
    tiling = encoder_tiling(UNBOUNDED[name](), 512)
    assert (tiling.tile, tiling.grid) == (512, grid)
    assert tiling.context % grid == 0
    assert tiling.context >= 32
    assert 1 < tiling.blend <= 2 * tiling.context


# --- without a halo: close ---


def smooth_picture(height, width):
    return F.interpolate(picture(1, height // 3, width // 3).float(), (height, width), mode="bicubic").clamp(
        0, 1
    )


def errors_by_column(tiled, whole):
    """Return the RMS error of columns and of their differences, in standard deviations of the latent."""
    error = (tiled - whole) / whole.std()
    return [part.square().mean((0, 1, 2)).sqrt() for part in (error, error.diff(dim=3))]


@pytest.mark.parametrize("name", UNBOUNDED)
def test_errors_at_tile_borders_are_like_those_inside(name, monkeypatch):
    """RCAN uses means over the whole image, so tiles cause an error, but the same everywhere."""
    # With one thread, only one of the two results compared would use Winograd convolutions.
    monkeypatch.setattr("moeisr_plugin.render.convolutions.winograd_is_faster", lambda picture: False)
    net = lively(MoEISRLIIF(encoder=UNBOUNDED[name](), hidden_dim=6)).eval()
    lr, border = smooth_picture(90, 120), 60
    encoding, expected = render.encode(net, lr, tile=64), untiled(net, lr)
    error, step = errors_by_column(encoding.latent, expected.latent)
    near = torch.zeros(120, dtype=torch.bool)
    near[border - 10 : border + 10] = True
    assert error.max() < 0.01
    assert error[near].max() <= 2 * error[~near].max() + 1e-6
    detail = (expected.latent.diff(dim=3) / expected.latent.std()).square().mean().sqrt()
    assert step.max() < 0.02 * detail
    torch.testing.assert_close(encoding.scores, net.mapper(encoding.latent.clone()).detach())


@pytest.mark.parametrize("name", ["SwinIR", "toolbox SwinIR"])
def test_the_error_of_a_small_context_is_small(name, monkeypatch):
    monkeypatch.setattr("moeisr_plugin.render.encoding._LARGE_CONTEXT", 8)
    net, lr = lively(MoEISRLIIF(encoder=UNBOUNDED[name](), hidden_dim=6)).eval(), smooth_picture(90, 120)
    error, step = errors_by_column(render.encode(net, lr, tile=64).latent, untiled(net, lr).latent)
    assert 1e-6 < error.max() < 0.01
    assert step.max() < 0.01
    shifted = in_tiles(lambda part: net.encoder((part - 0.5) / 0.5), lr, Tiling(61, context=8))
    assert (
        errors_by_column(shifted, untiled(net, lr).latent)[0].max() > 3 * error.max()
    )  # without alignment to windows
