"""Given pairs at any scale: samples of ramps whose pixel values state their own position."""

import numpy as np
import pytest
from picture_files import noise, write_folder, write_lmdb

from moeisr_plugin.data import ArbitraryScaleDataset, ScaleValidationDataset

STEPS = 500  # stored values for one LR pixel


def ramp(size, scale=(1, 1)):
    """Return 16-bit RGB whose red and green are the vertical and horizontal centre in LR pixels."""
    y, x = ((np.arange(n) + 0.5) / s * STEPS for n, s in zip(size, scale, strict=True))
    rows, columns = np.meshgrid(y, x, indexing="ij")
    return np.stack([rows, columns, rows + columns], axis=2).round().astype(np.uint16)


def ramp_pairs(tmp_path, scale, lr=(17, 23)):
    """Write a pair of ramps, and return its options."""
    hr = tuple(round(n * s) for n, s in zip(lr, scale, strict=True))
    return {
        "dataroot_gt": write_folder(tmp_path / "hr", {"a.png": ramp(hr, scale)}),
        "dataroot_lq": write_folder(tmp_path / "lr", {"a.png": ramp(lr)}),
    }


@pytest.mark.parametrize("scale", [(2, 2), (2.5, 2.5), (1.6, 1.6), (2, 3.5), (3.7, 1.3), (1, 1)])
def test_queries_are_where_their_colours_are(tmp_path, scale):
    opt = {**ramp_pairs(tmp_path, scale), "scale": list(scale), "lr_size": 8, "sample_q": 60}
    dataset = ArbitraryScaleDataset(opt)
    transposed = set()
    for seed in range(60):
        sample = dataset.sample(0, seed=seed)
        values = sample["lq"].numpy().astype(float) * 65535 / STEPS  # (3, 8, 8) in LR pixels
        corner = values[:2, 0, 0]
        steps = np.stack([values[:2, 1, 0] - corner, values[:2, 0, 1] - corner], axis=1)  # rows, columns
        positions = (sample["coord"].numpy().astype(float) + 1) / 2 * 8 - 0.5  # (Q, 2) in the patch
        found = sample["gt"].numpy().astype(float)[:, :2] * 65535 / STEPS
        np.testing.assert_allclose(corner + positions @ np.rint(steps).T, found, atol=0.01)
        is_transposed = bool(np.rint(steps)[0, 0] == 0)
        cell = 2 / (8 * np.array(scale[::-1] if is_transposed else scale))
        np.testing.assert_allclose(sample["cell"], cell, rtol=1e-6)
        assert sample["coord"].abs().max() <= 1
        transposed.add(is_transposed)
    assert transposed == {False, True}


def test_queries_cover_every_hr_pixel_within_the_patches(tmp_path):
    opt = {**ramp_pairs(tmp_path, (2.5, 2.5), lr=(10, 10)), "lr_size": 9, "sample_q": 22 * 22}
    dataset = ArbitraryScaleDataset({**opt, "use_hflip": False, "use_rot": False})
    seen = set()
    for seed in range(60):
        seen.update((dataset.sample(0, seed=seed)["gt"][:, 0].double() * 65535).round().int().tolist())
    assert seen == set(ramp((25, 25), (2.5, 2.5))[:, 0, 0].tolist())


@pytest.mark.parametrize("scale", [(2.5, 2.5), (2, 3.5)])
def test_whole_patches_are_pictures_of_one_size_with_exact_coordinates(tmp_path, scale):
    opt = {**ramp_pairs(tmp_path, scale), "scale": list(scale), "lr_size": 7, "sample_q": "all"}
    samples = ArbitraryScaleDataset(opt).__getitems__([0] * 8)
    assert len({sample["gt"].shape for sample in samples}) == 1
    for sample in samples:
        values = sample["lq"].numpy().astype(float) * 65535 / STEPS  # (3, 7, 7) in LR pixels
        corner = values[:2, 0, 0]
        steps = np.stack([values[:2, 1, 0] - corner, values[:2, 0, 1] - corner], axis=1)
        positions = (sample["coord"].numpy().astype(float) + 1) / 2 * 7 - 0.5  # (H*W, 2)
        found = sample["gt"].flatten(1).T.numpy().astype(float)[:, :2] * 65535 / STEPS
        np.testing.assert_allclose(corner + positions @ np.rint(steps).T, found, atol=0.01)


