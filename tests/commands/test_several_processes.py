"""`torchrun -m moeisr_plugin.cli`: several processes share the pictures of `upscale` and `evaluate`."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from moeisr_plugin.cli import main

NETWORK = "tiny_MoEISR_LIIF_s"


@pytest.fixture
def folder(tmp_path):
    """A folder of four pictures of different sizes and of one that is none."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for index in range(4):
        pixels = generator.integers(0, 256, (17 + 4 * index, 23 - 3 * index, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    (folder / "none.png").write_bytes(b"text")
    return folder


def torchrun(command_name, *arguments, cwd):
    """Start two processes of a command."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    return subprocess.Popen(
        [*command, "-m", "moeisr_plugin.cli", command_name, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_two_processes_write_the_files_of_one(folder, tmp_path):
    with torchrun("upscale", folder, "-s", "2.3", "-n", NETWORK, "-o", tmp_path / "two", cwd=tmp_path) as run:
        stdout, stderr = run.communicate()
    assert main(["upscale", str(folder), "-s", "2.3", "-n", NETWORK, "-o", str(tmp_path / "one")]) == 1
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == [f"{index}_x2.3.png" for index in range(4)]
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == files
    for name in files:
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    assert len(stdout.splitlines()) == 4
    assert len(re.findall(r"none\.png: is not a picture", stderr)) == 1
    assert re.search(rf"^4 pictures in .* by {NETWORK} on 2 processes$", stderr, re.MULTILINE)
    assert "moeisr upscale: 1 of 5 pictures failed\n" in stderr
    assert run.returncode == 1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds the processes in /proc")
def test_a_killed_process_is_named_and_the_rest_can_be_done_later(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(2):
        Image.fromarray(np.full((200, 200, 3), 90 * index, np.uint8)).save(folder / f"{index}.png")
    out = tmp_path / "out"
    with torchrun("upscale", folder, "-s", "16", "-n", NETWORK, "-o", out, cwd=tmp_path) as run:
        os.kill(process_with(run.pid, "RANK=1", writes_in=out), signal.SIGKILL)
        _, stderr = run.communicate()
    assert run.returncode != 0
    named = re.findall(
        r"^moeisr upscale: process 1 of 2 ended early while .*\d\.png; run", stderr, re.MULTILINE
    )
    assert len(named) == 1, stderr
    assert main(["upscale", str(folder), "-s", "16", "-n", NETWORK, "-o", str(out), "--skip-existing"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["0_x16.png", "1_x16.png"]


def process_with(parent, variable, *, writes_in):
    """Return the child of a process with a variable in its environment, once both children write a file."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True)
        if writes_in.is_dir() and len(list(writes_in.iterdir())) == 2:
            for child in map(int, children.stdout.split()):
                with open(f"/proc/{child}/environ", "rb") as file:
                    if variable.encode() in file.read().split(b"\0"):
                        return child
        time.sleep(0.02)
    raise AssertionError("the processes did not begin to write")


@pytest.fixture
def test_set(tmp_path):
    """A data set of five pictures, of which one is too small for ×3."""
    folder = tmp_path / "set"
    folder.mkdir()
    generator = np.random.default_rng(1)
    for index, (width, height) in enumerate([(47, 33), (26, 51), (9, 9), (33, 33), (61, 30)]):
        pixels = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((width, height)).save(folder / f"p{index}.png")
    return folder


def without_times(report):
    """Return a report without its times, and without the number of processes that affects them."""
    if isinstance(report, list):
        return [without_times(each) for each in report]
    if isinstance(report, dict):
        return {
            key: without_times(value)
            for key, value in report.items()
            if not key.endswith("_seconds") and key != "processes"
        }
    return report


@pytest.mark.slow
def test_two_processes_evaluate_as_one(test_set, tmp_path):
    method = tmp_path / "method"
    for scale in (2, 3):
        (method / f"x{scale}").mkdir(parents=True)
        for path in test_set.iterdir():
            with Image.open(path) as hr:
                size = [side // scale * scale for side in hr.size]
                hr.resize(size).save(method / f"x{scale}" / path.name)
    options = ["--weights", NETWORK, "tiny_LTE", "--data", test_set, "--scales", "2", "3"]
    options += ["--routing", "--budgets", "3", "--pictures", f"nearest={method}", "--save-images"]
    with torchrun("evaluate", *options, "-o", tmp_path / "two", cwd=tmp_path) as run:
        stdout, stderr = run.communicate()
    assert run.returncode == 0, stderr
    assert main(["evaluate", *map(str, options), "-o", str(tmp_path / "one")]) == 0
    one, two = (
        json.loads((tmp_path / name / "results.json").read_text(encoding="utf-8")) for name in ("one", "two")
    )
    assert two["machine"]["processes"] == 2
    assert two["skipped"]
    assert {row["weights"] for row in two["pictures"]} == {"bicubic", "nearest", *two["networks"]}
    assert len(two["networks"]) == 2
    assert without_times(two) == without_times(one)
    assert stdout == (tmp_path / "two" / "results.md").read_text(encoding="utf-8")
    for path in (tmp_path / "one/images").rglob("*.png"):
        other = tmp_path / "two" / path.relative_to(tmp_path / "one")
        assert other.read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_an_error_of_an_evaluation_is_one_line_of_one_process(test_set, tmp_path):
    picture = test_set / "p1.png"
    picture.write_bytes(picture.read_bytes()[:-900])  # found when its pixels are read
    out = tmp_path / "out"
    options = ["--weights", NETWORK, "--data", test_set, "--scales", "2", "-o", out]
    with torchrun("evaluate", *options, cwd=tmp_path) as run:
        stdout, stderr = run.communicate()
    assert run.returncode != 0
    lines = re.findall(r"^moeisr .*$", stderr, re.MULTILINE)
    assert len(lines) == 1, stderr
    assert re.match(r"moeisr evaluate: .*p1\.png: is damaged", lines[0])
    assert stdout == ""
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds the processes in /proc")
def test_a_killed_process_of_an_evaluation_is_named(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(2):
        Image.fromarray(np.full((99, 99, 3), 90 * index, np.uint8)).save(folder / f"{index}.png")
    out = tmp_path / "out"
    options = ["--weights", NETWORK, "--data", folder, "--scales", "2", "--repeats", "999", "--save-images"]
    with torchrun("evaluate", *options, "-o", out, cwd=tmp_path) as run:
        images = out / "images/bicubic/pictures_x2"
        os.kill(process_with(run.pid, "RANK=1", writes_in=images), signal.SIGKILL)
        _, stderr = run.communicate()
    assert run.returncode != 0
    named = re.findall(
        r"^moeisr evaluate: process 1 of 2 ended early while .*\d at ×2 by .*; run", stderr, re.MULTILINE
    )
    assert len(named) == 1, stderr
    assert not (out / "results.json").exists()
