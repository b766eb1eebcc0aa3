"""Training samples, compared with pictures whose pixel values encode their own position."""

import logging
import multiprocessing
import pickle
from functools import partial
from itertools import product
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from basicsr.data import build_dataloader, build_dataset
from basicsr.data.data_sampler import EnlargedSampler
from picture_files import cut_off, noise, positions, write_folder, write_lmdb
from PIL import Image

from moeisr_plugin.archs.coordinates import make_coord
from moeisr_plugin.data import ArbitraryScaleDataset


def symmetry(hflip, vflip, transpose, patch):
    patch = patch[:, ::-1] if hflip else patch
    patch = patch[::-1] if vflip else patch
    return patch.swapaxes(0, 1) if transpose else patch


SMALL = {"lr_size": 8, "sample_q": 64}
NO_FLIPS = {"use_hflip": False, "use_rot": False}
SYMMETRIES = {  # key: (horizontal flip, vertical flip, transposition)
    flips: partial(symmetry, *flips) for flips in product((False, True), repeat=3)
}


def folder_dataset(tmp_path, pictures, **opt):
    root = write_folder(tmp_path / "hr", {f"{i}.png": picture for i, picture in enumerate(pictures)})
    return ArbitraryScaleDataset({"dataroot_gt": root, **SMALL, **opt})


def pixels(sample, scale=255):
    """Return gt as stored values, (Q, 3)."""
    values = sample["gt"].double() * scale
    assert (values - values.round()).abs().max() < 0.01
    return values.round().long().numpy()


def hr_size(sample):
    sizes = (2 / sample["cell"]).numpy()
    np.testing.assert_allclose(sizes, np.rint(sizes), rtol=1e-6)
    return tuple(int(size) for size in np.rint(sizes))


def indices(sample):
    """Return the row and the column of each query in the patch, (Q,) each."""
    height, width = hr_size(sample)
    y, x = ((sample["coord"].double().numpy().T + 1) * [[height], [width]] - 1) / 2
    np.testing.assert_allclose(y, np.rint(y), atol=1e-4)
    np.testing.assert_allclose(x, np.rint(x), atol=1e-4)
    return np.rint(y).astype(int), np.rint(x).astype(int)


def assert_same(a, b):
    assert a.keys() == b.keys()
    for key, value in a.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, b[key]), key


@pytest.mark.parametrize("flips", [{}, NO_FLIPS, {"use_hflip": False}, {"use_rot": False}])
def test_samples_follow_the_published_protocol(tmp_path, flips):
    picture = positions(45, 61)
    dataset = folder_dataset(tmp_path, [picture], **flips)
    seen = set()
    for seed in range(60):
        sample = dataset.sample(0, seed=seed)
        n, n_columns = hr_size(sample)
        assert n == n_columns
        assert 8 <= n <= 32
        y, x = indices(sample)
        assert len(set(zip(y, x, strict=True))) == 64
        rows, columns = pixels(sample)[:, :2].T
        for name, apply in SYMMETRIES.items():
            patch_rows = apply(np.broadcast_to(np.arange(n)[:, None], (n, n)))[y, x]
            patch_columns = apply(np.broadcast_to(np.arange(n), (n, n)))[y, x]
            top, left = rows - patch_rows, columns - patch_columns
            if np.ptp(top) == 0 and np.ptp(left) == 0:
                seen.add(name)
                break
        else:
            pytest.fail("the pixels are not a flipped or transposed crop of the picture")
        crop = picture[top[0] : top[0] + n, left[0] : left[0] + n]
        np.testing.assert_array_equal(pixels(sample), apply(crop)[y, x])
        lr = np.asarray(Image.fromarray(crop).resize((8, 8), Image.Resampling.BICUBIC))
        np.testing.assert_array_equal(sample["lq"].permute(1, 2, 0).numpy(), apply(lr / np.float32(255)))
    hflip, rot = flips.get("use_hflip", True), flips.get("use_rot", True)
    assert seen == {(h, v, t) for h, v, t in SYMMETRIES if (hflip or not h) and (rot or not (v or t))}


def test_coordinates_equal_make_coord_exactly(tmp_path):
    dataset = folder_dataset(tmp_path, [noise(45, 61)])
    sample = dataset.sample(0, seed=3)
    height, width = hr_size(sample)
    y, x = indices(sample)
    assert torch.equal(sample["coord"], make_coord(height, width)[y * width + x])


