"""tools/interpolate.py writes weights between those of two networks, with the origin of both."""

from pathlib import Path

import pytest
import torch

from moeisr_plugin.archs.implicit_arch import LIIF, MoEISRLIIF
from moeisr_plugin.checkpoints.network import network_from, read_checkpoint, save_checkpoint
from moeisr_plugin.utils.hashing import sha256_of

EDSR = {"type": "EDSREncoder", "num_feat": 8, "num_block": 1}


@pytest.fixture
def interpolate(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "tools"))
    return __import__("interpolate").main


def saved(path, seed, net_class=LIIF, **entries):
    torch.manual_seed(seed)
    net = net_class(encoder=dict(EDSR), hidden_dim=8)
    content = {"params": net.state_dict(), "network_g": net.hyper_parameters, **entries}
    save_checkpoint(path, content)
    return net


def test_weights_lie_between_those_of_both_networks(interpolate, tmp_path):
    first, second = saved(tmp_path / "a.pth", 0), saved(tmp_path / "b.pth", 1, started_from=[{"file": "x"}])
    out = tmp_path / "mixed.pth"
    assert (
        interpolate([str(tmp_path / "a.pth"), str(tmp_path / "b.pth"), "--share", "0.25", "-o", str(out)])
        == 0
    )
    mixed = network_from(out).state_dict()
    theirs = second.state_dict()
    for key, value in first.state_dict().items():
        torch.testing.assert_close(mixed[key], 0.75 * value + 0.25 * theirs[key])
    inherited, original = read_checkpoint(out)["started_from"]
    assert inherited == {"file": "x"}
    assert original["sha256"] == sha256_of(tmp_path / "a.pth")
    assert original["part"] == "network_g, interpolated: 0.75 of the sum"


@pytest.mark.parametrize(
    ("share", "other", "message"),
    [
        ("1.5", LIIF, "--share: is 1.5; give a number from 0 to 1"),
        ("0.5", MoEISRLIIF, "networks of different structure; give related ones"),
    ],
)
def test_wrong_input_is_one_line(interpolate, tmp_path, capsys, share, other, message):
    saved(tmp_path / "a.pth", 0)
    saved(tmp_path / "b.pth", 1, other)
    out = tmp_path / "mixed.pth"
    with pytest.raises(SystemExit, match="2"):
        interpolate([str(tmp_path / "a.pth"), str(tmp_path / "b.pth"), "--share", share, "-o", str(out)])
    assert message in capsys.readouterr().err
    assert not out.exists()
