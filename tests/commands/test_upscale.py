"""`moeisr upscale` from the command line to the files, with bicubic enlargement instead of a network."""

import io
import os
import signal
import struct
import sys
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from picture_files import cut_off
from PIL import Image
from upscale_command import Encoded, draw, moeisr, refused, size_of

from moeisr_plugin.cli import main
from moeisr_plugin.pictures import read_picture

pytestmark = pytest.mark.usefixtures("upscaler")


@pytest.mark.parametrize(
    ("option", "label", "size"),
    [
        (("--scale", "3.7"), "x3.7", (44, 37)),
        (("--scale", "2x3.5"), "x2x3.5", (24, 35)),
        (("--scale", "2x2"), "x2", (24, 20)),
        (("--size", "31x17"), "31x17", (31, 17)),
        (("--scale", "1"), "x1", (12, 10)),
    ],
)
def test_output_is_beside_the_input_with_the_requested_size(photo, upscaler, option, label, size):
    assert moeisr(photo, *option) == 0
    assert size_of(photo.with_name(f"photo_{label}.png")) == size
    assert upscaler.sizes == [size[::-1]]


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_sizes_refer_to_the_displayed_picture(tmp_path, orientation):
    turned = draw(tmp_path / "turned.jpg", 12, 10, orientation=orientation)
    for option, width, height in (
        (("--size", "40x60"), 40, 60),
        (("--scale", "2x3"), *((20, 36) if orientation > 4 else (24, 30))),
    ):
        assert moeisr(turned, *option, "-o", tmp_path / f"out_{width}.png") == 0
        out = read_picture(tmp_path / f"out_{width}.png")
        assert out.orientation == orientation
        stored = (height, width) if orientation > 4 else (width, height)
        assert size_of(tmp_path / f"out_{width}.png") == stored


@pytest.mark.parametrize("channels", [3, 4])
def test_bit_depth_alpha_and_exif_are_kept(tmp_path, channels):
    deep = draw(tmp_path / "deep.png", channels=channels, dtype=np.uint16, orientation=3)
    assert moeisr(deep, "--scale", 2) == 0
    before, after = read_picture(deep), read_picture(tmp_path / "deep_x2.png")
    assert after.pixels.dtype == np.uint16
    assert after.pixels.shape == (20, 24, channels)
    assert after.exif == before.exif


def test_format_follows_from_out_or_the_option(photo, tmp_path):
    assert moeisr(photo, "--scale", 2, "-o", tmp_path / "a.webp") == 0
    assert moeisr(photo, "--scale", 2, "--format", "jpg") == 0
    assert moeisr(photo, "--scale", 2, "--format", "tiff", "-o", tmp_path / "folder") == 0
    for path, name in (("a.webp", "WEBP"), ("photo_x2.jpg", "JPEG"), ("folder/photo_x2.tiff", "TIFF")):
        with Image.open(tmp_path / path) as image:
            assert image.format == name


def test_weights_device_and_precision_are_passed_to_the_upscaler(photo, upscaler, tmp_path):
    assert moeisr(photo, "--scale", 2) == 0
    assert upscaler.given == (None, None, "float32")
    options = ["--weights", tmp_path / "w.pth", "--device", "cpu", "--precision", "bfloat16"]
    assert moeisr(photo, "--scale", 3, *options) == 0
    assert upscaler.given == (tmp_path / "w.pth", "cpu", "bfloat16")


def test_budget_applies_to_every_picture(tmp_path, upscaler):
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        draw(tmp_path / "in" / name)
    assert moeisr(tmp_path / "in", "--scale", 2) == 0
    assert upscaler.budgets == []
    assert moeisr(tmp_path / "in", "--scale", 3, "--budget", "0.4") == 0
    assert upscaler.budgets == [0.4, 0.4]


