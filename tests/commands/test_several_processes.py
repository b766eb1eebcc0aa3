"""`torchrun -m moeisr_plugin.cli upscale`: several processes share a folder."""

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


def torchrun(*arguments, cwd):
    """Start two processes of `moeisr upscale`."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    return subprocess.Popen(
        [*command, "-m", "moeisr_plugin.cli", "upscale", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_two_processes_write_the_files_of_one(folder, tmp_path):
    with torchrun(folder, "-s", "2.3", "-n", NETWORK, "-o", tmp_path / "two", cwd=tmp_path) as run:
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
    with torchrun(folder, "-s", "16", "-n", NETWORK, "-o", out, cwd=tmp_path) as run:
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