@pytest.mark.parametrize(
    ("hr", "lr", "scale", "validated"),
    [
        ((40, 50), (16, 20), None, (2.5, 2.5)),
        ((41, 51), (16, 20), None, (41 / 16, 51 / 20)),  # whole areas, without a stated scale
        ((41, 51), (16, 20), 2.5, (2.5, 2.5)),
        ((39, 52), (16, 21), 2.5, (2.5, 2.5)),  # LR by ceiling, as imresize of MATLAB makes it
        ((103, 103), (60, 60), 1.6, (1.6, 1.6)),  # HR cropped to multiples of 8, as in ArbSR's test sets
        ((32, 70), (16, 20), None, (2, 3.5)),
    ],
)
def test_scale_comes_from_the_option_or_the_sizes(tmp_path, hr, lr, scale, validated):
    roots = {
        "dataroot_gt": write_folder(tmp_path / "hr", {"a.png": noise(*hr)}),
        "dataroot_lq": write_folder(tmp_path / "lr", {"a.png": noise(*lr)}),
        **({} if scale is None else {"scale": scale}),
    }
    sample = ScaleValidationDataset(roots)[0]
    assert sample["scale"].tolist() == pytest.approx(validated)
    for n_hr, n_lr, s in zip(sample["gt"].shape[1:], sample["lq"].shape[1:], validated, strict=True):
        assert n_hr == round(n_lr * s)
    trained = ArbitraryScaleDataset({**roots, "lr_size": 8, "sample_q": 9, "use_rot": False}).sample(
        0, seed=0
    )
    np.testing.assert_allclose(2 / trained["cell"].double() / 8, validated, rtol=1e-6)


def folders(tmp_path, make=write_folder, suffix=".png", ending=""):
    """Write two folders of HR and of LR, at ×2 and ×2.5; return the options of a data set."""
    tmp_path.mkdir()
    roots: dict[str, list[str]] = {"dataroot_gt": [], "dataroot_lq": []}
    for number, scale in enumerate((2, 2.5)):
        for root, factor in (("dataroot_gt", scale), ("dataroot_lq", 1)):
            pictures = {
                f"{name}{suffix}": noise(round(16 * factor), round(20 * factor), seed=seed)
                for seed, name in enumerate("ba")
            }
            roots[root].append(make(tmp_path / f"{root}_{number}{ending}", pictures))
    return {**roots, "lr_size": 8, "sample_q": 30}


def test_several_folders_are_one_data_set_at_any_storage(tmp_path):
    disk = folders(tmp_path / "disk")
    lmdb = folders(tmp_path / "lmdb", make=write_lmdb, suffix="", ending=".lmdb")
    lmdb["io_backend"] = {"type": "lmdb"}
    expected = ArbitraryScaleDataset(disk)
    assert expected.hr.keys == ["1/a", "1/b", "2/a", "2/b"]
    assert expected.hr.path(2) == f"{tmp_path}/disk/dataroot_gt_1/a.png"
    for opt in (lmdb, {**disk, "cache": "memory"}, {**lmdb, "cache": "memory"}):
        dataset = ArbitraryScaleDataset(opt)
        for index in range(4):
            sample, other = dataset.sample(index, seed=1), expected.sample(index, seed=1)
            for key in ("lq", "gt", "coord", "cell"):
                np.testing.assert_array_equal(sample[key], other[key])
    scales = [2 / expected.sample(index, seed=0)["cell"][0].item() / 8 for index in range(4)]
    assert scales == pytest.approx([2, 2, 2.5, 2.5])
    validation = ScaleValidationDataset(disk)
    assert [validation[index]["name"] for index in range(4)] == ["1/a", "1/b", "2/a", "2/b"]
    assert [validation[index]["scale"][0].item() for index in range(4)] == [2, 2, 2.5, 2.5]
    first = ScaleValidationDataset({**disk, "first_k": 3})
    assert len(first) == 3


