"""Allocator settings, measured by page faults."""

import os
import platform
import subprocess
import sys

import pytest

from moeisr_plugin import train

pytestmark = pytest.mark.slow

FAULTS = """
import resource, sys, torch
from moeisr_plugin.archs.experts import Expert
from moeisr_plugin.models.memory import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()
expert, features = Expert(in_features=4, hidden_dim=256, depth=3), torch.ones(40_000, 4)
faults = []
for _ in range(4):
    expert.finish(expert.first(features)).sum().backward()
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(faults[-1] - faults[0])
"""


def faults(mode, **environment):
    """Return the page faults of three training steps."""
    environment |= {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))
    }
    command = [sys.executable, "-c", FAULTS, mode]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)


def test_training_keeps_freed_memory(monkeypatch):
    calls = []
    monkeypatch.setattr("moeisr_plugin.models.memory.keep_freed_memory", lambda: calls.append("keep"))
    monkeypatch.setattr("basicsr.train.train_pipeline", lambda root: calls.append(root))
    train.main("root")
    assert calls == ["keep", "root"]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_keeping_freed_memory_halves_page_faults_unless_the_environment_configures_it():
    by_default = faults("leave")
    assert faults("keep") < by_default / 2
    assert faults("keep", MALLOC_MMAP_THRESHOLD_="1048576") > by_default / 2
    assert faults("keep", GLIBC_TUNABLES="glibc.malloc.mmap_threshold=1048576") > by_default / 2
