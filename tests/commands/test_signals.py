"""Programs that are ended at random moments leave no half file and print one line."""

import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from processes import ROOT, settings_of
from warm import WarmProcess

UPSCALE = ("moeisr_plugin.cli", "upscale", "in", "-o", "out", "--overwrite", "--scale", "1.5")
PROGRAMS = {
    "upscale": (*UPSCALE, "--weights", "tiny_MoEISR_LIIF_s"),
    "convert": ("moeisr_plugin.cli", "convert", "weights.pth", "out/net.pth"),
    "evaluate": ("moeisr_plugin.cli", "evaluate", "--weights", "tiny_LIIF", "--data", "in", "-o", "out"),
    "options": ("moeisr_plugin.cli", "options", "options.yml"),
    "train": ("moeisr_plugin.train", "-opt", "options.yml"),
    "test": ("moeisr_plugin.test", "-opt", "options.yml"),
    "run": ("moeisr_plugin.run", "script.py"),
}
AnyProcess = subprocess.Popen | WarmProcess
CATCHES_SIGTERM = 1 << (signal.SIGTERM - 1)


@pytest.fixture
def folder(tmp_path):
    """A folder with inputs for all programs."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        Image.fromarray(rng.integers(0, 255, (90, 101, 3), dtype=np.uint8)).save(
            tmp_path / f"in/{number}.png"
        )
    (tmp_path / "options.yml").write_text("name: a\n")
    (tmp_path / "script.py").write_text("import time\ntime.sleep(60)\n")
    return tmp_path


def start_cold(name: str, folder: Path) -> subprocess.Popen:
    """Start a program, with all its imports."""
    return subprocess.Popen(
        [sys.executable, "-m", *PROGRAMS[name]],
        cwd=folder,
        env={**settings_of("", {}), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a shell may ignore it
    )


def wait_for_handlers(process: AnyProcess) -> None:
    """Wait until the package is loaded. Before that, Python itself prints a traceback."""
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
        if int(caught, 16) & CATCHES_SIGTERM:
            return
        time.sleep(0.002)


def end(
    process: subprocess.Popen | WarmProcess, number: signal.Signals, seconds: float
) -> tuple[int, list[str]]:
    """Send a signal to a program after some time. Return its status and the lines on stderr."""
    if number != signal.SIGKILL:
        wait_for_handlers(process)
    time.sleep(seconds)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode is not None
    return process.returncode, stderr.splitlines()


def assert_whole(folder: Path) -> None:
    """Every file is a whole picture, except the temporary ones."""
    for path in folder.iterdir():
        if not path.name.endswith(".part"):
            with Image.open(path) as image:
                image.load()
                assert image.size == (152, 135)


@pytest.fixture
def upscale(warm, folder):
    """Return a function that starts the program in which imports of other packages are done."""
    return lambda: warm.start("-m", *PROGRAMS["upscale"], cwd=folder)


@pytest.fixture
def finish(upscale, folder):
    """Return a function that runs the program to its end: all outputs are there, and nothing else."""

    def run():
        process = upscale()
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr
        assert sorted(path.name for path in (folder / "out").iterdir()) == [f"{n}_x1.5.png" for n in range(3)]

    return run


@pytest.fixture
def started(upscale, finish, folder):
    """Return a function that starts programs and gives moments during them.

    Half of the first six programs have all their imports, which take most of two seconds.
    """
    finish()
    before = time.monotonic()
    finish()
    duration = time.monotonic() - before

    def processes(count, seed):
        rng = random.Random(seed)
        for place in range(count):
            cold = place in (1, 3, 5)
            process = start_cold("upscale", folder) if cold else upscale()
            yield process, rng.uniform(0, 2 if cold else 1.2 * duration)

    return processes


COUNTS = [3, pytest.param(20, marks=pytest.mark.slow)]


@pytest.mark.parametrize("count", COUNTS)
def test_kills_leave_no_half_file_and_nothing_after_the_next_run(count, folder, started, finish):
    for process, seconds in started(count, seed=count):
        end(process, signal.SIGKILL, seconds)
        assert_whole(folder / "out")
    finish()


@pytest.mark.parametrize("count", COUNTS)
def test_interrupts_leave_nothing_and_are_one_line(count, folder, started, finish):
    for place, (process, seconds) in enumerate(started(count, seed=count + 1)):
        number = signal.SIGTERM if place % 3 == 2 else signal.SIGINT
        status, lines = end(process, number, seconds)
        assert status in (0, 130, -number)  # 0 if it had ended
        if status == -number:  # Python removes all handlers at its very end
            assert len(list((folder / "out").iterdir())) == 3
        elif status:
            assert lines in (["cli: interrupted"], ["moeisr: interrupted"], ["moeisr upscale: interrupted"])
        assert_whole(folder / "out")
        assert not [path for path in (folder / "out").iterdir() if path.name.endswith(".part")]
    finish()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("name", ["evaluate", "train", "test", "run"])
def test_programs_end_in_one_line_during_imports(name, number, folder):
    status, lines = end(start_cold(name, folder), number, 0.3)
    assert status == 130
    assert len(lines) == 1
    assert lines[0].endswith(": interrupted")


@pytest.mark.slow
def test_a_closed_pipe_ends_quietly(folder):
    command = f"{sys.executable} -m moeisr_plugin.cli options options.yml | true"
    settings = {**os.environ, "PYTHONPATH": str(ROOT)}
    (folder / "options.yml").write_text("".join(f"key{n}: {n:01500}\n" for n in range(200)))
    done = subprocess.run(
        ["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}"], cwd=folder, env=settings, capture_output=True
    )
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("size", [100, 5_000, 200_000])  # buffered, and written directly
@pytest.mark.parametrize("stream", ["sys.stdout", "sys.stdout.buffer"])
def test_a_pipe_without_a_reader_ends_quietly(stream, size):
    content = "'x'" if stream == "sys.stdout" else "b'x'"
    code = f"""
