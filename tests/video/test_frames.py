"""Frames of a clip equal those of pictures, and unchanged parts are not computed anew."""

import numpy as np
import pytest
import torch

from moeisr_plugin.archs.ciaosr_arch import CiaoSR
from moeisr_plugin.archs.implicit_arch import LIIF, LTE, MoEISRLIIF, MoEISRLTE
from moeisr_plugin.checkpoints.network import save_checkpoint
from moeisr_plugin.upscaler import Upscaler
from moeisr_plugin.video.frames import FrameUpscaler

EDSR = {"type": "EDSREncoder", "num_feat": 8, "num_block": 2}
SWINIR = {
    "type": "SwinIREncoder",
    "embed_dim": 12,
    "depths": [2],
    "num_heads": [2],
    "window_size": 4,
    "mlp_ratio": 2,
}
HEIGHT, WIDTH = 59, 41


@pytest.fixture(autouse=True)
def small_steps(monkeypatch):
    """Frames have several tiles and bands."""
    monkeypatch.setattr("moeisr_plugin.render.encoding._TILE", {"cpu": 17})
    monkeypatch.setattr("moeisr_plugin.render.engine._BAND_QUERIES", {"cpu": 9_000})


def upscaler_of(folder, network, encoder, **parameters):
    torch.manual_seed(0)
    net = network(encoder=encoder, **parameters)
    for parameter in net.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)  # not the zeros of biases
    path = folder / "net.pth"
    save_checkpoint(path, {"params": net.state_dict(), "network_g": net.hyper_parameters})
    return Upscaler(path, device="cpu")


NETWORKS = {
    "MoEISRLIIF": (MoEISRLIIF, EDSR, {"hidden_dim": 8}),
    "LIIF": (LIIF, EDSR, {"hidden_dim": 8}),
    "LTE": (LTE, EDSR, {"hidden_dim": 8}),
    "MoEISRLTE": (MoEISRLTE, EDSR, {"hidden_dim": 8}),
    "unbounded": (MoEISRLIIF, SWINIR, {"hidden_dim": 8}),
    "CiaoSR": (CiaoSR, EDSR, {"hidden_dim": 8}),
}


@pytest.fixture(params=NETWORKS)
def upscaler(request, tmp_path):
    network, encoder, parameters = NETWORKS[request.param]
    return upscaler_of(tmp_path, network, encoder, **parameters)


@pytest.fixture
def mixture(tmp_path):
    return upscaler_of(tmp_path, MoEISRLIIF, EDSR, hidden_dim=8)


def clip(dtype: type = np.uint8):
    """Return frames: noise, the same again, single pixels that change, a moving square, and noise."""
    rng = np.random.default_rng(0)
    top = np.iinfo(dtype).max
    frame = rng.integers(0, top, (HEIGHT, WIDTH, 3), dtype=dtype)
    frames = [frame, frame.copy()]
    for row, column in ((0, 0), (21, 30), (58, 40), (35, 1)):
        frame = frame.copy()
        frame[row, column] ^= top
        frames.append(frame)
    for step in range(3):
        moved = frame.copy()
        moved[10 + 5 * step : 16 + 5 * step, 3 : 3 + 6] = top
        frames.append(moved)
    return [*frames, rng.integers(0, top, frame.shape, dtype=dtype), frames[0]]


def work(frames):
    memory = frames.memory
    return np.array([part.computed for part in (memory.encoder, memory.mapper, memory.bands)])


@pytest.mark.slow
@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (137, 77)])
def test_frames_equal_those_of_pictures(upscaler, size):
    frames = FrameUpscaler(upscaler, size)
    for number, frame in enumerate(clip()):
        assert np.array_equal(frames(frame), upscaler(frame, size=size)), number


def test_frames_of_a_mixture_equal_those_of_pictures(mixture):
    frames = FrameUpscaler(mixture, (61, 90))
    for number, frame in enumerate(clip()):
        assert np.array_equal(frames(frame), mixture(frame, size=(61, 90))), number


def test_frames_of_16_bits_equal_those_of_pictures(mixture):
    frames = FrameUpscaler(mixture, (137, 77))
    for frame in clip(np.uint16):
        enlarged = frames(frame)
        assert enlarged.dtype == np.uint16
        assert np.array_equal(enlarged, mixture(frame, size=(137, 77)))


