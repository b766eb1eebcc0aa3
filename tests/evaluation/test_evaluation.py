"""`moeisr evaluate`: figures recomputed from the pictures, and errors in the input."""

import hashlib
import io
import json
import math
import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from basicsr.archs import build_network
from basicsr.metrics import calculate_psnr, calculate_ssim
from basicsr.utils import tensor2img
from basicsr.utils.matlab_functions import imresize
from picture_files import noise, write_folder
from PIL import Image
from references import TINY_ENCODER, grid_queries, lively
from skimage import data
from special_files import make_special

from moeisr_plugin import render
from moeisr_plugin.checkpoints.network import network_from, read_checkpoint, save_checkpoint
from moeisr_plugin.cli import main
from moeisr_plugin.data.grids import Size
from moeisr_plugin.data.resampling import downsample
from moeisr_plugin.evaluation.evaluate import evaluate
from moeisr_plugin.evaluation.loading import distinct_names
from moeisr_plugin.evaluation.measuring import enlarge_bicubic
from moeisr_plugin.evaluation.report import write_report
from moeisr_plugin.evaluation.results import BICUBIC
from moeisr_plugin.metrics import calculate_psnr_protocol
from moeisr_plugin.pictures import Picture, write_picture

ASTRONAUT = data.astronaut()[40:101, 170:247]  # 61 x 77


