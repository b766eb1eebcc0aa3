"""A window equals the same part of the whole rendering, and costs what its own size needs."""

import itertools

import numpy as np
import pytest
import torch
from references import TINY_ENCODER, grid_queries, lively, picture
from skimage import data
from torch.utils._python_dispatch import TorchDispatchMode

from moeisr_plugin import render
from moeisr_plugin.archs.ciaosr_arch import CiaoSR, MoEISRCiaoSR
from moeisr_plugin.archs.implicit_arch import LIIF, LTE, MoEISRLIIF, MoEISRLTE
from moeisr_plugin.checkpoints.network import network_from
from moeisr_plugin.render.bounds import alpha_bounds, colour_bounds
from moeisr_plugin.render.encoded_picture import EncodedPicture
from moeisr_plugin.render.window import AxisWindow, Window, checked_window
from moeisr_plugin.upscaler import encode_layers

NETWORKS = {
    "LIIF": lambda: LIIF(encoder=TINY_ENCODER, hidden_dim=6),
    "LTE": lambda: LTE(encoder=TINY_ENCODER, hidden_dim=6, num_freq_features=8),
    "MoEISRLIIF": lambda: MoEISRLIIF(encoder=TINY_ENCODER, hidden_dim=6),
    "MoEISRLIIF no ensemble": lambda: MoEISRLIIF(encoder=TINY_ENCODER, hidden_dim=6, local_ensemble=False),
    "MoEISRLTE": lambda: MoEISRLTE(encoder=TINY_ENCODER, hidden_dim=6, num_freq_features=8),
    "CiaoSR": lambda: CiaoSR(encoder=TINY_ENCODER, hidden_dim=6, depth=3),
    "MoEISRCiaoSR": lambda: MoEISRCiaoSR(encoder=TINY_ENCODER, hidden_dim=6, depth=3, expert_depths=(2, 3)),
}


def network(name):
    return lively(NETWORKS[name]()).eval()


def encoded(net, pixels):
    return EncodedPicture(net, pixels, encode_layers(net, pixels))


def random_parts(rng, lr_size, count):
    """Yield sizes of whole renderings, and the rows and columns of a part of each."""
    for _ in range(count):
        size = (int(rng.integers(1, 5 * lr_size[0])), int(rng.integers(1, 5 * lr_size[1])))
        ends = [sorted(rng.choice(n + 1, 2, replace=False).tolist()) for n in size]
        yield size, slice(*ends[0]), slice(*ends[1])


def window_of(lr_size, size, rows, columns):
    """Return the window that covers rows and columns of a whole rendering."""
    step_y, step_x = (n / total for n, total in zip(lr_size, size, strict=True))
    return Window(rows.start * step_y, columns.start * step_x, rows.stop * step_y, columns.stop * step_x)


def test_200_random_windows_equal_the_same_part_of_the_whole(monkeypatch):
    rng, lr_size = np.random.default_rng(0), (5, 6)
    lr = picture(1, *lr_size)
    for name in NETWORKS:
        net = network(name).double()
        encoding = render.encode(net, lr)
        for size, rows, columns in random_parts(rng, lr_size, 29):
            whole = render.render(net, encoding, size)
            window = window_of(lr_size, size, rows, columns)
            net.queries_at_a_time = int(rng.choice([50, 10**6]))  # in one band, or in several
            monkeypatch.setattr("moeisr_plugin.render.engine._BAND_QUERIES", {"cpu": net.queries_at_a_time})
            shape = (rows.stop - rows.start, columns.stop - columns.start)
            part = render.render(net, encoding, shape, window)
            torch.testing.assert_close(part, whole[:, :, rows, columns], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["tiny_LIIF", "tiny_LTE", "tiny_MoEISR_LIIF_s"])
