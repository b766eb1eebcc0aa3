"""The tables of options name every key of the shipped option files, with words and defaults."""

import inspect
from pathlib import Path

import pytest

from moeisr_plugin.archs.implicit_arch import MoEISRLIIF
from moeisr_plugin.cli import main
from moeisr_plugin.losses import BalanceLoss, CostLoss
from moeisr_plugin.options.parse import read_options

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "options/train/EDSR/train_EDSR_MoEISR_LIIF_b.yml"


@pytest.fixture
def tables(capsys) -> dict[str, dict[str, list[str]]]:
    """The cells beside each key, by the title of the table."""
    assert main(["options", "--table"]) == 0
    found: dict[str, dict[str, list[str]]] = {}
    for line in capsys.readouterr().out.splitlines():
        if line.startswith("### "):
            rows = found.setdefault(line.removeprefix("### "), {})
        elif line.startswith("| `"):
            key, *cells = (cell.strip() for cell in line.strip("|").split("|"))
            rows[key.strip("`")] = cells
    return found


def test_every_key_of_an_option_file_is_in_a_table(tables):
    opt = read_options(EXAMPLE)
    sections = {
        "top level": opt,
        "path": opt["path"],
        "train": opt["train"],
        "val": opt["val"],
        "logger": opt["logger"],
        "type MoEISRLIIF": opt["network_g"],
        "type EDSREncoder": opt["network_g"]["encoder"],
        "type ArbitraryScaleDataset": opt["datasets"]["train"],
        "type BalanceLoss": opt["train"]["balance_opt"],
    }
    for title, section in sections.items():
        assert set(section) <= set(tables[title]), title


def test_cells_hold_the_allowed_values_and_the_defaults(tables):
    assert tables["train"]["total_iter"] == ["a whole number of at least 1; required", ""]
    row = tables["type MoEISRLIIF"]["hidden_dim"]
    default = inspect.signature(MoEISRLIIF).parameters["hidden_dim"].default
    assert row == ["a whole number of at least 1", f"`{default}`"]


def test_the_table_of_a_class_holds_its_own_parameters_alone(tables):
    """`train.distillation_opt` takes any loss, and a teacher besides."""
    for loss in (BalanceLoss, CostLoss):
        assert set(tables[f"type {loss.__name__}"]) == {"type", *inspect.signature(loss).parameters}


def test_the_encoder_of_every_network_is_described_alike(tables):
    for network in ("CiaoSR", "LIIF", "LTE", "MoEISRCiaoSR", "MoEISRLIIF", "MoEISRLTE"):
        assert tables[f"type {network}"]["encoder"] == ["a section with a type; required", ""]


@pytest.mark.parametrize(
    ("title", "keys"),
    [
        ("top level", {"import"}),
        ("network_g", {"type", "from"}),
        ("train", {"encoder_from", "freeze", "distillation_opt"}),
        ("train.optim_g", {"type", "lr", "rates"}),
        ("train.distillation_opt", {"type", "teacher"}),
        ("val.metrics.NAME", {"type", "better", "protocol", "scale"}),
        ("type ArbitraryScaleDataset.degradation", {"blur", "noise", "jpeg"}),
        ("type ArbitraryScaleDataset.degradation.noise", {"sigma", "gray_probability", "probability"}),
    ],
)
def test_keys_outside_the_classes_of_this_package_are_in_a_table(title, keys, tables):
    assert keys <= tables[title].keys()


def test_no_table_is_empty(tables):
    assert all(tables.values())