def test_scales_are_uniform_and_crops_cover_the_picture(tmp_path):
    dataset = folder_dataset(tmp_path, [positions(40, 33)], scale_range=[1.5, 3.5], **NO_FLIPS)
    sizes, rows, columns = [], set(), set()
    for seed in range(600):
        sample = dataset.sample(0, seed=seed)
        sizes.append(hr_size(sample)[0])
        values = pixels(sample)
        rows.update(values[:, 0])
        columns.update(values[:, 1])
    counts = np.bincount(sizes, minlength=29)
    assert set(np.flatnonzero(counts)) == set(range(12, 29))
    inner = counts[13:28]  # the rounding intervals of the first and last size are half as wide
    assert np.abs(inner - 600 / 16).max() < 5 * np.sqrt(600 / 16)
    assert rows == set(range(40))
    assert columns == set(range(33))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bit_pictures_keep_their_precision(tmp_path, channels):
    picture = noise(20, 24, channels=channels, dtype=np.uint16)
    colour = picture[..., [0, 0, 0]] if channels == 1 else picture[..., :3]
    dataset = folder_dataset(tmp_path, [picture], scale_range=[1, 1], **NO_FLIPS)
    sample = dataset.sample(0, seed=0)
    y, x = indices(sample)
    values = pixels(sample, 65535)
    found = [
        (top, left)
        for top in range(13)
        for left in range(17)
        if np.array_equal(colour[top + y, left + x], values)
    ]
    assert len(found) == 1
    # Bicubic resampling at scale 1 is the identity, so the LR is exact, too.
    assert torch.equal(sample["lq"][:, y, x].T, sample["gt"])


def test_16_bit_lr_is_not_rounded_to_8_bits(tmp_path):
    coarse = noise(20, 20)
    fine = folder_dataset(tmp_path / "16", [coarse.astype(np.uint16) * 257], scale_range=[2, 2])
    rounded = folder_dataset(tmp_path / "8", [coarse], scale_range=[2, 2])
    a, b = fine.sample(0, seed=0)["lq"], rounded.sample(0, seed=0)["lq"]
    assert 0.001 / 255 < (a - b).abs().max() < 2.5 / 255
    assert (a * 255 - (a * 255).round()).abs().max() > 0.1


def test_lr_and_hr_pixels_agree_on_smooth_pictures(tmp_path):
    y, x = np.mgrid[:48, :48] / 48
    smooth = np.stack([y, x, (y + x) / 2], axis=2)
    dataset = folder_dataset(tmp_path, [(smooth * 65535).astype(np.uint16)])
    for seed in range(16):
        sample = dataset.sample(0, seed=seed)
        at_queries = torch.nn.functional.grid_sample(
            sample["lq"][None],
            sample["coord"].flip(-1)[None, None],
            align_corners=False,
            padding_mode="border",
        )[0, :, 0].T  # (Q, 3)
        assert (at_queries - sample["gt"]).abs().max() < 0.05  # half an LR pixel is 0.04 at scale 4


def test_scale_range_is_reduced_for_small_pictures_and_logged(tmp_path, caplog):
    logger = logging.getLogger("basicsr")
    logger.addHandler(caplog.handler)
    try:
        dataset = folder_dataset(tmp_path, [noise(20, 50), noise(50, 50)])
    finally:
        logger.removeHandler(caplog.handler)
    assert "1 of 2 pictures are smaller than 32x32" in caplog.text
    sizes = [hr_size(dataset.sample(0, seed=seed))[0] for seed in range(100)]
    assert min(sizes) == 8
    assert max(sizes) == 20
    assert max(hr_size(dataset.sample(1, seed=seed))[0] for seed in range(100)) == 32


def test_pictures_too_small_for_the_smallest_scale_are_refused(tmp_path):
    with pytest.raises(
        ValueError,
        match=r"1\.png: 7x30 is too small for lr_size 8 at scale 1, .* 8x8 .*2 of 3.*lower lr_size",
    ):
        folder_dataset(tmp_path, [noise(20, 50), noise(7, 30), noise(30, 7)])
    exact = folder_dataset(tmp_path / "exact", [noise(8, 8)], scale_range=[1.03, 4])
    assert hr_size(exact.sample(0, seed=0)) == (8, 8)


@pytest.mark.parametrize(
    ("opt", "message"),
    [
        ({"sample_q": 65}, "sample_q is 65, but the smallest HR patches have 64 pixels"),
        ({"scale_range": [4, 1]}, r"scale_range is \[4, 1\]"),
        ({"scale_range": [0.5, 1]}, "both at least 1"),
    ],
)
def test_invalid_options_are_refused(tmp_path, opt, message):
    with pytest.raises(ValueError, match=message):
        folder_dataset(tmp_path, [noise(20, 50)], **opt)


