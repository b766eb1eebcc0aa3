"""Options of `moeisr upscale`: aliases, patterns, devices, quality, AVIF and messages."""

import logging
import math
import os
import re
import sys

import numpy as np
import pytest
from PIL import Image
from upscale_command import Bicubic, Encoded, draw, moeisr, refused, size_of

from moeisr_plugin.commands import estimates, memory
from moeisr_plugin.commands.enlarging import Settings, prepare
from moeisr_plugin.commands.estimates import Estimate, Speed, duration, estimated_bytes
from moeisr_plugin.commands.jobs import Job
from moeisr_plugin.commands.reporting import Report
from moeisr_plugin.commands.sizes import parse_scale
from moeisr_plugin.pictures import read_picture

pytestmark = pytest.mark.usefixtures("upscaler")


def test_short_options_are_those_of_realesrgan_ncnn_vulkan(photo, upscaler, tmp_path):
    assert moeisr("-i", photo, "-o", tmp_path / "out", "-s", 2, "-n", "tiny_LIIF", "-f", "jpg") == 0
    assert size_of(tmp_path / "out" / "photo_x2.jpg") == (24, 20)
    assert str(upscaler.given[0]) == "tiny_LIIF"


def test_long_options_and_inputs_of_both_kinds(photo, tmp_path):
    other = draw(tmp_path / "other.png")
    third = draw(tmp_path / "third.png")
    out = tmp_path / "out"
    assert moeisr(photo, "--input", other, third, "--output", out, "--scale", 2, "--network", "tiny_LTE") == 0
    assert sorted(path.name for path in out.iterdir()) == ["other_x2.png", "photo_x2.png", "third_x2.png"]


def test_without_an_input_the_remedy_is_named(capsys):
    assert "there is no INPUT; name a picture" in refused(capsys, "-s", 2)


@pytest.mark.parametrize(
    ("given", "suffix"), [("jpeg", "jpg"), (".PNG", "png"), ("tif", "tiff"), ("AVIF", "avif")]
)
def test_formats_have_their_usual_names(photo, given, suffix):
    assert moeisr(photo, "-s", 2, "-f", given) == 0
    assert photo.with_name(f"photo_x2.{suffix}").is_file()


# --- patterns ---


def test_patterns_are_expanded(tmp_path, capsys):
    for name in ("a.png", "b.png", "c.jpg", "deeper/d.png"):
        (tmp_path / "deeper").mkdir(exist_ok=True)
        draw(tmp_path / name)
    (tmp_path / "notes.txt").touch()
    for _ in range(2):  # outputs of the first run match the pattern, too
        assert moeisr(tmp_path / "*.png", "-s", 2, "--overwrite") == 0
    assert sorted(path.name for path in tmp_path.glob("*_x*")) == ["a_x2.png", "b_x2.png"]
    assert moeisr(tmp_path / "[bc].*", "-s", 3, "-o", tmp_path / "out") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["b_x3.png", "c_x3.png"]
    assert moeisr(tmp_path / "**" / "d.*", "-s", 2) == 0
    assert (tmp_path / "deeper" / "d_x2.png").is_file()
    capsys.readouterr()
    assert moeisr(tmp_path / "*t*", tmp_path / "c.jpg", "-s", 4) == 2
    assert "no picture has this name or matches this pattern" in capsys.readouterr().err


def test_a_pattern_names_several_outputs(tmp_path, capsys):
    draw(tmp_path / "a.png")
    assert "several outputs need a folder" in refused(capsys, tmp_path / "*.png", "-s", 2, "-o", "out.png")


def test_a_file_whose_name_is_a_pattern_is_that_file(tmp_path):
    draw(tmp_path / "a[1].png")
    draw(tmp_path / "a1.png")
    assert moeisr(tmp_path / "a[1].png", "-s", 2) == 0
    assert (tmp_path / "a[1]_x2.png").is_file()
    assert not (tmp_path / "a1_x2.png").exists()


# --- inputs and outputs that do not match ---


def test_an_existing_file_without_a_suffix_is_no_folder(photo, tmp_path, capsys):
    (tmp_path / "mine").write_text("mine")
    line = refused(capsys, photo, "-s", 2, "-o", tmp_path / "mine")
    assert f"{tmp_path / 'mine'}: cannot write this format; end the name in .png" in line
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_picture_that_is_given_twice_is_named(photo, tmp_path, capsys):
    other = photo.parent / "." / photo.name
    assert f"{photo}: is given twice; name it once" in refused(capsys, photo, other, "-s", 2)
    assert "is given twice" in refused(capsys, photo.parent, photo, "-s", 2, "-o", tmp_path / "out")


