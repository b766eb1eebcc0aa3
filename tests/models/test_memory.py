"""Allocator settings, measured by page faults."""

import os
import platform

import pytest
from processes import run_python

from moeisr_plugin import train

pytestmark = pytest.mark.slow

FAULTS = """
import resource, sys, torch
from moeisr_plugin.models.memory import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()
faults = []
for _ in range(4):
    torch.ones(10, 1_000_000)  # more than glibc keeps by default
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(faults[-1] - faults[0])
"""


@pytest.fixture(autouse=True)
def _default_allocator(monkeypatch):
    for name in os.environ:
        if name.startswith(("MALLOC_", "GLIBC_TUNABLES")):
            monkeypatch.delenv(name)


def test_training_keeps_freed_memory(monkeypatch):
    calls = []
    monkeypatch.setattr("moeisr_plugin.models.memory.keep_freed_memory", lambda: calls.append("keep"))
    monkeypatch.setattr("basicsr.train.train_pipeline", lambda root: calls.append(root))
    train.main("root")
    assert calls == ["keep", "root"]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_keeping_freed_memory_halves_page_faults_unless_the_environment_configures_it(warm):
    by_default, kept = (int(warm.run("-c", FAULTS, mode).stdout) for mode in ("leave", "keep"))
    assert kept < by_default / 2
    for settings in (
        {"MALLOC_MMAP_THRESHOLD_": "1048576"},
        {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=1048576"},
    ):
        assert int(run_python(FAULTS, "keep", **settings).stdout) > by_default / 2
