"""The memory that is left is the smallest of what the system, its groups and its limits leave."""

import resource
from pathlib import Path

import pytest
from processes import run_python

from moeisr_plugin.utils import available_memory as module

GIB = 2**30


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A function that sets the content of files of the system."""
    files: dict[str, str] = {"/proc/meminfo": "MemAvailable: 8388608 kB\nSwapFree: 1048576 kB\n"}
    monkeypatch.setattr(module, "_text", lambda path: files.get(str(path), ""))
    monkeypatch.setattr(module.resource, "getrlimit", lambda number: (module.resource.RLIM_INFINITY,) * 2)
    return files


def test_of_the_system_with_swap(system):
    assert module.available_memory() == 9 * GIB
    system.clear()
    assert module.available_memory() is None


def test_of_control_groups_of_version_2_and_their_parents(system):
    system["/proc/self/cgroup"] = "0::/a/b\n"
    system["/sys/fs/cgroup/a/b/memory.max"] = "max\n"
    system["/sys/fs/cgroup/a/b/memory.current"] = "5\n"
    assert module.available_memory() == 9 * GIB
    system["/sys/fs/cgroup/a/memory.max"] = f"{4 * GIB}\n"
    system["/sys/fs/cgroup/a/memory.current"] = f"{3 * GIB}\n"
    assert module.available_memory() == GIB
    system["/sys/fs/cgroup/a/memory.stat"] = f"anon 7\ninactive_file {GIB}\n"  # cache that can be freed
    assert module.available_memory() == 2 * GIB


def test_of_control_groups_of_version_1_mounted_as_the_root(system):
    system["/proc/self/cgroup"] = "4:cpu,memory:/docker/abc\n2:cpuset:/\n"
    system["/sys/fs/cgroup/memory/memory.limit_in_bytes"] = f"{2 * GIB}\n"
    system["/sys/fs/cgroup/memory/memory.usage_in_bytes"] = f"{3 * GIB}\n"
    assert module.available_memory() == 0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize("name", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_of_limits_of_the_process(name):
    code = (
        "import resource, sys\nfrom moeisr_plugin.utils.available_memory import available_memory\n"
        "resource.setrlimit(getattr(resource, sys.argv[1]), (2**29, 2**29))\n"
        "held = bytearray(2**27)\nprint(available_memory())\n"
    )
    left = int(run_python(code, name).stdout)
    assert 2**27 < left < 2**29 - 2**27
    assert hasattr(resource, name)