def test_folders_of_hr_alone_and_hr_shared_by_several_lr(tmp_path):
    hr = {f"{name}.png": noise(40, 60, seed=seed) for seed, name in enumerate("ab")}
    roots = {
        "one": write_folder(tmp_path / "one", hr),
        "two": write_folder(tmp_path / "two", {"c.png": noise(50, 50)}),
    }
    alone = ScaleValidationDataset({"dataroot_gt": list(roots.values()), "scale": 2})
    assert [alone[index]["name"] for index in range(3)] == ["1/a", "1/b", "2/c"]
    lr = [
        write_folder(tmp_path / f"x{n}", {f"{name}x{n}.png": noise(40 // n, 60 // n) for name in "ab"})
        for n in (2, 4)
    ]
    shared = {"dataroot_gt": roots["one"], "dataroot_lq": lr, "filename_tmpl": ["{}x2", "{}x4"]}
    samples = [ScaleValidationDataset(shared)[index] for index in range(4)]
    assert [sample["scale"][0].item() for sample in samples] == [2, 2, 4, 4]
    np.testing.assert_array_equal(samples[0]["gt"], samples[2]["gt"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataroot_lq": ["a"]}, r"dataroot_lq has 1 and dataroot_gt 2 entries; give one for each folder"),
        ({"dataroot_lq": "a"}, r"dataroot_lq has 1 and dataroot_gt 2 entries"),
        ({"dataroot_gt": ["a"] * 3}, r"dataroot_lq has 2 and dataroot_gt 3 entries"),
        ({"filename_tmpl": ["{}"] * 3}, r"filename_tmpl has 3 and dataroot_gt 2 entries"),
        ({"meta_info_file": "a.txt"}, r"meta_info_file has 1 and dataroot_gt 2 entries"),
    ],
)
def test_lists_of_different_lengths_are_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        ScaleValidationDataset({**folders(tmp_path / "sets"), **changes})


REALSR = {"filename_tmpl_gt": "{}_HR", "filename_tmpl": "{}_LR4"}


@pytest.mark.parametrize("same_folder", [False, True])
def test_templates_replace_a_part_of_the_name(tmp_path, same_folder):
    hr = {f"Canon_{i:03}_HR.png": noise(32, 40, seed=i) for i in range(3)}
    lr = {f"Canon_{i:03}_LR4.png": noise(8, 10, seed=i) for i in range(3)}
    opt = {
        "dataroot_gt": write_folder(tmp_path / "hr", hr),
        "dataroot_lq": write_folder(tmp_path / ("hr" if same_folder else "lr"), lr),
        **REALSR,
    }
    dataset = ScaleValidationDataset(opt)
    assert len(dataset) == 3
    for index in range(3):
        np.testing.assert_array_equal(dataset[index]["lq"].permute(1, 2, 0) * 255, noise(8, 10, seed=index))
        assert dataset[index]["scale"].tolist() == [4, 4]


@pytest.mark.parametrize(
    ("gone", "extra", "message"),
    [
        ("lr/b_LR4.png", None, r"lr: has no picture 'b_LR4', the LR of .*hr/b_HR\.png \(1 of 2 have none\)"),
        ("hr/b_HR.png", None, r"hr: has no HR picture for .*lr/b_LR4\.png \(1 such pictures\); add it"),
        (None, "hr/c.png", r"hr/c\.png: is not named as filename_tmpl_gt \{\}_HR; rename it"),
        (None, "lr/c.png", r"hr: has no HR picture for .*lr/c\.png"),
    ],
)
def test_pictures_without_partner_are_named_with_a_remedy(tmp_path, gone, extra, message):
    write_folder(tmp_path / "hr", {f"{name}_HR.png": noise(32, 32) for name in "ab"})
    write_folder(tmp_path / "lr", {f"{name}_LR4.png": noise(8, 8) for name in "ab"})
    if gone:
        (tmp_path / gone).unlink()
    if extra:
        write_folder(tmp_path, {extra: noise(8, 8)})
    opt = {"dataroot_gt": str(tmp_path / "hr"), "dataroot_lq": str(tmp_path / "lr"), **REALSR}
    with pytest.raises(ValueError, match=message) as caught:
        ScaleValidationDataset(opt)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("odd", "options", "message"),
    [
        (
            (20, 20),
            {},
            r"lr/b\.png: 20x20 is 1/2\.4 of the 48x48 of .*hr/b\.png vertically, but 1/2 is",
        ),
        ((24, 12), {}, r"lr/b\.png: 24x12 is 1/4 of the 48x48 of .*hr/b\.png horizontally, but 1/2 is usual"),
        ((12, 12), {}, r"allow mixed_scales: true"),
        ((20, 20), {"scale": 2}, r"lr/b\.png: 48 HR pixels are 2\.4 times 20 LR pixels, not 2 times .*hr/b"),
        ((60, 60), {}, r"lr/b\.png: the LR has 60x60 and the HR only 48x48 pixels"),
    ],
)
@pytest.mark.parametrize("training", [False, True])
def test_pairs_that_do_not_fit_a_common_scale_are_refused(tmp_path, odd, options, message, training):
    opt = {
        "dataroot_gt": write_folder(tmp_path / "hr", {f"{name}.png": noise(48, 48) for name in "abc"}),
        "dataroot_lq": write_folder(
            tmp_path / "lr", {f"{name}.png": noise(*(odd if name == "b" else (24, 24))) for name in "abc"}
        ),
        **options,
    }
    sampling = {"lr_size": 8, "sample_q": 16}
    with pytest.raises(ValueError, match=message):
        ArbitraryScaleDataset({**opt, **sampling}) if training else ScaleValidationDataset(opt)
    if "mixed_scales" in message:
        assert len(ArbitraryScaleDataset({**opt, **sampling, "mixed_scales": True})) == 3
        assert len(ScaleValidationDataset({**opt, "mixed_scales": True})) == 3
