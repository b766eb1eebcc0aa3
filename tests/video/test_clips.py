"""Clips are enlarged in bounded memory, and interrupted ones leave nothing."""

import signal
import time

import pytest
import torch
from processes import run_python
from video_files import noise, write_video

from moeisr_plugin.archs.implicit_arch import MoEISRLIIF
from moeisr_plugin.checkpoints.network import save_checkpoint
from moeisr_plugin.video.clips import enlarge_clip, seconds_per_frame
from moeisr_plugin.video.formats import coding_of
from moeisr_plugin.video.probing import read_clip

LIMIT = 10**6

MEMORY = """
import os, pathlib, sys
os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] = "32"  # reached within 100 frames
import numpy as np
from moeisr_plugin.upscaler import Upscaler
from moeisr_plugin.video.clips import enlarge_clip
from moeisr_plugin.video.formats import coding_of
from moeisr_plugin.video.frames import FrameUpscaler
from moeisr_plugin.video.probing import read_clip

def resident():
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def show(frames):
    if frames in (100, 300):
        print(resident())

frames = FrameUpscaler(Upscaler(sys.argv[2], device="cpu"), (72, 96))
clip = read_clip(pathlib.Path(sys.argv[1]), max_pixels=10**6)
output = pathlib.Path(sys.argv[1]).with_name("out.mp4")
enlarge_clip(clip, output, (72, 96), frames, coding=coding_of("mp4", None), on_frame=show)
assert frames.kept[0] == 0
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length(tmp_path):
    """Frames are noise, so that each has other groups of pixels, and no tile is kept."""
    torch.manual_seed(0)
    net = MoEISRLIIF(encoder={"type": "EDSREncoder", "num_feat": 8, "num_block": 1}, hidden_dim=8)
    save_checkpoint(tmp_path / "net.pth", {"params": net.state_dict(), "network_g": net.hyper_parameters})
    source = write_video(tmp_path / "clip.mkv", noise(300))
    finished = run_python(MEMORY, str(source), str(tmp_path / "net.pth"))
    early, late = map(int, finished.stdout.split())
    output = 72 * 96 * 3 * 4  # bytes of a frame before it is rounded
    assert late - early < 100 * output  # of 200 frames


def test_frames_are_counted_as_they_come(tmp_path):
    clip = read_clip(write_video(tmp_path / "clip.mkv", noise(4)), max_pixels=LIMIT)
    shown = []
    written = enlarge_clip(
        clip,
        tmp_path / "out.mkv",
        (18, 24),
        lambda frame: frame,
        coding=coding_of("mkv", 100),
        on_frame=shown.append,
    )
    assert (clip.frames, clip.width, clip.height, written) == (4, 24, 18, 4)
    assert shown == [1, 2, 3, 4]
    assert clip.seconds == pytest.approx(0.16, abs=0.05)


def test_the_time_of_a_frame_is_that_of_one_that_changed(tmp_path):
    clip = read_clip(write_video(tmp_path / "clip.mkv", noise(2)), max_pixels=LIMIT)
    given = []
    assert seconds_per_frame(clip, lambda frame: given.append(frame) or frame) < 1
    assert len(given) == 2
    assert (given[0] != given[1]).all()


@pytest.mark.slow
def test_a_signal_leaves_no_file(tmp_path, warm):
    source = write_video(tmp_path / "clip.mkv", noise(400))
    command = ["upscale", source, "-s", 4, "-n", "tiny_MoEISR_LIIF_s", "--device", "cpu"]
    process = warm.start("-m", "moeisr_plugin.cli", *command)
    while not list(tmp_path.glob(".*.part")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    assert process.returncode == 130
    assert stderr == "moeisr upscale: interrupted\n"
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mkv"]