def test_an_unsuitable_budget_names_the_picture(photo, capsys, monkeypatch):
    def refuse(*_):
        raise ValueError("the budget is too low")

    monkeypatch.setattr(Encoded, "within_budget", refuse)
    line = refused(capsys, photo, "-s", 2, "--budget", "0.4")
    assert line == f"moeisr upscale: {photo}: the budget is too low"


# --- device and threads ---


@pytest.mark.parametrize(
    ("device", "gpus", "message"),
    [
        ("cuda", 0, "--device cuda: PyTorch finds no GPU; omit --device or give --device cpu"),
        ("cuda:1", 0, "--device cuda:1: PyTorch finds no GPU"),
        ("cuda:1", 1, "--device cuda:1: PyTorch finds only cuda:0; give one of these"),
        ("cuda:4", 4, "--device cuda:4: PyTorch finds cuda:0 to cuda:3; give one of these"),
        ("mps", 0, "--device mps: PyTorch finds no GPU of Apple; omit --device or give --device cpu"),
        ("gpu", 1, "'gpu' is not a device; give auto, cpu, cuda, cuda:1 or mps"),
        ("cuda:x", 1, "'cuda:x' is not a device"),
    ],
)
def test_a_device_that_is_not_there_is_reported_in_one_line(
    photo, capsys, monkeypatch, device, gpus, message
):
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpus > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    assert message in refused(capsys, photo, "-s", 2, "--device", device)


@pytest.mark.parametrize("device", ["cuda:1", "mps", "cpu"])
def test_a_device_that_is_there_is_passed_on(photo, upscaler, monkeypatch, device):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    assert moeisr(photo, "-s", 2, "--device", device) == 0
    assert upscaler.given[1] == device


def test_threads_limit_the_computation(photo, capsys, monkeypatch):
    given = []
    monkeypatch.setattr("torch.set_num_threads", given.append)
    assert moeisr(photo, "-s", 2) == 0
    assert moeisr(photo, "-s", 3, "--threads", 2) == 0
    assert given == [2]
    capsys.readouterr()
    assert "'0' is not a positive whole number" in refused(capsys, photo, "-s", 2, "--threads", 0)


# --- quality and AVIF ---


@pytest.mark.parametrize("suffix", ["jpg", "webp", "avif"])
def test_quality_trades_size_for_error(tmp_path, suffix):
    smooth = Image.fromarray(np.random.default_rng(0).integers(0, 255, (9, 13, 3), dtype=np.uint8))
    smooth.resize((60, 45), Image.Resampling.BICUBIC).save(tmp_path / "a.png")
    assert moeisr(tmp_path / "a.png", "-s", 1) == 0
    exact = read_picture(tmp_path / "a_x1.png").pixels.astype(int)
    sizes, errors = [], []
    for quality in (20, 95):
        out = tmp_path / f"{quality}.{suffix}"
        assert moeisr(tmp_path / "a.png", "-s", 1, "--quality", quality, "-o", out) == 0
        sizes.append(out.stat().st_size)
        errors.append(np.abs(read_picture(out).pixels - exact).mean())
    assert sizes[0] < 0.7 * sizes[1]
    assert errors[0] > 1.5 * errors[1] > 0
    assert errors[1] < (6 if suffix == "webp" else 3)  # lossy WebP always halves the resolution of colour


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--quality", 90), "--quality: png has none; choose jpg, webp or avif, or omit --quality"),
        (("--quality", 90, "-o", "a.tif"), "--quality: tiff has none"),
        (("--quality", 101, "-f", "jpg"), "'101' is not a quality; give a number from 1 to 100"),
        (("--quality", 0, "-f", "jpg"), "'0' is not a positive whole number"),
    ],
)
def test_wrong_qualities_are_refused_before_the_work(photo, upscaler, capsys, arguments, message):
    assert message in refused(capsys, photo, "-s", 2, *arguments)
    assert list(photo.parent.iterdir()) == [photo]


@pytest.mark.parametrize(("channels", "orientation"), [(3, 1), (3, 6), (4, 1)])
def test_avif_keeps_alpha_and_orientation(tmp_path, channels, orientation):
    source = draw(tmp_path / "a.png", 12, 10, channels=channels, orientation=orientation)
    assert moeisr(source, "-s", 2, "-f", "avif") == 0
    assert moeisr(source, "-s", 2) == 0
    exact, back = read_picture(tmp_path / "a_x2.png"), read_picture(tmp_path / "a_x2.avif")
    assert back.pixels.shape == exact.pixels.shape
    assert back.orientation == orientation
    assert np.abs(back.pixels.astype(int) - exact.pixels)[exact.pixels[..., -1] > 128].mean() < 12