def test_missing_hr_pictures_are_refused(tmp_path):
    root = write_folder(tmp_path, {"a.png": noise(20, 20)})
    with pytest.raises(ValueError, match="dataroot_gt is missing"):
        ArbitraryScaleDataset({"dataroot_lq": root})


@pytest.mark.parametrize("remainder", [-1, 0, 1])
def test_pairs_are_cropped_to_the_same_area(tmp_path, remainder):
    """Each LR pixel stores three times its position, which is the position of its first HR pixel."""
    lr = positions(12, 15)
    hr = positions(36 + remainder, 45 + remainder)
    lr[..., :2] *= 3
    root = {
        "dataroot_gt": write_folder(tmp_path / "hr", {"a.png": hr}),
        "dataroot_lq": write_folder(tmp_path / "lr", {"ax3.png": lr}),
    }
    dataset = ArbitraryScaleDataset({**root, **SMALL, "filename_tmpl": "{}x3", "sample_q": 24**2})
    tops = set()
    for seed in range(60):
        sample = dataset.sample(0, seed=seed)
        assert hr_size(sample) == (24, 24)
        y, x = indices(sample)
        patch = np.zeros((24, 24, 3), int)
        patch[y, x] = pixels(sample)
        # Row and column of the first HR pixel of each LR pixel.
        corners = patch.reshape(8, 3, 8, 3, 3).min(axis=(1, 3))[..., :2]
        np.testing.assert_array_equal((sample["lq"] * 255).round().permute(1, 2, 0)[..., :2], corners)
        tops.add(corners[..., 0].min() // 3)
    assert tops == set(range(5 if remainder >= 0 else 4))


@pytest.mark.parametrize(
    ("hr", "lr", "message"),
    [
        ((30, 30), (40, 40), r"lr/a.png: the LR has 40x40 and the HR only 30x30 pixels \(.*hr/a.png\)"),
        ((14, 20), (7, 10), "too small"),
    ],
)
def test_unsuitable_pairs_are_refused(tmp_path, hr, lr, message):
    root = {
        "dataroot_gt": write_folder(tmp_path / "hr", {"a.png": noise(*hr)}),
        "dataroot_lq": write_folder(tmp_path / "lr", {"a.png": noise(*lr)}),
    }
    with pytest.raises(ValueError, match=message):
        ArbitraryScaleDataset({**root, **SMALL})


@pytest.fixture
def storages(tmp_path) -> dict[str, dict[str, Any]]:
    pictures = {
        f"{name}": noise(30 + i, 40 - i, seed=i) for i, name in enumerate(["b", "a.b", "a-1", "a", "B"])
    }
    suffixes = [".png", ".bmp", ".png", ".tif", ".bmp"]
    folder = write_folder(
        tmp_path / "hr",
        {name + suffix: picture for (name, picture), suffix in zip(pictures.items(), suffixes, strict=True)},
    )
    database = write_lmdb(tmp_path / "hr.lmdb", pictures)
    lmdb = {"dataroot_gt": database, "io_backend": {"type": "lmdb"}}
    disk = {"dataroot_gt": folder, "io_backend": {"type": "disk"}}
    memory = {"cache": "memory"}
    common = {
        "type": "ArbitraryScaleDataset",
        "name": "train",
        "phase": "train",
        "batch_size_per_gpu": 2,
        **SMALL,
    }
    return {
        "lmdb": {**lmdb, **common},
        "disk": {**disk, **common},
        "lmdb, memory": {**lmdb, **memory, **common},
        "disk, memory": {**disk, **memory, **common},
    }


def epochs(opt, *, workers, seed, count=2):
    """Yield the batches of each epoch from the data loader of the toolbox."""
    torch.manual_seed(seed)
    dataset = build_dataset(opt)
    sampler = EnlargedSampler(dataset, 1, 0, ratio=2)
    opt = {**opt, "num_worker_per_gpu": workers}
    loader = build_dataloader(dataset, opt, num_gpu=0, sampler=sampler, seed=seed)
    for epoch in range(count):
        sampler.set_epoch(epoch)
        yield list(loader)


@pytest.mark.parametrize("workers", [0, 2])
def test_all_storages_give_the_same_batches(storages, workers):
    expected = [batch for epoch in epochs(storages["disk"], workers=workers, seed=5) for batch in epoch]
    assert len(expected) == 2 * 5  # 2 epochs of 10 samples (5 pictures, enlarge ratio 2) in batches of 2
    assert expected[0]["lq"].shape == (2, 3, 8, 8)
    assert expected[0]["coord"].shape == (2, 64, 2)
    assert expected[0]["gt"].shape == (2, 64, 3)
    assert expected[0]["cell"].shape == (2, 2)
    for name, opt in storages.items():
        batches = [batch for epoch in epochs(opt, workers=workers, seed=5) for batch in epoch]
        for batch, other in zip(batches, expected, strict=True):
            assert_same(batch, other)
            assert [key.split("/")[-1].rsplit(".", 1)[0] for key in batch["lq_path"]] == [
                key.split("/")[-1].rsplit(".", 1)[0] for key in other["lq_path"]
            ], name


@pytest.mark.parametrize("workers", [0, 2])
def test_samples_differ_between_epochs_workers_and_seeds(storages, workers):
    first, second = epochs(storages["disk"], workers=workers, seed=5)
    (other_seed,) = epochs(storages["disk"], workers=workers, seed=6, count=1)
    coords = [
        tuple(coord.flatten().tolist())
        for epoch in (first, second, other_seed)
        for b in epoch
        for coord in b["coord"]
    ]
    assert len(set(coords)) == len(coords) == 30


@pytest.mark.slow
def test_used_dataset_can_be_sent_to_spawned_workers(storages):
    dataset = ArbitraryScaleDataset(storages["lmdb"])
    torch.manual_seed(1)
    here = dataset[0]
    torch.manual_seed(1)
    assert_same(pickle.loads(pickle.dumps(dataset))[0], here)
    loader = torch.utils.data.DataLoader(
        dataset, num_workers=1, multiprocessing_context=multiprocessing.get_context("spawn")
    )
    assert len(list(loader)) == 5


def test_channels_are_in_rgb_order(tmp_path):
    red = np.zeros((10, 10, 3), np.uint8)
    red[..., 2] = 255
    cv2.imwrite(str(tmp_path / "red.png"), red)
    sample = ArbitraryScaleDataset({"dataroot_gt": str(tmp_path), **SMALL})[0]
    assert torch.equal(sample["gt"], torch.tensor([1.0, 0, 0]).expand(64, 3))
    assert torch.equal(sample["lq"], torch.tensor([1.0, 0, 0]).view(3, 1, 1).expand(3, 8, 8))


def damaged_dataset(tmp_path, **opt):
    """Return a dataset of four pictures, of which 2 and 3 are truncated after the header."""
    pictures = [noise(80, 80, seed=seed) for seed in range(4)]
    dataset = folder_dataset(tmp_path, pictures, **opt)
    for index in (2, 3):
        cut_off(tmp_path / "hr" / f"{index}.png")
    return dataset


def test_damaged_picture_is_named_and_stops_the_training(tmp_path):
    with pytest.raises(ValueError, match=r"2\.png: is damaged or incomplete .*copy or export it again$"):
        damaged_dataset(tmp_path).sample(2, seed=0)


def test_damaged_picture_is_replaced_by_the_next_good_one(tmp_path, caplog):
    dataset = damaged_dataset(tmp_path, skip_bad_pictures=True)
    logger = logging.getLogger("basicsr")
    logger.addHandler(caplog.handler)
    try:
        for index in (2, 3, 2):
            sample, expected = dataset.sample(index, seed=5), dataset.sample(0, seed=5)
            assert sample["gt_path"] == expected["gt_path"]
            assert torch.equal(sample["gt"], expected["gt"])
        assert dataset.sample(1, seed=5)["gt_path"].endswith("1.png")
    finally:
        logger.removeHandler(caplog.handler)
    skipped = [record.getMessage() for record in caplog.records if "Skipped" in record.getMessage()]
    assert [line.split(": ")[1] for line in skipped] == [str(tmp_path / "hr" / f"{i}.png") for i in (2, 3)]
    assert skipped[-1].endswith("(2 of 4 pictures so far)")


def test_training_stops_without_good_pictures(tmp_path):
    dataset = damaged_dataset(tmp_path, skip_bad_pictures=True)
    for index in (0, 1):
        cut_off(tmp_path / "hr" / f"{index}.png")
    with pytest.raises(ValueError, match=r"1\.png: .* \(none of 4 pictures can be read\)"):
        dataset.sample(2, seed=0)
