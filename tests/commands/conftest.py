"""Fixtures of the tests of commands."""

import pytest
from upscale_command import Bicubic, draw


@pytest.fixture
def upscaler(monkeypatch):
    """Replace the network of `moeisr upscale` by bicubic enlargement."""
    monkeypatch.setattr("moeisr_plugin.upscaler.Upscaler", Bicubic)
    monkeypatch.setattr("moeisr_plugin.commands.memory._of_network", lambda *_: (0, 0))
    monkeypatch.setattr(Bicubic, "mapped", True)
    return Bicubic


@pytest.fixture
def photo(tmp_path):
    return draw(tmp_path / "photo.png")
