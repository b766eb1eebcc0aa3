"""Containers, codecs and sizes of videos."""

from pathlib import Path

import pytest

from moeisr_plugin.video.formats import (
    Sampling,
    check_even,
    coding_of,
    container_of,
    default_suffix,
    is_video_name,
)


def test_outputs_keep_the_suffix_of_inputs_that_are_written():
    suffixes = {
        "a.MP4": "mp4",
        "a.m4v": "m4v",
        "a.webm": "webm",
        "a.mov": "mov",
        "a.avi": "mkv",
        "a.ts": "mkv",
    }
    assert {name: default_suffix(Path(name)) for name in suffixes} == suffixes
    assert all(is_video_name(Path(name)) for name in suffixes)
    assert not is_video_name(Path("a.png"))
    assert not is_video_name(Path("mp4"))


def test_containers_follow_from_suffixes():
    assert [container_of(Path(name)) for name in ("a.M4V", "a.mkv")] == ["mp4", "mkv"]
    for name in ("a.avi", "a"):
        with pytest.raises(ValueError, match=r"choose \.mp4, \.mkv, \.mov, \.webm"):
            container_of(Path(name))


def test_quality_is_the_worst_to_nearly_lossless():
    for container, worst in (("mp4", 51), ("webm", 63)):
        found = [int(coding_of(container, quality).options["crf"]) for quality in range(1, 100)]
        assert (found[0], found[-1]) == (worst, 1)
        assert found == sorted(found, reverse=True)
    assert int(coding_of("mkv", None).options["crf"]) == 16


def test_quality_100_is_rgb_without_loss():
    assert [coding_of(name, 100).codec for name in ("mkv", "mp4")] == ["ffv1", "libx264rgb"]
    assert all(coding_of(name, 100).is_rgb for name in ("mkv", "mov"))
    with pytest.raises(ValueError, match="webm has no lossless RGB; choose mkv"):
        coding_of("webm", 100)


@pytest.mark.parametrize(("chroma", "remedy"), [(420, "642x362"), (422, "642x361"), (444, None)])
def test_odd_sizes_are_refused_where_chroma_is_halved(chroma, remedy):
    check_even((640, 360), Sampling(8, chroma), (640, 360), turned=False)
    if remedy is None:
        check_even((641, 361), Sampling(8, chroma), (641, 361), turned=False)
        return
    with pytest.raises(ValueError, match=f"would be 641x361, but yuv{chroma}p needs .* --size {remedy}, or"):
        check_even((641, 361), Sampling(8, chroma), (641, 361), turned=False)
