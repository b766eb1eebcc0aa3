"""The toolbox's `parse_options` reads options safely and checks them."""

import sys
from collections import OrderedDict

import basicsr.train
import pytest
import torch
import yaml
from basicsr.utils import options

from moeisr_plugin.utils.option_yaml import OptionsDumper, OptionsLoader


@pytest.fixture
def parse(tmp_path, monkeypatch, training_options):
    """Return a function that writes options and further text into a file and has the toolbox parse it."""

    def parse_file(*arguments: str, extra: str = "") -> dict:
        path = tmp_path / "options.yml"
        path.write_text(yaml.safe_dump(training_options, sort_keys=False) + extra)
        monkeypatch.setattr(sys, "argv", ["train.py", "-opt", str(path), *arguments])
        return basicsr.train.parse_options(str(tmp_path), is_train=True)[0]

    return parse_file


def test_options_reach_the_toolbox_ordered_at_every_level(parse, training_options):
    opt = parse()
    for section, written in (
        (opt, training_options),
        (opt["network_g"]["encoder"], training_options["network_g"]["encoder"]),
    ):
        assert isinstance(section, OrderedDict)
        assert list(section)[: len(written)] == list(written)


def test_options_reach_the_toolbox_in_their_types(parse, training_options):
    training_options["train"]["optim_g"]["lr"] = "2e-4"
    opt = parse("--force_yml", "train:total_iter=!!float 1e3", "network_g:expert_depths=[2, 3, 4]")
    assert opt["train"]["optim_g"]["lr"] == 2e-4
    assert opt["train"]["total_iter"] == 1000
    assert opt["network_g"]["expert_depths"] == [2, 3, 4]


def test_forced_values_are_not_evaluated(parse, tmp_path):
    evil = f"[__import__('os').mkdir({str(tmp_path / 'executed')!r})]"
    with pytest.raises(SystemExit, match="2"):
        parse("--force_yml", f"network_g:expert_depths={evil}")
    with pytest.raises(SystemExit, match="2"):
        parse("--force_yml", f'name"]=__import__("os").mkdir("{tmp_path / "executed"}");opt["name=x')
    assert not (tmp_path / "executed").exists()


def test_parsing_restores_the_command_line_and_the_loader(parse):
    loader = options.ordered_yaml()
    parse("--force_yml", "name=other")
    assert sys.argv[-2:] == ["--force_yml", "name=other"]
    assert options.ordered_yaml() == loader


def test_auto_counts_the_gpus(parse, training_options):
    training_options["num_gpu"] = "auto"
    training_options["datasets"]["train"]["dataset_enlarge_ratio"] = 100
    assert parse()["num_gpu"] == torch.cuda.device_count()


def test_the_toolbox_uses_the_safe_loader():
    assert options.ordered_yaml() == (OptionsLoader, OptionsDumper)


def test_lists_of_folders_reach_the_toolbox_expanded(parse, training_options, photographs, monkeypatch):
    monkeypatch.setenv("HOME", str(photographs.parent))
    roots = [f"~/{photographs.name}", str(photographs)]
    training_options["datasets"]["train"].update(dataroot_gt=roots, dataroot_lq=roots[::-1])
    training_options["datasets"]["val_1"]["dataroot_gt"] = roots[0]
    opt = parse()
    for key in ("dataroot_gt", "dataroot_lq"):
        assert opt["datasets"]["train"][key] == [str(photographs)] * 2
    assert opt["datasets"]["val_1"]["dataroot_gt"] == str(photographs)