def test_a_pillow_without_avif_is_reported_before_the_work(photo, upscaler, capsys, monkeypatch):
    Image.init()
    monkeypatch.delitem(Image.SAVE, "AVIF")
    message = refused(capsys, photo, "-s", 2, "-f", "avif")
    assert "this Pillow cannot write AVIF; run pip install --upgrade pillow, or choose .png" in message
    assert upscaler.sizes == []


# --- messages ---


def test_closing_line_counts_pictures_and_names_the_network(tmp_path, capsys):
    for name in ("a.png", "b.png"):
        draw(tmp_path / name)
    (tmp_path / "c.png").write_text("no picture")
    assert moeisr(tmp_path, "-s", 2, "-o", tmp_path / "out", "-n", "tiny_LTE") == 1
    captured = capsys.readouterr()
    *_, closing, failed = captured.err.splitlines()
    assert closing.startswith("2 pictures in ")
    assert closing.endswith(" s by tiny_LTE")
    assert failed == "moeisr upscale: 1 of 3 pictures failed"
    assert captured.out.splitlines() == [f"{tmp_path / 'out' / name}_x2.png 24x20" for name in "ab"]
    assert moeisr(tmp_path / "a.png", "-s", 2) == 0
    assert capsys.readouterr().err.startswith("1 picture in ")


def test_quiet_prints_only_errors(tmp_path, capsys):
    draw(tmp_path / "a.png", dtype=np.uint16)
    (tmp_path / "deeper").mkdir()
    (tmp_path / "notes.txt").touch()
    options = ("-s", 2, "-f", "jpg", "-o", tmp_path / "out")
    assert moeisr(tmp_path, *options, "-q") == 0
    assert capsys.readouterr() == ("", "")
    (tmp_path / "b.png").write_text("no picture")
    assert moeisr(tmp_path, *options, "--quiet", "--overwrite") == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 2


def test_quiet_applies_to_the_log_of_the_package(photo, upscaler, monkeypatch, capsys):
    class Logging(upscaler):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            logging.getLogger("moeisr_plugin").info("averaged weights")

    monkeypatch.setattr("moeisr_plugin.upscaler.Upscaler", Logging)
    assert moeisr(photo, "-s", 2) == 0
    assert "moeisr upscale: averaged weights" in capsys.readouterr().err
    assert moeisr(photo, "-s", 3, "-q") == 0
    assert capsys.readouterr().err == ""


def test_verbose_prints_the_network_and_times(photo, capsys):
    assert moeisr(photo, "-s", 2, "-v") == 0
    network, picture, closing = capsys.readouterr().err.splitlines()
    assert network == "network MoEISR_LIIF_b, device cpu, float32"
    assert picture.startswith(f"{photo}: 12x10 RGB of 8 bits, encoded in 0.")
    assert closing.startswith("1 picture")
    assert "not allowed with" in refused(capsys, photo, "-s", 2, "-v", "-q")


@pytest.mark.parametrize("count", [1, 2])
def test_progress_is_shown_on_a_terminal_only(tmp_path, capsys, monkeypatch, count):
    for index in range(count):
        draw(tmp_path / f"{index}.png")
    shown = []

    def render_bands(self, *, size):
        shown.append(capsys.readouterr().err)
        return bands(self, size=size)

    bands = Encoded.render_bands
    monkeypatch.setattr(Encoded, "render_bands", render_bands)
    assert moeisr(tmp_path, "-s", 2, "-o", tmp_path / "out") == 0
    assert "".join(shown) == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert moeisr(tmp_path, "-s", 2, "-o", tmp_path / "out", "--overwrite") == 0
    assert "loading MoEISR_LIIF_b" in shown[count]
    assert ("picture/s" in "".join(shown)) == (count > 1)
    before = len(shown)
    capsys.readouterr()
    assert moeisr(tmp_path, "-s", 2, "-o", tmp_path / "out", "--overwrite", "-q") == 0
    assert "".join(shown[before:]) == ""


# --- dry run ---