def test_frames_within_a_budget_equal_those_of_pictures(mixture):
    """The budget of a pixel depends on all others, so that a local change may change any part."""
    frames = FrameUpscaler(mixture, (137, 77), budget=0.4)
    for frame in clip():
        expected = mixture.encode(frame).within_budget(0.4).render(size=(137, 77))
        assert np.array_equal(frames(frame), expected)


def test_a_frame_that_repeats_costs_nothing(upscaler):
    frames = FrameUpscaler(upscaler, (61, 45))
    frame = clip()[0]
    first = frames(frame).copy()
    before = work(frames)
    for _ in range(3):
        assert np.array_equal(frames(frame.copy()), first)
    assert (work(frames) == before).all()
    kept, parts = frames.kept
    assert kept == 3 * before.sum()
    assert parts == 4 * before.sum()


def test_a_local_change_costs_little(mixture):
    """A corner changes: its tile and those within the halo are computed, and the upper bands."""
    frames = FrameUpscaler(mixture, (137, 77))
    frame = clip()[0]
    frames(frame)
    of_all = work(frames)
    assert tuple(of_all[:2]) == (4 * 3, 4 * 3)  # 59 x 41 pixels in tiles of up to 17
    assert of_all[2] >= 4
    changed = frame.copy()
    changed[0, 0] ^= 255
    frames(changed)
    tiles, scores, bands = work(frames) - of_all
    assert 0 < tiles <= 2 * 2
    assert 0 < scores <= 2 * 2
    assert 0 < bands < of_all[2]


def test_a_change_within_the_halo_of_a_tile_reaches_it(mixture):
    """The last pixel within the context of a tile, and the first beyond it."""
    halo = mixture.net.encoder.halo
    frame = clip()[0]
    for distance, more in ((halo, 1), (halo + 1, 0)):
        frames = FrameUpscaler(mixture, (137, 77))
        frames(frame)
        before = frames.memory.encoder.computed
        changed = frame.copy()
        border = 14  # of the first row of tiles
        changed[border - 1 + distance, 0] ^= 255
        frames(changed)
        assert frames.memory.encoder.computed - before == 1 + more


def test_a_change_in_any_row_reaches_all_bands_that_depend_on_it(tmp_path, monkeypatch):
    """One expert, because scores change farther around a pixel than latents. 16 bits show small changes."""
    monkeypatch.setattr("moeisr_plugin.render.engine._BAND_QUERIES", {"cpu": 700})
    single = upscaler_of(tmp_path, LIIF, EDSR, hidden_dim=8)
    frames = FrameUpscaler(single, (50, 12))
    frame = np.random.default_rng(1).integers(0, 65535, (33, 8, 3), dtype=np.uint16)
    for row in range(33):
        frame[row, 5] ^= 65535
        assert np.array_equal(frames(frame), single(frame, size=(50, 12))), row
    assert frames.memory.bands.kept > 20


def test_sizes_of_frames_must_agree(mixture):
    frames = FrameUpscaler(mixture, (137, 77))
    frames(clip()[0])
    with pytest.raises(ValueError, match="same size"):
        frames(clip()[0][1:])


def test_smaller_tiles_after_a_shortage_of_memory_are_not_mixed_up(mixture, monkeypatch):
    """A GPU that runs out of memory takes smaller tiles for a frame."""
    frames = FrameUpscaler(mixture, (137, 77))
    for number, frame in enumerate(clip()):
        monkeypatch.setattr("moeisr_plugin.render.encoding._TILE", {"cpu": 17 if number % 3 else 11})
        assert np.array_equal(frames(frame), mixture(frame, size=(137, 77)))


@pytest.mark.slow
def test_frames_of_a_network_that_ships(monkeypatch):
    """It has enough channels and pixels for other convolutions than those above."""
    monkeypatch.setattr("moeisr_plugin.render.encoding._TILE", {"cpu": 64})
    monkeypatch.setattr("moeisr_plugin.render.engine._BAND_QUERIES", {"cpu": 40_000})
    upscaler = Upscaler("tiny_MoEISR_LIIF_s", device="cpu")
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 255, (129, 171, 3), dtype=np.uint8)
    frames = FrameUpscaler(upscaler, (321, 400))
    for row in (None, 3, 70, 128):
        if row is not None:
            frame[row, 100:110] = 0
        assert np.array_equal(frames(frame), upscaler(frame, size=(321, 400)))
    kept, parts = frames.kept
    assert 0 < kept < parts