def save_network(path, *, seed=0, **options):
    net = lively(build_network({"encoder": TINY_ENCODER, "hidden_dim": 8, **options}), seed=seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(path, {"params": net.state_dict(), "network_g": net.hyper_parameters})
    return path


@pytest.fixture(scope="module")
def mixture(tmp_path_factory):
    return save_network(tmp_path_factory.mktemp("weights") / "mixture.pth", type="MoEISRLIIF")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return save_network(tmp_path_factory.mktemp("weights") / "plain.pth", type="LTE", num_freq_features=8)


@pytest.fixture
def astronaut(tmp_path):
    write_folder(tmp_path / "space", {"astronaut.png": ASTRONAUT})
    return tmp_path / "space"


def figures(evaluation, weights=BICUBIC):
    return [record.figures for record in evaluation.records if record.weights == weights]


def pil_bicubic(picture, height, width):
    """Resize (H, W, 3) float without rounding."""
    channels = [
        Image.fromarray(channel.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
        for channel in np.moveaxis(picture, 2, 0)
    ]
    return np.stack([np.asarray(channel) for channel in channels], axis=2)


# --- figures ---


def test_psnr_of_a_network_matches_its_output_at_the_published_queries(mixture, astronaut):
    [record] = [r for r in evaluate([mixture], astronaut, [(2.5, 2.5)]).records if r.weights == "mixture"]
    lr = np.asarray(Image.fromarray(ASTRONAUT[:60, :75]).resize((30, 24), Image.Resampling.BICUBIC))
    tensor = torch.from_numpy(lr / 255).float().permute(2, 0, 1)[None]
    with torch.no_grad():
        output = network_from(mixture)(
            tensor, grid_queries(1, 60, 75).float(), torch.tensor([[2 / 60, 2 / 75]])
        )
    sr = output.rgb.clamp(0, 1).view(60, 75, 3).double().numpy()
    error = (sr - ASTRONAUT[:60, :75] / 255)[3:-3, 3:-3] @ (np.array([65.738, 129.057, 25.064]) / 256)
    assert record.figures["psnr"] == pytest.approx(-10 * math.log10(np.mean(error**2)), abs=1e-4)
    assert (record.dataset, record.scale, record.lr, record.picture) == ("space", "2.5", "pil", "astronaut")
    assert (record.height, record.width) == (60, 75)


def test_all_weights_and_scales_are_measured_on_the_same_pictures(mixture, plain, photographs):
    evaluation = evaluate([mixture, plain], photographs, [(2, 2), (3.5, 2), (2, 2)], protocol="div2k")
    assert [(r.weights, r.scale, r.picture, r.lr) for r in evaluation.records] == [
        (weights, scale, picture, lr)
        for weights in ("bicubic", "mixture", "plain")
        for scale, lr in (("2", "matlab"), ("2x3.5", "pil"))
        for picture in ("astronaut", "chelsea")
    ]
    for weights, cost in (("bicubic", False), ("mixture", True), ("plain", True)):
        for each in figures(evaluation, weights):
            assert each["decode_seconds"] > 0
            assert ("encode_seconds" in each) is ("decoder_macs_executed" in each) is cost
            assert ("share_d2" in each) is (weights == "mixture")
            assert "gain" not in each
    assert evaluation.networks["plain"]["type"] == "LTE"
    assert evaluation.networks["plain"]["encoder"] == "EDSREncoder"
    parameters = sum(p.numel() for p in network_from(plain).parameters())
    assert evaluation.networks["plain"]["parameters"] == parameters


def test_published_macs_count_four_evaluations_per_pixel(plain, astronaut):
    [each] = figures(evaluate([plain], astronaut, [(2, 2)]), "plain")
    assert each["decoder_macs_published"] == 4 * 60 * 76 * (8 * 8 + 8 * 8 + 8 * 8 + 8 * 3)
    assert each["decoder_macs_executed"] > 0


def test_constant_routing_has_no_gain(tmp_path, astronaut):
    path = tmp_path / "even.pth"
    net = lively(build_network({"type": "MoEISRLIIF", "encoder": TINY_ENCODER, "hidden_dim": 8}))
    for parameter in net.mapper.parameters():
        parameter.detach().zero_()
    save_checkpoint(path, {"params": net.state_dict(), "network_g": net.hyper_parameters})
    [each] = figures(evaluate([path], astronaut, [(3, 3)], routing=True), "even")
    assert each["share_d2"] == 1
    assert each["confidence"] == pytest.approx(0.25)
    assert each["depth_corr"] == 0
    assert each["gain"] == 0
    assert each["only_d2"] == pytest.approx(each["psnr"], abs=1e-6)
    assert all(abs(each[f"only_d{depth}"] - each["psnr"]) > 1e-3 for depth in (3, 4, 5))


def test_budgets_run_from_the_shallowest_expert_everywhere_to_the_deepest(mixture, plain, astronaut):
    evaluation = evaluate([mixture, plain], astronaut, [(2, 2)], routing=True, budgets=3)
    [routed] = figures(evaluation, "mixture")
    assert [record.weights for record in evaluation.budgets] == ["mixture"] * 3
    lowest, middle, highest = [record.figures for record in evaluation.budgets]
    assert [each["budget"] for each in (lowest, middle, highest)] == [0, 0.5, 1]
    assert [lowest["psnr"], highest["psnr"]] == pytest.approx(
        [routed["only_d2"], routed["only_d5"]], abs=1e-6
    )
    for end, depth in ((lowest, 2), (highest, 5)):
        assert end["decoder_macs_executed"] == routed[f"only_macs_d{depth}"]
    published = [each["decoder_macs_published"] for each in (lowest, middle, highest)]
    assert published[1] == pytest.approx((published[0] + published[2]) / 2, rel=0.01)
    assert all(each["decode_seconds"] > 0 for each in (lowest, middle, highest))


def test_description_contains_the_hash_of_the_weights_but_not_their_folder(plain, astronaut):
    described = evaluate([plain], astronaut, [(2, 2)]).networks["plain"]
    assert described["sha256"] == hashlib.sha256(plain.read_bytes()).hexdigest()
    assert described["network_g"] == network_from(plain).hyper_parameters
    assert str(plain.parent) not in json.dumps(described)


def test_seconds_are_the_median_of_repeated_runs(plain, astronaut, monkeypatch):
    ticks = iter([0.0, 5.0, 5.0, 6.0, 6.0, 8.0])
    monkeypatch.setattr("moeisr_plugin.evaluation.clock.time.perf_counter", lambda: next(ticks))
    [each] = figures(evaluate([], astronaut, [(2, 2)], repeats=3))
    assert each["decode_seconds"] == 2


def test_networks_compute_in_the_requested_precision(mixture, astronaut, capsys):
    exact = evaluate([mixture], astronaut, [(2, 2)])
    rounded = evaluate([mixture], astronaut, [(2, 2)], precision="bfloat16")
    assert figures(exact)[0]["psnr"] == figures(rounded)[0]["psnr"]  # bicubic
    [before], [after] = figures(exact, "mixture"), figures(rounded, "mixture")
    assert before["psnr"] != after["psnr"] == pytest.approx(before["psnr"], abs=0.5)
    command = ["evaluate", "--weights", str(mixture), "--data", str(astronaut), "--scales", "2"]
    for precision in ("float32", "bfloat16"):
        assert main([*command, "--precision", precision]) == 0
        assert ("Networks compute in bfloat16." in capsys.readouterr().out) == (precision == "bfloat16")


def test_routing_gain_compares_with_random_routing_of_the_same_shares(mixture, astronaut):
    [each] = figures(evaluate([mixture], astronaut, [(2, 2)], routing=True), "mixture")
    shares = [each[f"share_d{depth}"] for depth in (2, 3, 4, 5)]
    assert sum(shares) == pytest.approx(1)
    assert max(shares) < 1
    assert each["gain"] != 0


def test_bicubic_matches_matlab_except_at_the_border():
    lr = noise(20, 26).astype(np.float32) / 255
    ours = enlarge_bicubic(torch.from_numpy(lr).permute(2, 0, 1)[None], (60, 78))[0].permute(1, 2, 0)
    inside = (slice(6, -6), slice(6, -6))
    np.testing.assert_allclose(ours.numpy()[inside], imresize(lr, 3)[inside], atol=1e-5)


# --- kinds of pictures ---


def test_grey_counts_as_three_equal_channels_and_alpha_is_dropped(tmp_path):
    grey = noise(40, 40, channels=1)
    write_folder(tmp_path / "grey", {"a.png": grey})
    write_folder(tmp_path / "rgb", {"a.png": np.repeat(grey, 3, axis=2)})
    write_folder(
        tmp_path / "rgba", {"a.png": np.dstack([grey, grey, grey, noise(40, 40, seed=1, channels=1)])}
    )
    evaluations = [evaluate([], tmp_path / name, [(2, 2)]) for name in ("grey", "rgb", "rgba")]
    [grey, rgb, rgba] = [
        {name: each[name] for name in ("psnr", "ssim")} for [each] in map(figures, evaluations)
    ]
    assert grey == rgb == rgba
    assert len(evaluations[0].notes) == 1
    assert "three equal channels in 1 of 1 HR pictures; by luma that gives 1.32 dB" in evaluations[0].notes[0]
    assert [each.notes for each in evaluations[1:]] == [[], ["Alpha was dropped from 1 of 1 HR pictures."]]


def test_grey_is_detected_in_pictures_above_the_pixel_limit_of_pillow(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    deep = noise(40, 40, channels=2).astype(np.uint16) * 257
    (tmp_path / "grey").mkdir()
    write_picture(tmp_path / "grey/deep.tif", Picture(deep))
    Image.fromarray(noise(40, 40, channels=1)[..., 0] > 127).save(tmp_path / "grey/bits.png")
    notes = evaluate([], tmp_path / "grey", [(2, 2)]).notes
    assert any("Grey counts as three equal channels in 2 of 2 HR pictures" in note for note in notes)


def test_file_names_that_are_not_unicode_are_written(tmp_path):
    folder = write_folder(tmp_path / "set", {"plain.png": noise(40, 40)})
    (tmp_path / "set/plain.png").rename(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.png"))
    write_report(evaluate([], tmp_path / "set", [(2, 2)]), tmp_path / "out")
    assert "caf\\udce9" in (tmp_path / "out/results.json").read_text(encoding="utf-8")


def test_16_bits_keep_their_precision(tmp_path):
    slope = np.linspace(1000, 1600, 40)[:, None, None] * np.ones((1, 40, 3))  # 2 to 3 steps of 8 bits
    hr = (slope + noise(40, 40, dtype=np.uint16) % 64).astype(np.uint16)
    write_folder(tmp_path / "deep", {"a.png": hr})
    [each] = figures(evaluate([], tmp_path / "deep", [(5, 5)], protocol="div2k"))
    unit = hr / 65535
    enlarged = pil_bicubic(pil_bicubic(unit, 8, 8), 40, 40)
    expected = -10 * math.log10(np.mean((enlarged - unit)[11:-11, 11:-11] ** 2))
    assert each["psnr"] == pytest.approx(expected, abs=0.01)
    assert expected > 60  # rounding to 8 bits alone would lower it below 60


def test_pictures_smaller_than_the_cropped_border_are_skipped(plain, tmp_path):
    write_folder(tmp_path / "mixed", {"large.png": noise(60, 60), "small.png": noise(30, 90)})
    evaluation = evaluate([plain], tmp_path / "mixed", [(2, 2), (9, 9)], protocol="div2k")
    [skipped] = evaluation.skipped
    assert (skipped.dataset, skipped.scale, skipped.picture) == ("mixed", "9", "small")
    assert "no pixels inside the border" in skipped.reason
    assert len(figures(evaluation)) == len(figures(evaluation, "plain")) == 3


def test_pictures_with_fewer_pixels_than_the_scale_are_skipped(plain, tmp_path):
    write_folder(tmp_path / "mixed", {"large.png": noise(90, 90), "tiny.png": noise(5, 90)})
    evaluation = evaluate([plain], tmp_path / "mixed", [(1, 1), (6, 6)])
    assert [tuple(skipped)[1:] for skipped in evaluation.skipped] == [
        ("6", "tiny", "5 HR pixels are too few for scale 6"),
        ("1", "tiny", "SSIM needs 11x11 pixels; protocol benchmark leaves 3x88"),
    ]
    assert len(figures(evaluation)) == len(figures(evaluation, "plain")) == 2
    with pytest.raises(ValueError, match=r"mixed: every picture is too small; 90 HR pixels are too few"):
        evaluate([plain], tmp_path / "mixed", [(100, 100)])


# --- given LR ---


def test_given_lr_is_enlarged_and_lr_that_is_not_used_is_named(tmp_path):
    hr, lr = noise(48, 60), noise(30, 30, seed=1)
    write_folder(tmp_path / "set", {"HR/a.png": hr, "LR_bicubic/X1.60_X2.00/a.png": lr})
    evaluation = evaluate([], tmp_path / "set", [(1.6, 2), (3, 3)], protocol="div2k")
    assert [record.lr for record in evaluation.records] == ["given", "matlab"]
    assert evaluation.notes == [
        "LR at ×3 is made here (matlab), without LR_bicubic/X1.60_X2.00 (scale 1.6 by 2)."
    ]
    enlarged = pil_bicubic(lr / 255, 48, 60).clip(0, 1)
    expected = -10 * math.log10(np.mean((enlarged - hr / 255)[8:-8, 8:-8] ** 2))
    assert evaluation.records[0].figures["psnr"] == pytest.approx(expected, abs=1e-3)


def test_lr_folders_are_those_of_the_scales(tmp_path):
    write_folder(tmp_path / "set", {"a.png": noise(60, 60)})
    for scale in (2, 3):
        write_folder(tmp_path / f"lr/x{scale}", {"a.png": noise(60 // scale, 60 // scale, seed=scale)})
    by_scale = [tmp_path / "lr/x2", tmp_path / "lr/x3"]
    scales = [(2, 2), (3, 3)]
    one = evaluate([], tmp_path / "set", scales, lr_folders=[tmp_path / "lr"])
    two = evaluate([], tmp_path / "set", scales, lr_folders=by_scale)
    made = evaluate([], tmp_path / "set", scales)
    psnrs = [[record.figures["psnr"] for record in each.records] for each in (one, two, made)]
    assert psnrs[0] == psnrs[1]
    assert all(given < own - 1 for given, own in zip(psnrs[0], psnrs[2], strict=True))
    assert [record.lr for record in one.records] == ["given", "given"]
    with pytest.raises(ValueError, match="LR folders: 2 for 1 scales; give one for each scale, or one"):
        evaluate([], tmp_path / "set", [(2, 2)], lr_folders=by_scale)
    with pytest.raises(ValueError, match="downsample: is pil, but a folder of LR is given; omit one of them"):
        evaluate([], tmp_path / "set", scales, lr="pil", lr_folders=by_scale)


# --- weights ---


def test_network_that_outputs_nan_is_reported(mixture, astronaut, tmp_path):
    checkpoint = read_checkpoint(mixture)
    for value in checkpoint["params"].values():
        value *= math.nan
    save_checkpoint(tmp_path / "broken.pth", checkpoint)
    with pytest.raises(
        ValueError, match=r"^broken: the output of the network contains NaN or Inf; .*\(astronaut at ×2\)$"
    ):
        evaluate([mixture, tmp_path / "broken.pth"], astronaut, [(2, 2)])


def test_weights_with_equal_stems_are_named_with_their_folders(tmp_path):
    def paths(*names):
        return [tmp_path / name for name in names]

    assert distinct_names(paths("a.pth", "b.pth")) == ["a", "b"]
    assert distinct_names(paths("a/m/net.pth", "b/m/net.pth")) == ["a_m_net", "b_m_net"]
    assert distinct_names(paths("mine/bicubic.pth")) == ["mine_bicubic"]
    assert distinct_names(paths("a.pth", "a.safetensors")) == ["a.pth", "a.safetensors"]
    assert distinct_names([]) == []
    with pytest.raises(ValueError, match=r"net\.pth: given twice"):
        distinct_names(paths("a/net.pth", "a/../a/net.pth"))


# --- LPIPS ---


def test_lpips_receives_rgb_from_minus_one_to_one(astronaut, monkeypatch):
    class MeanDistance(torch.nn.Module):
        def __init__(self, net, verbose):
            super().__init__()
            assert net == "alex"

        def forward(self, sr, hr):
            assert hr.shape == (1, 3, 60, 76)
            expected = torch.from_numpy(ASTRONAUT[:60, :76] / 127.5 - 1).permute(2, 0, 1)
            torch.testing.assert_close(hr[0].cpu(), expected.float())
            return (sr - hr).abs().mean().view(1, 1, 1, 1)

    monkeypatch.setitem(sys.modules, "lpips", SimpleNamespace(LPIPS=MeanDistance))
    [each] = figures(evaluate([], astronaut, [(2, 2)], lpips=True))
    assert 0 < each["lpips"] < 0.2
    write_folder(astronaut, {"astronaut.png": ASTRONAUT[:30]})
    with pytest.raises(ValueError, match="too small; LPIPS needs 31x31 pixels; the picture has 30x76"):
        evaluate([], astronaut, [(2, 2)], lpips=True)


def test_unknown_protocol_is_refused(astronaut):
    with pytest.raises(ValueError, match="protocol is 'set5'; give one of benchmark, div2k, basicsr"):
        evaluate([], astronaut, [(2, 2)], protocol="set5")


@pytest.mark.parametrize(
    ("scales", "numbers", "message"),
    [
        ([], {}, "scales: none given; give at least one"),
        ([(2, 2), (2, 2), (2.0000001, 2.0000001)], {}, "scales: 2 occurs twice to six digits; remove one"),
        ([(2, 2)], {"repeats": 0}, "repeats: is 0; give 1 or more"),
        ([(2, 2)], {"budgets": 1}, "budgets: is 1; give 2 or more, or 0 for none"),
    ],
)
def test_wrong_numbers_are_refused(astronaut, scales, numbers, message):
    with pytest.raises(ValueError, match=message):
        evaluate([], astronaut, scales, **numbers)


def test_missing_lpips_package_is_reported_in_one_line(astronaut, monkeypatch):
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(
        ValueError, match=r"^LPIPS needs the package lpips; pip install lpips, or leave LPIPS out$"
    ):
        evaluate([], astronaut, [(2, 2)], lpips=True)


# --- the command ---


def test_command_writes_results_and_pictures(mixture, plain, astronaut, tmp_path, capsys):
    out = tmp_path / "out"
    command = [
        "evaluate",
        "--weights",
        str(mixture),
        str(plain),
        "--data",
        str(astronaut),
        "--scales",
        "2x3.5",
    ]
    assert main([*command, "-o", str(out), "--save-images"]) == 0
    printed = capsys.readouterr().out
    assert (out / "results.md").read_text(encoding="utf-8") == printed
    assert printed.count("| ×2x3.5 |") == 3
    pictures = json.loads((out / "results.json").read_text(encoding="utf-8"))["pictures"]
    assert [picture["weights"] for picture in pictures] == ["bicubic", "mixture", "plain"]
    assert sorted(path.relative_to(out / "images").as_posix() for path in out.rglob("*.png")) == [
        "HR/space_x2x3.5/astronaut.png",
        "bicubic/space_x2x3.5/astronaut.png",
        "mixture/space_x2x3.5/astronaut.png",
        "mixture/space_x2x3.5/astronaut_experts.png",
        "plain/space_x2x3.5/astronaut.png",
    ]
    hr = ASTRONAUT[:60, :76]  # 17 LR rows, 38 columns
    for picture in pictures:
        saved = np.asarray(Image.open(out / "images" / picture["weights"] / "space_x2x3.5/astronaut.png"))
        psnr = calculate_psnr_protocol(saved[..., ::-1], hr[..., ::-1], protocol="benchmark", scale=(3.5, 2))
        assert psnr == pytest.approx(picture["psnr"], abs=0.05)
    experts = np.asarray(Image.open(out / "images/mixture/space_x2x3.5/astronaut_experts.png"))
    lr = np.asarray(Image.fromarray(hr).resize((38, 17), Image.Resampling.BICUBIC))
    net = network_from(mixture)
    chosen = render.expert_map(render.encode(net, torch.from_numpy(lr / 255).float().permute(2, 0, 1)[None]))
    np.testing.assert_array_equal(experts, render.colour_experts(chosen[0], 4).numpy())

    assert main([*command, "-o", str(out)]) == 2
    assert "results.json: already exists" in capsys.readouterr().err
    (out / "results.csv").unlink()
    make_special(out / "results.csv", "pipe")
    assert main([*command, "-o", str(out), "--overwrite"]) == 2
    assert "results.csv: is a pipe; choose another name" in capsys.readouterr().err
    (out / "results.csv").unlink()
    assert main([*command, "-o", str(out), "--overwrite", "--protocol", "div2k"]) == 0
    assert json.loads((out / "results.json").read_text(encoding="utf-8"))["protocol"] == "div2k"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"--data": "nowhere"}, "nowhere: no such folder"),
        ({"--data": "empty"}, "empty: no pictures here or in x2/HR"),
        ({"--weights": "nothing.pth"}, "nothing.pth: no such file"),
        ({"--weights": "broken.pth"}, "broken.pth: "),
        ({"--scales": "0.5"}, "'0.5' does not enlarge"),
        ({"--scales": "40"}, "every picture is too small"),
        ({"--downsample": "given"}, "space: holds no LR of vertical scale 2"),
        ({"--save-images": None}, "--save-images needs an output folder; add -o OUT"),
    ],
)
def test_errors_are_reported_in_one_line(arguments, message, plain, astronaut, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.pth").write_bytes(b"no weights")
    given = {"--weights": str(plain), "--data": str(astronaut), "--scales": "2", **arguments}
    if "--save-images" not in arguments:
        given["-o"] = "results/new"
    try:
        status = main(["evaluate", *(part for pair in given.items() for part in pair if part is not None)])
    except SystemExit as end:
        status = end.code
    printed = capsys.readouterr()
    assert status == 2
    assert printed.out == ""
    assert printed.err.startswith("moeisr evaluate: ")
    assert printed.err.count("\n") == 1
    assert message in printed.err
    assert not (tmp_path / "results").exists()


def test_error_keeps_an_existing_folder(astronaut, tmp_path):
    out = tmp_path / "results"
    out.mkdir()
    command = ["evaluate", "--weights", "nothing.pth", "--data", str(astronaut)]
    assert main([*command, "-o", str(out / "new" / "er")]) == 2
    assert list(out.iterdir()) == []


def test_impossible_output_folder_is_reported_before_measuring(
    plain, astronaut, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("moeisr_plugin.evaluation.evaluate.evaluate", None)
    (tmp_path / "file").touch()
    command = [
        "evaluate",
        "--weights",
        str(plain),
        "--data",
        str(astronaut),
        "-o",
        str(tmp_path / "file/out"),
    ]
    assert main(command) == 2
    assert "not a directory" in capsys.readouterr().err


def test_results_are_written_even_if_printing_fails(plain, astronaut, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    out = tmp_path / "out"
    main(["evaluate", "--weights", str(plain), "--data", str(astronaut), "--scales", "2", "-o", str(out)])
    assert json.loads((out / "results.json").read_text(encoding="utf-8"))["averages"]


def test_note_on_grey_states_bicubic_both_ways_and_only_by_luma(tmp_path):
    write_folder(tmp_path / "set", {"a.png": noise(40, 40, channels=1), "b.png": noise(40, 40)})
    evaluation = evaluate([], tmp_path / "set", [(2, 2), (3, 3)])
    grey, rgb = (record.figures["psnr"] for record in evaluation.records[:2])
    lr = np.asarray(
        downsample(np.repeat(noise(40, 40, channels=1), 3, axis=2), Size(20, 20), "matlab"), np.float64
    )
    error = pil_bicubic(lr, 40, 40).clip(0, 1) - noise(40, 40, channels=1) / 255
    as_grey = -10 * math.log10(np.mean(error[2:-2, 2:-2] ** 2))
    assert grey - as_grey == pytest.approx(1.3219, abs=1e-3)
    figures_of_both = f"has {(grey + rgb) / 2:.2f} dB, against {(as_grey + rgb) / 2:.2f} dB."
    assert evaluation.notes == [
        "Grey counts as three equal channels in 1 of 2 HR pictures; by luma that gives 1.32 dB more than "
        f"comparing the grey itself, as evaluations in MATLAB do: bicubic at ×2 {figures_of_both}"
    ]
    for protocol in ("div2k", "basicsr"):
        assert evaluate([], tmp_path / "set", [(2, 2)], protocol=protocol).notes == []


@pytest.mark.parametrize("scale", [2, 3])
def test_protocol_basicsr_measures_as_the_toolbox_does(plain, photographs, scale):
    evaluation = evaluate([plain], photographs, [(scale, scale)], protocol="basicsr")
    net = network_from(plain)
    for record in (each for each in evaluation.records if each.weights == "plain"):
        hr = np.asarray(Image.open(photographs / f"{record.picture}.png"))[: record.height, : record.width]
        size = Size(record.height // scale, record.width // scale)
        lr = torch.from_numpy(downsample(hr, size, "matlab")).permute(2, 0, 1)[None]
        sr = tensor2img(render.render(net, render.encode(net, lr), hr.shape[:2]))
        bgr = np.ascontiguousarray(hr[..., ::-1])
        expected = calculate_psnr(sr, bgr, crop_border=scale), calculate_ssim(sr, bgr, crop_border=scale)
        assert (record.figures["psnr"], record.figures["ssim"]) == pytest.approx(expected, abs=1e-5)
