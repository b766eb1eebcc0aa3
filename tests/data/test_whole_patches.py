"""Whole HR patches as pictures: their pixels, coordinates, and one size in a batch."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from moeisr_plugin.data.arbitrary_scale_dataset import ArbitraryScaleDataset
from moeisr_plugin.data.sample_order import SampleRequest
from moeisr_plugin.data.whole_patches import as_picture, cut_alike


def dataset_of(folder, **more):
    return ArbitraryScaleDataset({"dataroot_gt": str(folder), "lr_size": 12, "sample_q": "all", **more})


def looked_up(sample, size):
    """Return the picture that the coordinates of a sample name, in an HR patch of this size."""
    height, width = size
    rows, columns = (
        ((sample["coord"][:, axis].double() + 1) * side / 2 - 0.5).round().long()
        for axis, side in ((0, height), (1, width))
    )
    return rows.view(sample["gt"].shape[1:]), columns.view(sample["gt"].shape[1:])


def test_the_picture_holds_the_pixels_that_queries_would_sample(photographs):
    side = round(12 * 2.6)
    whole = dataset_of(photographs, scale_range=[2.6, 2.6])
    queries = dataset_of(photographs, scale_range=[2.6, 2.6], sample_q=side**2)
    for seed in range(4):  # with different flips
        picture, sampled = (each.sample(seed % 2, seed=seed) for each in (whole, queries))
        assert picture["gt"].shape == (3, side, side)
        assert torch.equal(picture["lq"], sampled["lq"])
        assert torch.equal(picture["cell"], sampled["cell"])
        rows, columns = looked_up({**sampled, "gt": picture["gt"]}, (side, side))
        placed = torch.empty_like(picture["gt"])
        placed[:, rows.flatten(), columns.flatten()] = sampled["gt"].t()
        assert torch.equal(picture["gt"], placed)
        order = (rows * side + columns).flatten().argsort()
        assert torch.equal(picture["coord"], sampled["coord"][order])


def test_patches_of_a_batch_have_one_scale_and_batches_differ(photographs):
    dataset = dataset_of(photographs, scale_range=[1, 4])
    torch.manual_seed(3)
    sizes = []
    for batch in DataLoader(dataset, batch_sampler=[[0, 1, 0], [1, 1, 0], [0, 0, 1]]):
        batch_size, channels, height, width = batch["gt"].shape
        assert (batch_size, channels, height) == (3, 3, width)
        assert batch["coord"].shape == (3, height * width, 2)
        assert torch.allclose(batch["cell"], torch.tensor(2 / height))
        sizes.append(height)
    assert len(set(sizes)) == 3
    assert all(12 <= size <= 48 for size in sizes)


def test_scale_of_a_batch_follows_from_its_request_alone(photographs):
    """It is the same in all processes, whose samples alternate, and in a resumed training."""
    sizes = []
    for rank, seed in ((0, 5), (1, 5), (0, 6)):
        dataset = dataset_of(photographs, scale_range=[1, 4])
        dataset._rank = rank
        requests = [SampleRequest(0, 2, 8 + rank, seed), SampleRequest(1, 2, 10 + rank, seed)]
        samples = dataset.__getitems__(requests)
        assert [sample["order_index"] for sample in samples] == [8 + rank, 10 + rank]
        sizes.append(samples[0]["gt"].shape)
        again = dataset.__getitems__(requests)
        assert all(torch.equal(a["gt"], b["gt"]) for a, b in zip(samples, again, strict=True))
    assert sizes[0] == sizes[1] != sizes[2]


def test_batches_with_small_pictures_are_cut_to_one_size(tmp_path):
    generator = np.random.default_rng(0)
    for name, size in (("large", (80, 91)), ("small", (29, 37))):
        pixels = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    dataset = dataset_of(tmp_path, scale_range=[2, 4])
    large, small = cut_alike([dataset.sample(index, seed=0, scale=4.0) for index in (0, 1)])
    assert large["gt"].shape == small["gt"].shape == (3, 29, 29)
    assert large["cell"].tolist() == pytest.approx([2 / 48] * 2)
    assert small["cell"].tolist() == pytest.approx([2 / 29] * 2)
    rows, columns = looked_up(large, (48, 48))
    assert (rows[0, 0], rows[-1, 0], columns[0, 0], columns[0, -1]) == (9, 37, 9, 37)


def test_windows_of_one_size_keep_a_scale_for_each_patch(photographs):
    dataset = dataset_of(photographs, scale_range=[2, 4], hr_size=17)
    whole = dataset_of(photographs, scale_range=[2, 4])
    cells, corners = set(), set()
    for seed in range(6):
        sample, patch = dataset.sample(0, seed=seed), whole.sample(0, seed=seed)
        assert sample["gt"].shape == (3, 17, 17)
        side = patch["gt"].shape[1]
        rows, columns = looked_up(sample, (side, side))
        assert torch.equal(sample["gt"], patch["gt"][:, rows, columns])
        assert torch.equal(sample["lq"], patch["lq"])
        cells.add(sample["cell"][0].item())
        corners.add((rows[0, 0].item(), columns[0, 0].item()))
    assert len(cells) == len(corners) == 6
    batch = next(iter(DataLoader(dataset, batch_size=2)))
    assert batch["gt"].shape == (2, 3, 17, 17)
    assert batch["cell"][0, 0] != batch["cell"][1, 0]


def test_pairs_give_whole_patches(photographs, tmp_path):
    (tmp_path / "hr").mkdir()
    (tmp_path / "lr").mkdir()
    for path in photographs.iterdir():
        with Image.open(path) as picture:
            hr = picture.crop((0, 0, 93, 99))
        hr.save(tmp_path / "hr" / path.name)
        hr.resize((31, 33), Image.Resampling.BICUBIC).save(tmp_path / "lr" / path.name)
    samples = dataset_of(tmp_path / "hr", dataroot_lq=str(tmp_path / "lr")).__getitems__([0, 1])
    assert [sample["gt"].shape for sample in samples] == [(3, 36, 36)] * 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"sample_q": "every"}, "sample_q is 'every'; give a whole number, or all"),
        ({"sample_q": 16, "hr_size": 16}, "hr_size is 16, but needs whole patches; set sample_q: all"),
    ],
)
def test_wrong_forms_are_one_line(more, message, photographs):
    with pytest.raises(ValueError, match=message):
        dataset_of(photographs, **more)


def test_window_larger_than_the_patch_is_one_line(photographs):
    dataset = dataset_of(photographs, scale_range=[1, 1], hr_size=13)
    with pytest.raises(ValueError, match="hr_size is 13, but an HR patch has 12x12 pixels; lower it"):
        dataset.sample(0, seed=0)


def test_colours_are_placed_row_by_row():
    colours = torch.arange(2 * 15 * 3, dtype=torch.float32).view(2, 15, 3)
    picture = as_picture(colours, torch.empty(2, 3, 3, 5))
    for row in range(3):
        for column in range(5):
            assert torch.equal(picture[:, :, row, column], colours[:, row * 5 + column])
    assert as_picture(colours, torch.empty(2, 15, 3)) is colours
