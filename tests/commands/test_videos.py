"""`moeisr upscale` of videos."""

import sys
from fractions import Fraction

import numpy as np
import pytest
import torch
from upscale_command import draw, moeisr, refused
from video_files import (
    av,
    noise,
    packets_of,
    read_frames,
    rgb_frames,
    seconds_of,
    write_video,
)

from moeisr_plugin.archs.implicit_arch import MoEISRLIIF
from moeisr_plugin.checkpoints.network import save_checkpoint
from moeisr_plugin.upscaler import Upscaler
from moeisr_plugin.video.frames import FrameUpscaler


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    net = MoEISRLIIF(encoder={"type": "EDSREncoder", "num_feat": 8, "num_block": 1}, hidden_dim=8)
    path = tmp_path_factory.mktemp("network") / "net.pth"
    save_checkpoint(path, {"params": net.state_dict(), "network_g": net.hyper_parameters})
    return path


@pytest.fixture
def upscale(weights):
    """Return a function that runs `moeisr upscale` with a small network."""

    def run(*arguments):
        return moeisr(*arguments, "-n", weights, "--device", "cpu")

    return run


@pytest.fixture
def refusal(weights, capsys):
    """Return a function that returns the one line of a command that is refused."""

    def run(*arguments):
        return refused(capsys, *arguments, "-n", weights, "--device", "cpu")

    return run


# --- pixels ---


@pytest.mark.parametrize("name", ["big.mkv", "big.mp4", "big.mov"])
def test_lossless_frames_are_those_of_pictures(tmp_path, upscale, weights, name):
    frames = noise()
    source = write_video(tmp_path / "clip.mkv", [*frames, frames[-1]])
    assert upscale(source, "-o", tmp_path / name, "--size", "61x37", "--quality", 100) == 0
    upscaler = Upscaler(weights, device="cpu")
    enlarged = rgb_frames(tmp_path / name)
    assert len(enlarged) == 6
    for frame, given in zip(enlarged, [*frames, frames[-1]], strict=True):
        assert np.array_equal(frame, upscaler(given, size=(37, 61)))


def test_lossless_frames_of_16_bits_are_those_of_pictures(tmp_path, upscale, weights):
    frames = noise(dtype=np.uint16)
    source = write_video(tmp_path / "clip.mkv", frames, pixel_format="rgb48le")
    assert upscale(source, "-o", tmp_path / "big.mkv", "-s", 2, "--quality", 100) == 0
    upscaler = Upscaler(weights, device="cpu")
    for frame, given in zip(rgb_frames(tmp_path / "big.mkv", "rgb48le"), frames, strict=True):
        assert np.array_equal(frame, upscaler(given, scale=2))


def test_frames_within_a_budget_are_those_of_pictures(tmp_path, upscale, weights):
    frames = noise()
    source = write_video(tmp_path / "clip.mkv", frames)
    assert upscale(source, "-o", tmp_path / "big.mkv", "-s", "2x3", "--quality", 100, "--budget", 0.3) == 0
    upscaler = Upscaler(weights, device="cpu")
    for frame, given in zip(rgb_frames(tmp_path / "big.mkv"), frames, strict=True):
        assert np.array_equal(frame, upscaler.encode(given).within_budget(0.3).render(scale=(3, 2)))


def test_lossy_frames_are_close_to_those_of_pictures(tmp_path, upscale, weights):
    """Smooth frames, because half the colour of noise is lost with 4:2:0."""
    ramp = np.linspace(0, 255, 24 * 18 * 3).reshape(18, 24, 3).astype(np.uint8)
    source = write_video(tmp_path / "clip.mp4", [ramp] * 4, codec="libx264", pixel_format="yuv420p")
    assert upscale(source, "-s", 2) == 0
    upscaler = Upscaler(weights, device="cpu")
    for given, frame in zip(read_frames(source), read_frames(tmp_path / "clip_x2.mp4"), strict=True):
        expected = upscaler(given.to_ndarray(format="rgb24"), scale=2).astype(float)
        assert frame.format.name == "yuv420p"
        assert np.abs(frame.to_ndarray(format="rgb24") - expected).mean() < 3