def test_windows_of_shipped_networks_equal_the_whole_in_float32(name):
    rng, lr_size = np.random.default_rng(1), (11, 13)
    net, lr = network_from(name), torch.from_numpy(data.chelsea()[100:111, 100:113]).permute(2, 0, 1)[None]
    encoding = render.encode(net, lr / 255)
    for size, rows, columns in random_parts(rng, lr_size, 12):
        whole = render.render(net, encoding, size)
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        part = render.render(net, encoding, shape, window_of(lr_size, size, rows, columns))
        torch.testing.assert_close(part, whole[:, :, rows, columns], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_windows_between_pixels_match_the_forward_pass(name):
    net, lr_size, size = network(name).double(), (6, 7), (5, 9)
    lr = picture(1, *lr_size)
    top, left, bottom, right = window = Window(1.37, 0.21, 4.8, 6.93)
    places = (grid_queries(1, *size) + 1) / 2  # in the window, from 0 to 1
    extent = torch.tensor([bottom - top, right - left], dtype=torch.float64)
    lr_pixels = torch.tensor(lr_size, dtype=torch.float64)
    coord = 2 * (torch.tensor([top, left], dtype=torch.float64) + places * extent) / lr_pixels - 1
    cell = 2 * extent / torch.tensor(size) / lr_pixels
    if "LTE" in name:
        cell = cell.maximum(0.5 / lr_pixels)
    with torch.no_grad():
        expected = net(lr, coord, cell[None]).rgb.mT.unflatten(2, size)
    rendered = render.render(net, render.encode(net, lr), size, window)
    torch.testing.assert_close(rendered, expected, rtol=1e-9, atol=1e-9)


class Work(TorchDispatchMode):
    """Counts the numbers that operations write."""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        for declared, each in zip(func._schema.returns, [found], strict=False):
            if isinstance(each, torch.Tensor) and declared.alias_info is None:
                self.total += each.numel()
        return found


@pytest.mark.parametrize("call", ["window", "coordinates", "bounds"])
@pytest.mark.parametrize("name", NETWORKS)
def test_work_follows_the_window_and_not_the_picture(name, call):
    net, work = network(name), []
    for factor in (1, 8):
        lr_size = (12 * factor, 10 * factor)
        lr = torch.rand(1, 3, *lr_size)
        latent = torch.rand(1, net.refined_channels, *lr_size).to(memory_format=torch.channels_last)
        encoding = render.encode(net, lr[:, :, :2, :2])._replace(
            lr=lr, latent=latent, scores=torch.zeros(1, max(1, len(net.experts)), *lr_size)
        )
        window, size = Window(3.1, 2.2, 6.5, 5.7), (17, 19)
        with torch.inference_mode(), Work() as counter:
            if call == "window":
                render.render(net, encoding, size, window)
            elif call == "coordinates":
                coord = torch.rand(50, 2, dtype=torch.float64) * 0.2 / factor
                render.render_at(net, encoding, coord, (0.02 / factor, 0.02 / factor))
            else:
                for kind in (colour_bounds, alpha_bounds):
                    kind(lr, window).clamp(torch.rand(1, 3, *size), first_row=0, size=size)
        work.append(counter.total)
    assert work[1] <= (1.5 if call == "coordinates" else 1.05) * work[0]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(7, 9), (7, 9, 3), (7, 9, 4)])
def test_windows_of_pictures_have_their_bounds_channels_and_type(shape, dtype):
    net, rng = network("MoEISRLIIF"), np.random.default_rng(1)
    pixels = rng.random(shape) if dtype == np.float32 else rng.random(shape) * np.iinfo(dtype).max
    pixels = encoded(net, pixels.astype(dtype))
    for size, rows, columns in random_parts(rng, (7, 9), 12):
        size = (size[0] + 7, size[1] + 9)
        whole = pixels.render(size=size)
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        part = pixels.render(window=window_of((7, 9), size, rows, columns), size=shape)
        assert part.dtype == dtype
        assert part.shape == whole[rows, columns].shape
        difference = np.abs(part.astype(float) - whole[rows, columns])
        assert difference.max() <= (1e-5 if dtype == np.float32 else 1)  # rounding at half a level


def test_values_of_a_window_stay_within_the_bounds_of_its_pixels():
    pixels = np.zeros((6, 8, 3), np.float32)
    pixels[:, 4:] = 1
    net = lively(NETWORKS["LIIF"]())
    with torch.no_grad():
        net.experts[0].layers[-1].bias.fill_(9.0)  # far too bright
    flat = encoded(net, pixels).render(window=(1.3, 0.2, 4.1, 2.9), size=(11, 13))
    assert flat.max() == 0


