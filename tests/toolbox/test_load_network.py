"""The toolbox loads networks from both formats without running code."""

import os

import pytest
import torch
from basicsr.models.base_model import BaseModel

from moeisr_plugin.utils.tensor_files import write_tensor_file


class Harm:
    def __reduce__(self):
        return os.mkdir, ("harm",)


class Model(BaseModel):
    """A toolbox model with no more than loading a network needs."""

    def __init__(self):
        pass


def test_networks_are_loaded_from_both_formats_with_or_without_an_entry(tmp_path):
    source = torch.nn.Conv2d(2, 3, 1)
    entry = {f"module.{name}": value for name, value in source.state_dict().items()}
    for name in ("net.pth", "net.safetensors"):
        write_tensor_file(tmp_path / name, {"params": entry})
        for key in ("params", "params_ema", None):
            net = torch.nn.Conv2d(2, 3, 1)
            Model().load_network(net, str(tmp_path / name), param_key=key)  # type: ignore[arg-type]
            torch.testing.assert_close(net.state_dict(), source.state_dict())


def test_a_misfit_is_reported_in_one_line_or_loaded_as_far_as_it_fits(tmp_path):
    source, net = torch.nn.Conv2d(2, 3, 1), torch.nn.Conv2d(4, 3, 1)
    write_tensor_file(tmp_path / "net.pth", {"params": source.state_dict()})
    with pytest.raises(
        ValueError, match=r"net\.pth: does not fit Conv2d; of another shape: weight"
    ) as caught:
        Model().load_network(net, str(tmp_path / "net.pth"))
    assert "\n" not in str(caught.value)
    Model().load_network(net, str(tmp_path / "net.pth"), strict=False)
    torch.testing.assert_close(net.bias, source.bias)


def test_nothing_in_a_pretrained_network_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"params": Harm()}, "net.pth")
    with pytest.raises(ValueError, match=r"net\.pth: not a readable checkpoint"):
        Model().load_network(torch.nn.Conv2d(2, 3, 1), "net.pth")
    assert not (tmp_path / "harm").exists()
