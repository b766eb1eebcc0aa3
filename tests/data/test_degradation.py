"""Random blur, noise and JPEG compression of LR patches."""

import io

import numpy as np
import pytest
import torch
from picture_files import noise, write_folder
from PIL import Image
from skimage import data
from torch.utils.data import DataLoader

from moeisr_plugin.data import ArbitraryScaleDataset
from moeisr_plugin.data import degradation as degradations
from moeisr_plugin.data.degradation import Blur, Degradation, Jpeg, Noise
from moeisr_plugin.data.sample_order import Position, SampleOrder

SMALL = {"lr_size": 11, "sample_q": 64}
ALL = {
    "blur": {"sigma": [0.3, 1.5], "probability": 0.7},
    "noise": {"sigma": [1, 20], "gray_probability": 0.4, "probability": 0.7},
    "jpeg": {"quality": [30, 95], "probability": 0.7},
}


def photograph(height, width):
    """Return a crop of a photograph, float32 RGB in [0, 1] with values of 8 bits."""
    return data.astronaut()[100 : 100 + height, 180 : 180 + width].astype(np.float32) / 255


def bytes_of(patch):
    values = patch * np.float32(255)
    np.testing.assert_allclose(values, np.rint(values), atol=1e-4)
    return np.rint(values).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "hr", {f"{i}.png": noise(50 + i, 60 - i, seed=i) for i in range(5)})


def dataset(folder, **opt):
    return ArbitraryScaleDataset({"dataroot_gt": folder, **SMALL, **opt})


def lq(samples):
    return torch.stack([sample["lq"] for sample in samples])


def test_only_the_lr_changes_and_a_seed_gives_one_patch(folder):
    plain, degraded = dataset(folder), dataset(folder, degradation=ALL)
    changed = 0
    for seed in range(20):
        sample, other = (each.sample(seed % 5, seed=(0, 1, seed)) for each in (plain, degraded))
        for key in ("gt", "coord", "cell"):
            assert torch.equal(sample[key], other[key])
        changed += not torch.equal(sample["lq"], other["lq"])
        assert other["lq"].shape == (3, 11, 11)
        assert other["lq"].dtype == torch.float32
        np.random.seed(seed)  # the global states have no influence
        torch.manual_seed(seed)
        assert torch.equal(degraded.sample(seed % 5, seed=(0, 1, seed))["lq"], other["lq"])
    assert 15 <= changed <= 20  # 1 - 0.3³ of them are expected to


@pytest.mark.parametrize(
    "opt", [{}, {"degradation": None}, {"degradation": {}}, {"degradation": {"jpeg": None}}]
)
def test_without_operations_a_sample_is_the_downsampled_crop(folder, opt):
    """The expected patch is drawn by the documented protocol, independently of the dataset."""
    rng = np.random.default_rng(7)
    picture = noise(50, 60, seed=0)
    n = round(11 * rng.uniform(1, 4))
    top, left = rng.integers(50 - n + 1), rng.integers(60 - n + 1)
    crop = Image.fromarray(picture[top : top + n, left : left + n])
    lr = np.asarray(crop.resize((11, 11), Image.Resampling.BICUBIC)) / np.float32(255)
    sample = dataset(folder, use_hflip=False, use_rot=False, **opt).sample(0, seed=7)
    np.testing.assert_array_equal(sample["lq"].permute(1, 2, 0).numpy(), lr)


@pytest.mark.parametrize("workers", [0, 2])
def test_patches_depend_on_neither_workers_nor_interruptions(folder, workers):
    degraded = dataset(folder, degradation=ALL)
    order = SampleOrder(degraded, 1, 0, 2, seed=3)
    order.set_epoch(4)
    whole = lq(degraded[request] for request in order)
    resumed = SampleOrder(degraded, 1, 0, 2, seed=3, begin=Position(4, 6))
    resumed.set_epoch(4)
    loader = DataLoader(degraded, batch_size=2, sampler=resumed, num_workers=workers)
    assert torch.equal(torch.cat([batch["lq"] for batch in loader]), whole[6:])


def test_qualities_cover_their_range_and_reach_the_encoder(monkeypatch):
    used = []

    def compress(patch, quality):
        used.append(quality)
        return patch

    monkeypatch.setattr(degradations, "_compress", compress)
    jpeg = Jpeg(quality=[40, 43])
    patch, rng = photograph(9, 13), np.random.default_rng(0)
    for _ in range(100):
        np.testing.assert_array_equal(jpeg.apply(patch, rng), patch)  # cut out of the padded one
    assert set(used) == {40, 41, 42, 43}


def test_jpeg_is_that_of_a_crop_at_any_offset_of_the_grid():
    """A patch of one unit, compressed with Pillow at the 256 offsets: each result is one of those."""
    patch = photograph(16, 16)
    padded = np.pad(bytes_of(patch), ((16, 16), (16, 16), (0, 0)), mode="symmetric")
    expected = {}
    for top in range(16):
        for left in range(16):
            file = io.BytesIO()
            units = padded[16 - top : 48 - top if top else 32, 16 - left : 48 - left if left else 32]
            Image.fromarray(units).save(file, "JPEG", quality=35, subsampling="4:2:0")
            pixels = np.asarray(Image.open(file))[top : top + 16, left : left + 16]
            expected[pixels.tobytes()] = (top, left)
    rng = np.random.default_rng(0)
    found = {expected[bytes_of(Jpeg(quality=[35, 35]).apply(patch, rng)).tobytes()] for _ in range(150)}
    assert {top for top, _ in found} == {left for _, left in found} == set(range(16))