@pytest.mark.parametrize("name", ["LTE", "MoEISRLIIF", "CiaoSR"])
@pytest.mark.parametrize("factors", [(2, 2), (10, 5), (1, 4)])
def test_a_reduced_window_is_the_area_average_of_the_rendering_at_full_size(name, factors):
    size, lr_size = (3, 4), (30, 24)
    net, lr = network(name), picture(1, *lr_size)[0].permute(1, 2, 0).numpy().astype(np.float32)
    window = (0, 1, size[0] * factors[0], 1 + size[1] * factors[1])
    full = encoded(net, lr).render(scale=1)[: window[2], 1 : window[3]]
    blocks = full.reshape(size[0], factors[0], size[1], factors[1], 3)
    reduced = encoded(net, lr).render(window=window, size=size)
    np.testing.assert_allclose(reduced, blocks.mean((1, 3)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", [0.1, 0.37, 0.5, (0.25, 3), 1, 2.3])
def test_any_scale_has_its_size_and_stripes_do_not_alias(scale):
    stripes = np.zeros((40, 40, 3), np.uint8)
    stripes[::2] = 255
    net = lively(NETWORKS["LIIF"]())
    pixels = encoded(net, stripes)
    found = pixels.render(window=(5.5, 3, 35.5, 33), scale=scale)
    scale_y, scale_x = np.broadcast_to(scale, 2)
    assert found.shape == (round(30 * scale_y), round(30 * scale_x), 3)
    if scale_y <= 0.25:
        grid = pixels.render(window=(5.5, 3, 35.5, 33), scale=1)
        assert found.astype(float).std(axis=0).max() < 0.35 * grid.astype(float).std(axis=0).max() + 1


def test_expert_maps_and_shares_of_windows():
    net = network("MoEISRLIIF")
    pixels = encoded(net, (picture(1, 7, 9)[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8))
    whole = pixels.expert_map()
    assert whole is not None
    np.testing.assert_array_equal(pixels.expert_map((1.5, 2, 3.2, 6)), whole[1:4, 2:6])
    np.testing.assert_array_equal(pixels.expert_map((1.2, 2.9, 1.3, 2.95)), whole[1:2, 2:3])
    chosen = render.expert_map(pixels._encodings[0])[0].numpy()
    shares = pixels.expert_shares()
    assert list(shares) == [2, 3, 4, 5]
    np.testing.assert_allclose([*shares.values()], np.bincount(chosen.ravel(), minlength=4) / 63)
    weights = np.outer([0.5, 1, 0.2], [1, 1, 1, 1]) / (1.7 * 4)
    expected = [(weights * (chosen[1:4, 2:6] == j)).sum() for j in range(4)]
    np.testing.assert_allclose([*pixels.expert_shares((1.5, 2, 3.2, 6)).values()], expected)
    assert encoded(network("LIIF"), np.zeros((4, 4), np.uint8)).expert_shares() == {5: 1.0}


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ((0, 0, 5), "give four finite numbers: top, left, bottom and right"),
        (3, "give four finite numbers"),
        ("0,0,1,1", "give four finite numbers"),
        (((0, 1), (2,)), "give four finite numbers"),
        ((0, 0, float("nan"), 1), "give four finite numbers"),
        ((0, 0, float("inf"), 1), "give four finite numbers"),
        ((2, 0, 2, 1), "window 2,0,2,1 is empty; give a bottom greater than the top"),
        ((0, 3, 1, 1), "is empty; give a bottom greater than the top, and a right than the left"),
        ((-0.1, 0, 1, 1), "reaches beyond the picture; give edges between 0 and 7 for top and bottom"),
        ((0, 0, 7.1, 1), "reaches beyond the picture"),
        ((0, 0, 1, 9.01), "between 0 and 9 for left and right"),
        ((8, 0, 9, 1), "reaches beyond the picture"),
    ],
)
def test_wrong_windows_are_refused_with_the_remedy(window, message):
    pixels = encoded(network("MoEISRLIIF"), np.zeros((7, 9, 3), np.uint8))
    for call in (
        lambda: pixels.render(window=window, size=(2, 2)),
        lambda: pixels.render_bands(window=window, scale=2),
        lambda: pixels.expert_map(window),
        lambda: pixels.expert_shares(window),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give either scale or size"),
        ({"scale": 0}, "give a number greater than 0"),
        ({"scale": float("nan")}, "give a number greater than 0"),
        ({"scale": (1, 2, 3)}, "give a number greater than 0"),
        ({"size": (0, 3)}, "no pixels; give a height and a width of at least 1"),
        ({"size": (2.0, 3)}, "two whole numbers"),
    ],
)
def test_wrong_sizes_of_windows_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        encoded(network("LIIF"), np.zeros((7, 9, 3), np.uint8)).render(window=(0, 0, 2, 2), **arguments)


def test_a_smaller_output_without_a_window_names_the_window_that_reduces():
    with pytest.raises(ValueError, match=r"or window=\(0, 0, 7, 9\) to reduce it"):
        encoded(network("LIIF"), np.zeros((7, 9, 3), np.uint8)).render(size=(3, 4))


def test_rounding_errors_at_the_edges_are_forgiven():
    assert checked_window((-1e-9, 0, 7 + 1e-9, 9), (7, 9)) == (0, 0, 7, 9)
    assert checked_window(np.array([0, 1, 2, 3], np.float32), (7, 9)) == (0, 1, 2, 3)


def test_windows_on_the_grid_of_a_whole_rendering_have_its_coordinates():
    for n, total in itertools.product((7, 480, 4001), (13, 1000, 30_001)):
        whole = AxisWindow(n, 0, n, total).centres(torch.float32)
        first, stop = total // 3, total // 3 + max(1, total // 7)
        part = AxisWindow(n, first * n / total, stop * n / total, stop - first)
        assert part.total == total
        assert torch.equal(part.centres(torch.float32), whole[first:stop])
