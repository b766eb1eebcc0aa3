"""Shortages of memory and of disk space are recognised, whoever reports them."""

import errno
import os
import resource
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from processes import run_python

from moeisr_plugin.utils import shortage
from moeisr_plugin.utils.atomic import atomic_write
from moeisr_plugin.utils.shortage import DiskShortageError, in_bytes, memory_shortage

CPU = "out of memory; close other programs, or give a smaller picture"


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("Unable to allocate 3.00 GiB for an array"),
        RuntimeError("could not create a primitive"),
        RuntimeError(
            "could not create a primitive descriptor for a convolution forward propagation primitive"
        ),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: "
        ),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
        RuntimeError("std::bad_alloc"),
        RuntimeError("unable to mmap 900 bytes from file <a.pth>: Cannot allocate memory (12)"),
        RuntimeError("can't start new thread"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        cv2.error("OpenCV(4.12.0) alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 8 bytes"),
        OSError("out of memory error when reading image file"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        zlib.error("Error -4 while decompressing data: not enough memory"),
        caused(ValueError("a.png: is damaged"), MemoryError()),
    ],
    ids=lambda error: f"{type(error).__name__} {error}"[:40],
)
def test_shortage_of_memory_is_one_line(error):
    assert memory_shortage(error) == CPU
    assert memory_shortage(error, "lower x") == "out of memory; lower x"


def test_numpy_and_opencv_raise_what_is_recognised():
    with pytest.raises(MemoryError) as by_numpy:
        np.empty(2**60, np.uint8)
    assert memory_shortage(by_numpy.value) == CPU
    with pytest.raises(cv2.error) as by_opencv:
        cv2.resize(np.zeros((2, 2), np.float64), (2**30, 2**30))
    assert memory_shortage(by_opencv.value) == CPU


@pytest.mark.parametrize(
    "error",
    [
        ValueError("out of memory.png: there is no such file"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        OSError(errno.ENOENT, "No such file"),
        KeyError("memory"),
    ],
)
def test_other_errors_are_no_shortage(error):
    assert memory_shortage(error) is None


def test_gpu():
    error = RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    assert memory_shortage(error) == "the GPU is out of memory; add --device cpu"
    assert memory_shortage(error, "lower x") == "the GPU is out of memory; lower x"


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (999_700, "1 MB"), (23_449_000_000, "23.4 GB")],
)
def test_bytes_are_never_zero_of_a_large_unit(number, text):
    assert in_bytes(number) == text


def write_until(error: OSError, path: Path) -> None:
    with atomic_write(path) as file:
        file.write(bytes(3000))
        file.flush()
        raise RuntimeError("as torch.save wraps it") from error


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.ENOSPC, "the disk is full after 3 kB (1.5 MB of 2 GB free); delete files, or choose a folder"),
        (errno.EDQUOT, "your disk quota is used up after 3 kB; delete files, or choose another folder"),
        (errno.EFBIG, "is too large for the file system after 3 kB; choose a folder on another disk"),
    ],
)
def test_full_disks_are_told_apart_with_numbers(code, message, tmp_path, monkeypatch):
    usage = type("usage", (), {"free": 1_500_000, "total": 2 * 10**9})
    monkeypatch.setattr(shortage.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(DiskShortageError) as caught:
        write_until(OSError(code, os.strerror(code)), tmp_path / "a.png")
    assert str(caught.value).startswith(f"{tmp_path / 'a.png'}: {message}")
    assert not list(tmp_path.iterdir())


def test_the_limit_of_a_file_is_named(tmp_path):
    code = (
        "import resource, sys\nfrom pathlib import Path\n"
        "from moeisr_plugin.utils.atomic import atomic_write\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (5000, {resource.RLIM_INFINITY}))\n"
        "try:\n    with atomic_write(Path(sys.argv[1])) as file:\n        file.write(bytes(20_000))\n"
        "except OSError as error:\n    print(error)\n"
    )
    done = run_python(code, str(tmp_path / "a.png"))
    assert done.stdout.strip() == (
        f"{tmp_path / 'a.png'}: is larger than 5 kB, the limit of a file (ulimit -f); raise the limit"
    ), done.stderr
    assert not list(tmp_path.iterdir())