def test_missing_gpu_is_reported_in_one_line(photo, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "finds no GPU" in refused(capsys, photo, "--scale", 2, "--device", "cuda")
    tf32 = ("--scale", 2, "--precision", "tf32")
    assert "tf32: PyTorch finds no GPU" in refused(capsys, photo, *tf32)
    assert "tf32: a CPU does not support it" in refused(capsys, photo, *tf32, "--device", "cpu")


def test_outputs_of_a_folder_go_into_a_new_folder_beside_it(tmp_path):
    (tmp_path / "photos" / "deeper").mkdir(parents=True)
    draw(tmp_path / "photos" / "b.png")
    draw(tmp_path / "photos" / "a.JPG")
    draw(tmp_path / "photos" / "deeper" / "c.png")
    (tmp_path / "photos" / "notes.txt").write_text("no picture")
    (tmp_path / "photos" / "._b.png").write_text("no picture either")
    assert moeisr(tmp_path / "photos", "--scale", 2) == 0
    assert sorted(path.name for path in (tmp_path / "photos_x2").iterdir()) == ["a_x2.png", "b_x2.png"]


def test_one_bad_picture_does_not_stop_the_others(tmp_path, capsys):
    for name in ("a.png", "c.png"):
        draw(tmp_path / name)
    (tmp_path / "b.png").write_text("no picture")
    assert moeisr(tmp_path, "--scale", 2, "-o", tmp_path / "out") == 1
    captured = capsys.readouterr()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a_x2.png", "c_x2.png"]
    assert len(captured.out.splitlines()) == 2
    errors = [line for line in captured.err.splitlines() if line.startswith("moeisr upscale:")]
    assert "b.png: is not a picture" in errors[0]
    assert errors[1:] == ["moeisr upscale: 1 of 3 pictures failed"]


def test_expert_map_is_beside_the_output_and_upright(tmp_path):
    turned = draw(tmp_path / "a.jpg", 12, 10, orientation=6)
    assert moeisr(turned, "--scale", 2, "--expert-map", "-o", tmp_path / "big.png") == 0
    chosen = read_picture(tmp_path / "big_experts.png").pixels
    rows = np.broadcast_to(np.arange(10, dtype=np.uint8)[:, None], (10, 12))
    np.testing.assert_array_equal(chosen[..., 0], np.rot90(rows, -1))


@pytest.mark.parametrize("names", ["a", "ab"])
def test_unwritable_stdout_is_no_failure(names, tmp_path, monkeypatch):
    for name in names:
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / f"{name}.png")
    out = tmp_path / "out"

    class Full(io.StringIO):
        def write(self, text):
            raise OSError("no space left")

    monkeypatch.setattr(sys, "stdout", Full())
    assert main(["upscale", str(tmp_path), "--scale", "2", "-o", str(out), "--device", "cpu"]) == 0
    assert len(list(out.iterdir())) == len(names)


def test_closed_stderr_does_not_stop_enlarging(photo, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["upscale", str(photo), "--scale", "2", "--device", "cpu"]) == 0


def test_network_without_mapper_writes_no_expert_map_and_reports_it(photo, upscaler, capsys, monkeypatch):
    monkeypatch.setattr(upscaler, "mapped", False)
    assert moeisr(photo, "--scale", 2, "--expert-map") == 0
    assert "no mapper" in capsys.readouterr().err
    assert not photo.with_name("photo_x2_experts.png").exists()
    assert photo.with_name("photo_x2.png").exists()


def test_existing_output_is_kept_without_overwrite(photo, capsys):
    out = photo.with_name("photo_x2.png")
    out.write_text("precious")
    assert "add --overwrite" in refused(capsys, photo, "--scale", 2)
    assert out.read_text() == "precious"
    assert moeisr(photo, "--scale", 2, "--overwrite") == 0
    assert size_of(out) == (24, 20)


def test_input_is_never_overwritten(photo, tmp_path, capsys):
    before = photo.read_bytes()
    assert "is an input" in refused(capsys, photo, "--scale", 2, "-o", photo, "--overwrite")
    (tmp_path / "link.png").symlink_to(photo)
    assert "is an input" in refused(capsys, photo, "--scale", 2, "-o", tmp_path / "link.png", "--overwrite")
    other = draw(tmp_path / "photo_x2.png")
    assert "is an input" in refused(capsys, photo, other, "--scale", 2, "--overwrite")
    assert photo.read_bytes() == before


def test_outputs_keep_the_suffix_of_inputs_with_the_same_stem(tmp_path):
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "A.jpg", "b.png"):
        draw(tmp_path / "photos" / name)
    assert moeisr(tmp_path / "photos", "--scale", 2) == 0
    written = sorted(path.name for path in (tmp_path / "photos_x2").iterdir())
    assert written == ["A.jpg_x2.png", "a.png_x2.png", "b_x2.png"]


def test_colliding_outputs_are_refused_before_anything_is_written(tmp_path, capsys):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        draw(tmp_path / folder / "a.png")
    message = refused(capsys, tmp_path / "one", tmp_path / "two", "--scale", 2, "-o", tmp_path / "out")
    assert "one/a.png and" in message
    assert "would both be written to" in message
    assert not (tmp_path / "out").exists()


