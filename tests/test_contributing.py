"""The recipes of CONTRIBUTING.md run."""

import argparse
import re
from pathlib import Path

import pytest
import torch
from basicsr.utils.registry import ARCH_REGISTRY, LOSS_REGISTRY

from moeisr_plugin.archs import reference, registry
from moeisr_plugin.render import encode, render

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
RECIPES = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def recipes():
    """Run all recipes in one namespace; afterwards forget what they registered."""
    torch.manual_seed(0)
    before = [dict(table) for table in (registry.NETWORKS, ARCH_REGISTRY._obj_map, LOSS_REGISTRY._obj_map)]
    namespace = {"__name__": "contributing"}
    for recipe in RECIPES:
        exec(recipe, namespace)
    yield namespace
    tables = (registry.NETWORKS, ARCH_REGISTRY._obj_map, LOSS_REGISTRY._obj_map)
    for table, content in zip(tables, before, strict=True):
        table.clear()
        table.update(content)


@pytest.mark.parametrize("name", ["net", "mixture"])
def test_networks_of_the_recipes_render_as_the_reference(recipes, name):
    net, lr = recipes[name].eval(), torch.rand(1, 3, 5, 7)
    encoding = encode(net, lr)
    torch.testing.assert_close(
        render(net, encoding, (12, 17)), reference.render(net, encoding, (12, 17)), rtol=0, atol=2e-5
    )


def test_the_loss_is_built_by_the_toolbox(recipes):
    loss = LOSS_REGISTRY.get("CharbonnierOfContributing")(eps=0.0)
    assert loss(torch.zeros(2, 3), torch.full((2, 3), 0.5)).item() == pytest.approx(0.5)


def test_the_command_prints_the_width(recipes, capsys):
    parser = argparse.ArgumentParser()
    recipes["add_parser"](parser.add_subparsers())
    assert recipes["run"](parser.parse_args(["width", "tiny_LIIF"])) == 0
    assert int(capsys.readouterr().out) > 0
