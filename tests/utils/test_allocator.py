"""Allocator settings, measured by page faults."""

import os
import platform

import pytest
from processes import run_python

from moeisr_plugin import train

pytestmark = pytest.mark.slow

FAULTS = """
import ctypes, resource, sys
from moeisr_plugin.utils.allocator import keep_freed_memory, return_freed_memory

modes = {"keep": [None], "keep blocks": [10**8], "keep smaller blocks": [10**7]}
for largest in modes.get(sys.argv[1], []):
    keep_freed_memory(largest)
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
faults = []
for _ in range(4):
    block = ctypes.c_void_p(libc.malloc(40_000_000))  # more than glibc keeps by default
    ctypes.memset(block, 1, 40_000_000)
    libc.free(block)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(faults[-1] - faults[0])
kept = int(open("/proc/self/statm").read().split()[1])
return_freed_memory()
print(kept - int(open("/proc/self/statm").read().split()[1]))
"""
BLOCK = 40_000_000 // 4096  # pages


@pytest.fixture(autouse=True)
def _default_allocator(monkeypatch):
    for name in os.environ:
        if name.startswith(("MALLOC_", "GLIBC_TUNABLES")):
            monkeypatch.delenv(name)


def test_training_keeps_freed_memory(monkeypatch):
    calls = []
    monkeypatch.setattr("moeisr_plugin.train.keep_freed_memory", lambda: calls.append("keep"))
    monkeypatch.setattr("basicsr.train.train_pipeline", lambda root: calls.append(root))
    train.main("root")
    assert calls == ["keep", "root"]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_keeping_freed_memory_saves_page_faults_and_can_return_it():
    def run(mode):
        return [int(line) for line in run_python(FAULTS, mode).stdout.split()]

    for mode in ("leave", "keep smaller blocks"):
        faults, returned = run(mode)
        assert faults > 2 * BLOCK
        assert returned < BLOCK / 2
    for mode in ("keep", "keep blocks"):
        faults, returned = run(mode)
        assert faults < BLOCK
        assert returned > BLOCK / 2


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_an_allocator_that_the_environment_configures_is_left_alone():
    for settings in (
        {"MALLOC_MMAP_THRESHOLD_": "1048576"},
        {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=1048576"},
    ):
        faults, _ = run_python(FAULTS, "keep", **settings).stdout.split()
        assert int(faults) > 2 * BLOCK