def test_lower_quality_is_farther_from_the_patch():
    patch = photograph(41, 37)
    errors = [
        np.abs(Jpeg(quality=[quality, quality]).apply(patch, np.random.default_rng(0)) - patch).mean()
        for quality in (95, 60, 30)
    ]
    assert 0.001 < errors[0] < errors[1] < errors[2] < 0.1


def test_noise_has_the_stated_deviation_and_may_be_grey():
    grey = np.full((301, 211, 3), 0.5, np.float32)
    rng = np.random.default_rng(0)
    coloured = Noise(sigma=[8, 8]).apply(grey, rng) - grey
    assert coloured.std(axis=(0, 1)) == pytest.approx(np.full(3, 8 / 255), rel=0.02)
    assert np.abs(np.corrcoef(coloured.reshape(-1, 3).T) - np.eye(3)).max() < 0.02
    same = Noise(sigma=[8, 8], gray_probability=1).apply(grey, rng) - grey
    assert np.ptp(same, axis=2).max() == 0
    assert same.std() == pytest.approx(8 / 255, rel=0.02)
    drawn = [255 * (Noise(sigma=[2, 6]).apply(grey[:90], rng) - 0.5).std() for _ in range(60)]
    assert 1.95 < min(drawn) < 2.4
    assert 5.6 < max(drawn) < 6.1


def test_blur_spreads_a_point_by_the_stated_deviations():
    point = np.zeros((63, 63, 3), np.float32)
    point[31, 31] = 1
    offset = np.arange(63) - 31
    rng, deviations = np.random.default_rng(0), []
    for _ in range(60):
        spread = Blur(sigma=[1, 2.5]).apply(point, rng)[..., 0].astype(float)
        assert spread.sum() == pytest.approx(1, abs=1e-5)
        rows, columns = np.meshgrid(offset, offset, indexing="ij")
        covariance = np.cov(np.stack([rows.ravel(), columns.ravel()]), aweights=spread.ravel(), ddof=0)
        deviations += list(np.sqrt(np.linalg.eigvalsh(covariance)))
    assert 0.98 < min(deviations) < 1.15
    assert 2.2 < max(deviations) < 2.52


def test_operations_follow_the_order_of_the_keys():
    patch = photograph(32, 24)
    smooth_last = {"noise": {"sigma": [30, 30]}, "blur": {"sigma": [2, 2]}}
    rough_last = dict(reversed(smooth_last.items()))
    smooth, rough = (
        np.abs(np.diff(Degradation(opt)(patch, np.random.default_rng(0)), axis=0)).mean()
        for opt in (smooth_last, rough_last)
    )
    assert 4 * smooth < rough


def test_the_result_has_eight_bits():
    patch = photograph(15, 22) * np.float32(0.777)
    result = Degradation({"noise": {"sigma": [3, 3]}})(patch, np.random.default_rng(0))
    assert result.dtype == np.float32
    bytes_of(result)


@pytest.mark.parametrize("probability", [0, 0.25, 1])
def test_operations_are_applied_by_their_chance(probability):
    patch, rng = photograph(8, 8), np.random.default_rng(0)
    degrade = Degradation({"noise": {"sigma": [20, 20], "probability": probability}})
    share = np.mean([not np.array_equal(degrade(patch, rng), patch) for _ in range(400)])
    assert share == pytest.approx(probability, abs=0.06)


def test_a_patch_of_one_pixel_is_no_exception():
    patch = photograph(1, 1)
    opt = {name: {**args, "probability": 1} for name, args in ALL.items()}
    assert Degradation(opt)(patch, np.random.default_rng(0)).shape == (1, 1, 3)


def test_channels_are_compressed_as_rgb():
    """Blue detail of chroma is lost sooner than green detail, which is most of the luma."""
    rng = np.random.default_rng(0)
    stripes = np.zeros((16, 16, 3), np.float32)
    stripes[:, ::2] = 1
    losses = []
    for channel in (1, 2):
        patch = stripes * np.eye(3, dtype=np.float32)[channel]
        losses.append(np.abs(Jpeg(quality=[90, 90]).apply(patch, rng) - patch)[..., channel].mean())
    assert losses[1] > 1.2 * losses[0]


@pytest.mark.parametrize(
    ("opt", "message"),
    [
        ({"jpg": {"quality": [30, 95]}}, r"degradation\.jpg: unknown; known are blur, noise, jpeg"),
        ({"jpeg": {"quality": [95, 30]}}, r"jpeg\.quality is \[95, 30\]; give \[smallest, largest\], both"),
        ({"jpeg": {"quality": [0, 30]}}, "between 1 and 100"),
        ({"blur": {"sigma": [0, 1]}}, r"blur\.sigma is \[0, 1\]"),
        ({"noise": {"sigma": [0, 1], "probability": 1.5}}, r"noise\.probability is 1\.5; give a number"),
    ],
)
def test_invalid_values_are_one_line(opt, message):
    with pytest.raises(ValueError, match=message) as error:
        Degradation(opt)
    assert "\n" not in str(error.value)