def test_skip_existing_continues_an_interrupted_run(tmp_path, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("a.png", "b.png"):
        draw(photos / name)
    done = tmp_path / "photos_x2" / "a_x2.png"
    done.parent.mkdir()
    done.write_text("done")
    assert moeisr(photos, "--scale", 2, "--skip-existing") == 0
    assert capsys.readouterr().out.startswith("skipping 1 of 2 pictures whose outputs exist\n")
    assert done.read_text() == "done"
    assert size_of(done.with_name("b_x2.png")) == (24, 20)
    assert moeisr(photos, "--scale", 2, "--skip-existing") == 0
    assert capsys.readouterr().out == "skipping 2 of 2 pictures whose outputs exist\n"
    assert moeisr(photos, "--scale", 2, "--skip-existing", "--expert-map") == 0
    maps = done.with_name("a_x2_experts.png"), done.with_name("b_x2_experts.png")
    assert [size_of(path) for path in maps] == [(12, 10), (12, 10)]
    assert size_of(done) == (24, 20)
    done.unlink()
    (photos / "a.png").write_text("no picture")
    assert moeisr(photos, "--scale", 2, "--skip-existing") == 1


def test_skip_existing_skips_without_expert_maps_if_the_network_has_one_expert(tmp_path, upscaler, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("a.png", "b.png"):
        draw(photos / name)
    upscaler.mapped = False
    command = (photos, "--scale", 2, "--skip-existing", "--expert-map")
    assert moeisr(*command) == 0
    output = capsys.readouterr()
    assert output.out.startswith("skipping 0 of 2 pictures whose outputs exist\n")
    assert output.err.count("no expert map is written, because the network has no mapper") == 1
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "photos_x2").iterdir()}
    assert sorted(path.name for path in written) == ["a_x2.png", "b_x2.png"]
    assert moeisr(*command) == 0
    assert capsys.readouterr().out == "skipping 2 of 2 pictures whose outputs exist\n"
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "photos_x2").iterdir()} == written
    (tmp_path / "photos_x2" / "b_x2.png").unlink()
    assert moeisr(*command) == 0
    assert capsys.readouterr().out.startswith("skipping 1 of 2 pictures whose outputs exist\n")


def test_error_of_rendering_names_the_picture(photo, upscaler, capsys, monkeypatch):
    def broken(encoded, *, size):
        raise ValueError("the output contains NaN")

    monkeypatch.setattr(Encoded, "render_bands", broken)
    assert refused(capsys, photo, "--scale", 2).endswith(f"{photo}: the output contains NaN")


def test_ignored_files_of_a_folder_are_reported(tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    draw(tmp_path / "photos" / "a.png")
    draw(tmp_path / "photos" / "b.jpg").rename(tmp_path / "photos" / "b.jfif")
    for name in ("c.CR2", "d.cr2", "notes", ".hidden.txt"):
        (tmp_path / "photos" / name).touch()
    assert moeisr(tmp_path / "photos", "--scale", 2) == 0
    assert len(list((tmp_path / "photos_x2").iterdir())) == 2
    note = "photos: ignoring 3 of 5 files without a picture suffix (no suffix, .cr2)"
    assert note in capsys.readouterr().err


def test_read_only_folder_is_reported_before_the_work(photo, upscaler, capsys, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    assert "is not writable; choose another -o" in refused(capsys, photo, "--scale", 2)
    assert upscaler.sizes == []


@pytest.mark.parametrize(("side", "size"), [("30x", (30, 25)), ("x30", (36, 30)), ("13X", (13, 11))])
def test_size_with_one_side_keeps_the_aspect_ratio(photo, side, size):
    assert moeisr(photo, "--size", side) == 0
    assert size_of(photo.with_name(f"photo_{side.lower()}.png")) == size


@pytest.mark.parametrize("scale", ["0", "0.5", "-2", "nan", "inf", "2x0.9", "1e999"])
def test_scales_below_one_or_not_finite_are_refused(photo, capsys, scale):
    assert "does not enlarge" in refused(capsys, photo, f"--scale={scale}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scale", "big"], "is not a scale; give 3.7"),
        (["--scale", "2x2x2"], "is not a scale; give 3.7"),
        (["--size", "100"], "give WIDTHxHEIGHT"),
        (["--size", "0x100"], "give WIDTHxHEIGHT"),
        (["--size", "100x9"], "smaller than the picture, 12x10"),
        (["--size", "11x"], "--size 11x is smaller than the picture, 12x10"),
        (["--size", "x"], "give WIDTHxHEIGHT, as in 1920x1080, or 1920x or x1080 to keep the aspect ratio"),
        (["--size", "0x"], "give WIDTHxHEIGHT"),
        ([], "--scale"),
        (["--scale", "2", "--size", "30x30"], "not allowed with"),
        (["--scale", "1e300"], "raise --max-pixels"),
        (["--scale", "1e6"], "a side of 12000000 pixels is more than the 1000000 of PNG"),
        (["--scale", "2000x1", "--format", "webp"], "choose a smaller size, .png or .tiff"),
        (["--scale", "2", "--max-pixels", "479", "--format", "jpg"], "24x20, more than 479 pixels"),
        (["--scale", "2", "--max-pixels", "119"], "12x10 is more than the limit of 119"),
        (["--scale", "2", "--max-pixels", "many"], "'many' is not a positive whole number"),
        (["--scale", "2", "--budget", "1.5"], "'1.5' is not a budget; give a share from 0 to 1"),
        (["--scale", "2", "--precision", "float8"], "invalid choice: 'float8'"),
        (["--scale", "2", "-o", "out.gif"], "end the name in .png"),
        (["--scale", "2", "-o", "out.png", "--format", "jpg"], "disagree"),
    ],
)
def test_wrong_command_lines_are_reported_in_one_line(photo, capsys, arguments, message):
    assert message in refused(capsys, photo, *arguments)
    assert [path.name for path in photo.parent.iterdir()] == ["photo.png"]


