"""Under `ulimit -v`, PyTorch is not loaded where it would end the process; one line says so."""

import resource
import subprocess
import sys

import pytest
from processes import ROOT

LIMIT = 4 * 10**8
"""Enough for Python and the planning of pictures, too little for the libraries of PyTorch."""


@pytest.mark.parametrize(
    "command",
    [
        "cli convert a.pth b.pth",
        "cli evaluate --weights a.pth --data pictures",
        "cli complexity --weights tiny_LIIF",
        "cli upscale a.png -s 2",
        "cli upscale a.png -s 2 --import own.py",
        "train -opt a.yml",
        "test -opt a.yml",
    ],
)
def test_programs_end_in_one_line(command, tmp_path):
    (tmp_path / "own.py").write_text("import torch\n")
    done = subprocess.run(
        [sys.executable, "-m", *f"moeisr_plugin.{command}".split()],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT)),
    )
    [line] = done.stderr.splitlines()
    assert ": PyTorch needs about " in line
    assert "are available; raise the limit (ulimit -v)" in line
    assert done.returncode == 2


def test_without_a_limit_nothing_is_refused(monkeypatch):
    from moeisr_plugin.utils import torch_memory

    monkeypatch.setattr(torch_memory, "available_addresses", lambda: None)
    monkeypatch.delitem(sys.modules, "torch")
    torch_memory.require_memory_for_torch()
    monkeypatch.setattr(torch_memory, "available_addresses", lambda: 10**7)
    with pytest.raises(ValueError, match=r"^PyTorch needs about .* but 10 MB are available; raise the limit"):
        torch_memory.require_memory_for_torch()