def test_a_lower_quality_gives_a_smaller_file(tmp_path, upscale):
    source = write_video(tmp_path / "clip.mkv", noise())
    sizes = []
    for quality in ([], ["--quality", 20], ["--quality", 95]):
        assert upscale(source, "-o", tmp_path / "big.mp4", "--size", "96x72", "--overwrite", *quality) == 0
        sizes.append((tmp_path / "big.mp4").stat().st_size)
    assert sizes[1] < sizes[0] < sizes[2]


# --- time, sound and tags ---


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_variable_times_and_sound_are_kept(tmp_path, upscale, suffix):
    times = [0, 40, 55, 130, 210, 950]
    source = write_video(
        tmp_path / f"clip.{suffix}",
        noise(6),
        codec="libx264",
        pixel_format="yuv444p",
        times=times,
        audio="aac",
        title="A walk",
    )
    assert upscale(source, "-s", 2) == 0
    output = tmp_path / f"clip_x2.{suffix}"
    assert [time for time, _ in seconds_of(output)] == [time for time, _ in seconds_of(source)]
    assert [round(1000 * (time - seconds_of(source)[0][0])) for time, _ in seconds_of(output)] == times
    assert packets_of(output, "audio") == packets_of(source, "audio")
    assert len(packets_of(output, "audio")) > 20
    with av.open(str(output)) as container:
        assert container.metadata["title"] == "A walk"


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_aspect_and_colours_are_kept(tmp_path, upscale, suffix):
    source = write_video(
        tmp_path / f"clip.{suffix}",
        noise(),
        codec="libx264",
        pixel_format="yuv420p",
        aspect=Fraction(4, 3),
        colours=(9, 2, 9, 16),
    )
    assert upscale(source, "-s", 2) == 0
    with av.open(str(tmp_path / f"clip_x2.{suffix}")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (48, 36)
        assert stream.sample_aspect_ratio == Fraction(4, 3)
        frame = next(container.decode(video=0))
        assert (frame.colorspace, frame.color_range) == (9, 2)
        assert (frame.color_primaries, frame.color_trc) == (9, 16)


def test_sizes_are_those_of_the_displayed_frames(tmp_path, upscale, capsys):
    source = write_video(tmp_path / "clip.mp4", noise(), codec="libx264", pixel_format="yuv420p", rotation=90)
    assert upscale(source, "--size", "36x72") == 0
    assert "36x72, 5 frames" in capsys.readouterr().out
    frame = read_frames(tmp_path / "clip_36x72.mp4")[0]
    assert (frame.width, frame.height, frame.rotation) == (72, 36, 90)


def test_videos_without_a_matrix_get_that_which_was_assumed(tmp_path, upscale):
    """Players assume another one for high outputs."""
    source = write_video(tmp_path / "clip.mp4", noise(), codec="libx264", pixel_format="yuv420p")
    assert read_frames(source)[0].colorspace == 2
    assert upscale(source, "-s", 2) == 0
    assert read_frames(tmp_path / "clip_x2.mp4")[0].colorspace == 6


def test_ten_bits_are_kept(tmp_path, upscale, capsys):
    source = write_video(
        tmp_path / "clip.mp4", noise(dtype=np.uint16), codec="libx264", pixel_format="yuv422p10le"
    )
    assert upscale(source, "-s", 2) == 0
    assert read_frames(tmp_path / "clip_x2.mp4")[0].format.name == "yuv422p10le"
    assert upscale(source, "-o", tmp_path / "big.webm", "-s", 2) == 0
    assert "has 10 bits per sample; VP9 holds 8" in capsys.readouterr().err
    assert read_frames(tmp_path / "big.webm")[0].format.name == "yuv422p"


def test_alpha_is_dropped_with_a_note(tmp_path, upscale, capsys):
    source = write_video(tmp_path / "clip.mov", noise(), codec="qtrle", pixel_format="argb")
    assert upscale(source, "-s", 2) == 0
    assert "clip.mov: transparency is dropped" in capsys.readouterr().err
    assert len(read_frames(tmp_path / "clip_x2.mov")) == 5


# --- the command ---


def test_the_last_line_states_frames_and_what_repeats(tmp_path, upscale, capsys):
    source = write_video(tmp_path / "clip.mkv", [noise(1)[0]] * 4)
    assert upscale(source, "-s", 2) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{tmp_path / 'clip_x2.mkv'} 48x36, 4 frames\n"
    assert "1 video, 4 frames in" in printed.err
    assert "75% of the tiles and bands were unchanged" in printed.err


def test_several_videos_go_on_after_a_failure(tmp_path, upscale, capsys):
    (tmp_path / "bad.mp4").write_bytes(b"nothing" * 99)
    sources = [write_video(tmp_path / f"{name}.mkv", noise(2)) for name in "ab"]
    assert upscale(sources[0], tmp_path / "bad.mp4", sources[1], "-s", 2, "-o", tmp_path / "out") == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a_x2.mkv", "b_x2.mkv"]
    assert "1 of 3 videos failed" in capsys.readouterr().err
    assert upscale(*sources, "-s", 2, "-o", tmp_path / "out", "--skip-existing") == 0
    assert "skipping 2 of 2 videos" in capsys.readouterr().out


def test_a_dry_run_writes_nothing(tmp_path, upscale, capsys):
    source = write_video(tmp_path / "clip.mkv", noise(3))
    assert upscale(source, "-s", 2, "--dry-run") == 0
    printed = capsys.readouterr()
    assert "clip_x2.mkv 48x36, 3 frames, at most about" in printed.out
    assert "nothing is written" in printed.err
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mkv"]


def test_ctrl_c_leaves_no_file(tmp_path, upscale, monkeypatch):
    source = write_video(tmp_path / "clip.mp4", noise(9), codec="libx264", pixel_format="yuv420p")
    calls = []
    original = FrameUpscaler.__call__

    def interrupted(self, frame):
        calls.append(frame)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return original(self, frame)

    monkeypatch.setattr(FrameUpscaler, "__call__", interrupted)
    assert upscale(source, "-s", 2) == 130
    assert len(calls) == 7
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_videos_of_a_folder_are_named_in_a_note(tmp_path, upscale, capsys):
    write_video(tmp_path / "clip.mkv", noise(1))
    assert "name a video itself to enlarge it" in refused(capsys, tmp_path, "-s", 2)
    draw(tmp_path / "photo.png")
    assert upscale(tmp_path, "-s", 2, "-o", tmp_path / "out") == 0
    assert "ignoring 1 of 2 files without a picture suffix (.mkv); name a video" in capsys.readouterr().err


# --- refusals ---


def test_files_that_are_no_whole_videos(tmp_path, refusal):
    sound = write_video(tmp_path / "sound.mp4", [], video=False, audio="aac")
    assert refusal(sound, "-s", 2).endswith("sound.mp4: has no video stream; give a video")
    (tmp_path / "junk.mp4").write_bytes(b"junk" * 1000)
    (tmp_path / "empty.mkv").touch()
    for name in ("junk.mp4", "empty.mkv"):
        line = refusal(tmp_path / name, "-s", 2)
        assert f"{name}: cannot be read as a video" in line
        assert "check that it is complete" in line
    assert "none.mp4: no such file" in refusal(tmp_path / "none.mp4", "-s", 2)
    frameless = write_video(tmp_path / "frameless.avi", [])
    assert "frameless.avi: has no frames" in refusal(frameless, "-s", 2)
    assert not list(tmp_path.glob("*_x2*"))


def test_a_video_that_lacks_its_end(tmp_path, refusal, upscale, capsys):
    whole = write_video(tmp_path / "whole.mkv", noise(50))
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    line = refusal(cut, "-s", 2)
    assert "cut.mkv: lacks its end: it stops after" in line
    assert "add --accept-truncated to enlarge what is there" in line
    assert upscale(cut, "-s", 2, "--accept-truncated") == 0
    assert "lacks its end" in capsys.readouterr().err
    assert 15 <= len(read_frames(tmp_path / "cut_x2.mkv")) <= 30
    assert "cannot be read" in refusal(_cut(tmp_path, "mp4"), "-s", 2, "--accept-truncated")


def _cut(folder, suffix):
    """Return an MP4 without its index, which is at the end."""
    whole = write_video(folder / f"all.{suffix}", noise(9), codec="libx264", pixel_format="yuv420p")
    path = folder / f"half.{suffix}"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    return path


def test_a_damaged_frame(tmp_path, refusal, upscale):
    source = write_video(tmp_path / "clip.mp4", noise(6), codec="libx264", pixel_format="yuv420p")
    content = bytearray(source.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 40] = bytes(40)
    source.write_bytes(content)
    line = refusal(source, "-s", 2)
    assert "a frame after 0.08 s is damaged; add --accept-truncated to enlarge what players show" in line
    assert not (tmp_path / "clip_x2.mp4").exists()
    assert upscale(source, "-s", 2, "--accept-truncated") == 0
    assert len(read_frames(tmp_path / "clip_x2.mp4")) == 6


def test_odd_sizes(tmp_path, refusal, upscale):
    source = write_video(tmp_path / "clip.mp4", noise(2), codec="libx264", pixel_format="yuv420p")
    line = refusal(source, "--size", "49x")
    assert "would be 49x37, but yuv420p needs even sides; give --size 50x38, or --quality 100" in line
    assert upscale(source, "--size", "49x", "--quality", 100, "-q") == 0
    turned = write_video(
        tmp_path / "turned.mp4", noise(2), codec="libx264", pixel_format="yuv422p", rotation=-90
    )
    assert "would be 37x49, but yuv422p needs even sides; give --size 37x50" in refusal(turned, "-s", "2.04")


def test_outputs_that_do_not_fit(tmp_path, refusal):
    source = write_video(tmp_path / "clip.mkv", noise(2), audio="pcm_s16le")
    other = write_video(tmp_path / "other.mkv", noise(2))
    photo = draw(tmp_path / "photo.png")
    lines = {
        "videos are not written to .wmv; choose .mp4, .mkv, .mov, .webm": (source, "-o", tmp_path / "a.wmv"),
        "does not hold its audio, pcm_s16le; give -o a.mkv": (source, "-o", tmp_path / "a.webm"),
        "enlarge videos and pictures in two runs": (source, photo),
        "several outputs need a folder": (source, other, "-o", tmp_path / "a.mkv"),
        "--format png is for pictures; give mp4": (source, "--format", "png"),
        "--format mp4 is for videos; give": (photo, "--format", "mp4"),
        "--window is for pictures": (source, "--window", "0,0,2,2"),
        "--expert-map is for pictures": (source, "--expert-map"),
        "standard output) takes a picture": (source, "-o", "-"),
        "would be overwritten; choose another -o": (source, "-o", source),
        "webm has no lossless RGB": (source, "-o", tmp_path / "a.webm", "--quality", 100),
        "is more than the limit of 9 pixels": (source, "--max-pixels", 9),
    }
    for expected, arguments in lines.items():
        assert expected in refusal(*arguments, "-s", 2)
    assert "is smaller than the picture" in refusal(source, "--size", "9x9")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mkv", "other.mkv", "photo.png"]


def test_without_pyav(tmp_path, refusal, monkeypatch):
    (tmp_path / "clip.mp4").touch()
    monkeypatch.setitem(sys.modules, "av", None)
    line = refusal(tmp_path / "clip.mp4", "-s", 2)
    assert 'videos need PyAV, which is not installed; pip install "moeisr_plugin[video]" installs it' in line