def test_dry_run_writes_nothing_and_prints_outputs_with_an_estimate(tmp_path, capsys):
    photos = tmp_path / "photos"
    (photos / "deeper").mkdir(parents=True)
    draw(photos / "a.png", orientation=6)
    draw(photos / "deeper" / "b.png", 24, 20, dtype=np.uint16)
    before = sorted(tmp_path.rglob("*"))
    assert moeisr(photos, "-s", 2, "-r", "-f", "webp", "--dry-run") == 0
    captured = capsys.readouterr()
    assert sorted(tmp_path.rglob("*")) == before
    out = tmp_path / "photos_x2"
    expected = [f"{out / 'a_x2.webp'} 20x24, about ", f"{out / 'deeper' / 'b_x2.webp'} 48x40, about "]
    for line, start in zip(captured.out.splitlines(), expected, strict=True):
        assert line.startswith(start)
        assert line.endswith(" s")
    note, closing = captured.err.splitlines()
    assert "has 16 bits" in note
    assert re.fullmatch(
        r"2 pictures by MoEISR_LIIF_b: about [\d.]+ s and [\d.]+ MB of memory, estimated; nothing is written",
        closing,
    )


def test_dry_run_reports_what_would_fail(tmp_path, capsys):
    draw(tmp_path / "a.png")
    draw(tmp_path / "large.png", 40, 30)
    (tmp_path / "broken.png").write_text("no picture")
    assert moeisr(tmp_path, "--size", "24x20", "-o", tmp_path / "out", "--dry-run") == 1
    err = capsys.readouterr().err
    assert "broken.png: is not a picture" in err
    assert "1 of 3 pictures skipped" in err
    assert "\n1 picture by" in err
    assert moeisr(tmp_path / "a.png", "-s", 2, "-q") == 0
    assert "already exists" in refused(capsys, tmp_path / "a.png", "-s", 2, "--dry-run", "-q")


def test_dry_run_without_a_picture_to_enlarge_estimates_nothing(tmp_path, capsys):
    draw(tmp_path / "large.png", 40, 30)
    assert moeisr(tmp_path, "--size", "24x20", "--dry-run") == 0
    assert capsys.readouterr().err.splitlines()[-1] == "0 pictures by MoEISR_LIIF_b; nothing is written"


def test_dry_run_needs_a_writable_folder_for_temporary_files(photo, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(os, "access", lambda path, _: path != tmp_path / "tmp")
    assert "is not writable; set TMPDIR" in refused(capsys, photo, "-s", 2, "--dry-run")


def test_estimates_grow_with_the_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(estimates, "measured_speed", lambda *_: Speed(encoding=1e-5, rendering=1e-6))
    monkeypatch.setattr(
        memory, "_of_network", lambda lr_size, _size, _upscaler, layers: (layers * math.prod(lr_size), 0)
    )
    settings = Settings(target=parse_scale("12"), budget=None, max_pixels=10**9, replace=False)
    report = Report("moeisr upscale", quiet=True)
    estimate = Estimate(Bicubic(), settings)  # type: ignore[arg-type]
    seconds, sizes = [], []
    for name, channels in (("a.png", 3), ("b.png", 3), ("c.JPEG", 3), ("d.png", 4)):
        side = 200 if name == "a.png" else 400
        job = Job(draw(tmp_path / f"in_{name}", side, side, channels=channels), tmp_path / name, None)
        prepared = prepare(job, Bicubic(), settings, report)  # type: ignore[arg-type]
        seconds.append(estimate.add(prepared))
        sizes.append(estimated_bytes(prepared, estimate._upscaler))
    assert seconds[0] == pytest.approx(200 * 200 * (1e-5 + 144e-6))
    assert estimate.seconds == pytest.approx(sum(seconds))
    assert seconds[1] == pytest.approx(4 * seconds[0])
    assert seconds[3] == pytest.approx(8 * seconds[0])  # colour and alpha
    of_pixels = [side * side * (channels + 1) for side, channels in ((200, 3), (400, 3), (400, 3), (400, 5))]
    of_output = [0, 0, 2 * 4800 * 4800 * 3, 0]  # JPEG is not written band by band
    expected = [estimates.PROGRAM_BYTES + sum(each) for each in zip(of_pixels, of_output, strict=True)]
    assert sizes == expected
    assert estimate.bytes == max(sizes)


def test_dry_run_to_standard_output_is_refused(photo, capsys):
    assert "--dry-run prints to standard output" in refused(capsys, photo, "-s", 2, "--dry-run", "-o", "-")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.01, "0.1 s"), (3.24, "3.2 s"), (59.9, "59.9 s"), (90, "1.5 min"), (720, "12 min"), (5400, "1.5 h")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text