@pytest.mark.parametrize("form", ["png", "tiff"])
def test_formats_written_by_bands_have_no_pixel_limit(photo, form):
    assert moeisr(photo, "--scale", 2, "--max-pixels", 120, "--format", form) == 0
    assert size_of(photo.with_name(f"photo_x2.{form}")) == (24, 20)


def test_low_disk_space_is_reported(photo, capsys, monkeypatch):
    def almost_full(path):
        assert path == photo.parent
        return SimpleNamespace(free=24 * 20 * 3 - 1)

    assert moeisr(photo, "--scale", 2) == 0
    assert "may need" not in capsys.readouterr().err
    monkeypatch.setattr("shutil.disk_usage", almost_full)
    assert moeisr(photo, "--scale", 2, "--overwrite") == 0
    assert "photo_x2.png: may need up to" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a.png", "a.tiff", "a.jpg"])
def test_failure_while_writing_leaves_no_file(photo, capsys, monkeypatch, name):
    def half(self, *, size):
        yield np.zeros((size[0] // 2, size[1], 3), np.uint8)
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(Encoded, "render_bands", half)
    assert "add --device cpu" in refused(capsys, photo, "--scale", 2, "-o", photo.with_name(name))
    assert list(photo.parent.iterdir()) == [photo]


def test_wrong_inputs_are_reported_in_one_line(photo, tmp_path, capsys):
    assert "no such file" in refused(capsys, tmp_path / "missing.png", "--scale", 2)
    (tmp_path / "empty").mkdir()
    assert "contains no pictures" in refused(capsys, tmp_path / "empty", "--scale", 2)
    other = draw(tmp_path / "other.png")
    assert "give a folder" in refused(capsys, photo, other, "--scale", 2, "-o", tmp_path / "new.png")
    clear = draw(tmp_path / "clear.png", channels=4)
    assert "choose .png" in refused(capsys, clear, "--scale", 2, "-o", tmp_path / "clear.jpg")


def test_formats_are_checked_before_enlarging(tmp_path, upscaler, capsys):
    clear = draw(tmp_path / "clear.png", channels=4)
    refused(capsys, clear, "--scale", 2, "--format", "jpg")
    assert upscaler.sizes == []


def test_debug_raises_the_exception(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        moeisr(tmp_path / "missing.png", "--scale", 2, "--debug")


def test_interruption_is_reported_in_one_line(photo, capsys, monkeypatch, upscaler):
    def interrupt(self, image, *, scale=None, size=None):
        raise KeyboardInterrupt

    monkeypatch.setattr(upscaler, "__call__", interrupt)
    assert moeisr(photo, "--scale", 2) == 130
    assert capsys.readouterr().err == "moeisr upscale: interrupted\n"


@pytest.mark.usefixtures("heard_interrupts")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_signal_keeps_the_existing_output_and_leaves_no_other_file(photo, monkeypatch, capsys, sent, suffix):
    hangup = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the test run may ignore SIGHUP
    before = signal.getsignal(signal.SIGTERM)
    output = draw(photo.with_name(f"photo_x2.{suffix}"))
    held = output.read_bytes()

    def half(self, *, size):
        yield np.zeros((7, size[1], 3), np.uint8)
        assert any(path.suffix == ".part" for path in output.parent.iterdir()) or suffix == "webp"
        os.kill(os.getpid(), sent)
        yield np.zeros((size[0] - 7, size[1], 3), np.uint8)

    monkeypatch.setattr(Encoded, "render_bands", half)
    assert moeisr(photo, "--scale", 2, "--format", suffix, "--overwrite") == 130
    assert capsys.readouterr().err == "moeisr upscale: interrupted\n"
    assert set(output.parent.iterdir()) == {photo, output}
    assert output.read_bytes() == held
    assert signal.getsignal(signal.SIGTERM) == before
    assert signal.signal(signal.SIGHUP, hangup) == signal.SIG_DFL


def test_ignored_sighup_stays_ignored(photo, monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        monkeypatch.setattr(Encoded, "render_bands", with_sighup(Encoded.render_bands))
        assert moeisr(photo, "--scale", 2) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def with_sighup(render_bands):
    def render(self, *, size):
        os.kill(os.getpid(), signal.SIGHUP)
        return render_bands(self, size=size)

    return render


def odd_pictures(folder):
    """Write unusual pictures. Return the stems of valid ones, and the error for each invalid file."""
    Image.new("RGB", (1, 1)).save(folder / "one_pixel.png")
    Image.new("RGB", (5, 4)).quantize(4).save(folder / "palette.png")
    Image.new("CMYK", (5, 4)).save(folder / "cmyk.jpg")
    Image.new("RGBA", (5, 4)).save(folder / "alpha.webp")
    Image.new("L", (5, 4)).save(folder / "png_inside.jpg", "PNG")
    frames = [Image.new("L", (5, 4), value) for value in (10, 200)]
    frames[0].save(folder / "animated.gif", save_all=True, append_images=frames[1:])
    draw(folder / "deep.tif", 5, 4, dtype=np.uint16)
    cut_off(draw(folder / "truncated.png", 40, 40))
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.png").write_text("no picture")
    bomb = bytearray(draw(folder / "bomb.png").read_bytes())
    bomb[16:24] = struct.pack(">II", 60_000, 60_000)
    bomb[29:33] = struct.pack(">I", zlib.crc32(bomb[12:29]))
    (folder / "bomb.png").write_bytes(bomb)
    good = ["one_pixel", "palette", "cmyk", "alpha", "png_inside", "animated", "deep"]
    return good, {
        "bomb.png": "60000x60000 is more than the limit of 268435456 pixels; raise max_pixels (--max-pixels",
        "empty.jpg": "is empty",
        "text.png": "is not a picture",
        "truncated.png": "is damaged or incomplete",
    }


def test_valid_pictures_of_a_folder_are_enlarged_despite_invalid_ones(tmp_path, capsys):
    good, bad = odd_pictures(tmp_path)
    assert moeisr(tmp_path, "--scale", 3, "-o", tmp_path / "out") == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(f"{n}_x3.png" for n in good)
    for name in good:
        assert size_of(tmp_path / "out" / f"{name}_x3.png") == ((3, 3) if name == "one_pixel" else (15, 12))
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("moeisr upscale:")]
    assert lines[-1] == "moeisr upscale: 4 of 11 pictures failed"
    notes = ("only the first is used", "CMYK without a colour profile")
    refusals = [line for line in lines[:-1] if not any(note in line for note in notes)]
    for line, (name, reason) in zip(refusals, sorted(bad.items()), strict=True):
        assert line.startswith(f"moeisr upscale: {tmp_path / name}: {reason}")


@pytest.mark.parametrize(
    ("message", "reported"),
    [
        ("CUDA out of memory. Tried to allocate 2.00 GiB.", "the GPU is out of memory; add --device cpu"),
        (
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you "
            "tried to allocate 3200000000 bytes. Error code 12 (Cannot allocate memory)",
            "out of memory; close other programs, or give a smaller picture",
        ),
    ],
)
def test_shortage_of_memory_is_reported_in_one_line(message, reported, photo, capsys, monkeypatch, upscaler):
    def exhaust(*args, **kwargs):
        raise RuntimeError(message)

    monkeypatch.setattr(upscaler, "__call__", exhaust)
    assert main(["upscale", str(photo), "--scale", "2"]) == 2
    assert capsys.readouterr().err == f"moeisr upscale: {reported}\n"