import sys
from moeisr_plugin.commands.programs import run_program
def work():
    {stream}.write({size} * {content})
    {stream}.flush()
    return 0
sys.exit(run_program("program", work, debug=False))
"""
    reader, writer = os.pipe()
    os.close(reader)
    settings = {**os.environ, "PYTHONPATH": str(ROOT)}
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], env=settings, stdout=writer, stderr=subprocess.PIPE, timeout=60
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def assert_success_or_no_memory(done: subprocess.CompletedProcess, folder: Path) -> None:
    lines = done.stderr.splitlines()
    assert done.returncode in (0, 2), done.stderr
    assert len(lines) == (1 if done.returncode else 0), done.stderr
    if done.returncode:
        assert "memory" in lines[0]
        assert not list((folder / "out").iterdir())


@pytest.mark.parametrize(
    "gigabytes", [0.3, 0.9, *(pytest.param(size, marks=pytest.mark.slow) for size in (1.0, 1.3))]
)
def test_memory_limited_from_the_start_ends_in_success_or_in_one_line(gigabytes, folder):
    limit = int(gigabytes * 1e9)
    done = subprocess.run(
        [sys.executable, "-m", *PROGRAMS["upscale"], "--quiet"],
        cwd=folder,
        env=settings_of("", {}),
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert_success_or_no_memory(done, folder)


# Limits the memory of the program to what it has plus a number of megabytes.
LIMITED = """
import pathlib, resource, sys
from moeisr_plugin import cli
pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + int(sys.argv.pop(1)) * 10**6
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("megabytes", [0, 5, 50, 100, 200, 800])
def test_memory_that_runs_out_ends_in_success_or_in_one_line(megabytes, folder, warm):
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 255, (300, 401, 3), dtype=np.uint8)).save(folder / "large.png")
    command = (*UPSCALE[1:2], "large.png", *UPSCALE[3:], "--weights", "tiny_MoEISR_LIIF_s", "--quiet")
    done = warm.run("-c", LIMITED, megabytes, *command, cwd=folder)
    assert_success_or_no_memory(done, folder)
