"""The JSON schema accepts the shipped option files and refuses wrong ones, as the check does."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from basicsr.utils.registry import ARCH_REGISTRY
from jsonschema import Draft7Validator

from moeisr_plugin.cli import main
from moeisr_plugin.options import Run, check
from moeisr_plugin.options.json_schema import json_schema
from moeisr_plugin.options.parse import read_options
from moeisr_plugin.utils.option_yaml import OptionsLoader

ROOT = Path(__file__).parents[2]
OPTIONS = sorted((ROOT / "options").glob("t*/**/*.yml"))
EXAMPLE = ROOT / "options/train/EDSR/train_EDSR_MoEISR_LIIF_b.yml"


@pytest.fixture(scope="module")
def validator():
    schema = json.loads(json.dumps(json_schema()))  # as printed
    Draft7Validator.check_schema(schema)
    return Draft7Validator(schema)


def problems_of(validator, opt) -> set[str]:
    """Return the paths of the values that the schema refuses, without those of the sections around them."""
    return {".".join(map(str, error.absolute_path)) for error in validator.iter_errors(opt)}


def edited(path: str, value: object) -> dict:
    opt = json.loads(json.dumps(read_options(EXAMPLE)))
    *sections, key = path.split(".")
    section = opt
    for name in sections:
        section = section[name]
    section[key] = value
    return opt


@pytest.mark.parametrize("path", OPTIONS, ids=lambda path: path.stem)
def test_shipped_option_files_are_valid_resolved_and_as_they_are(path, validator):
    unresolved = yaml.load(path.read_text(), Loader=OptionsLoader)
    for opt in (read_options(path), unresolved):
        assert problems_of(validator, json.loads(json.dumps(opt))) == set()


WRONG = {
    "name": None,
    "model_type": "ImplicitModel",
    "num_gpu": "all",
    "network_g.type": "MoEISRLIF",
    "network_g.hidden_dim": 256.5,
    "network_g.expert_depths": [2, 2],
    "network_g.mapper_kernel_size": 4,
    "network_g.encoder.num_feat": "many",
    "datasets.train.scale_range": [4],
    "datasets.train.use_rot": "maybe",
    "datasets.train.cache": "disk",
    "datasets.train.dataroot_lq": [],
    "datasets.train.filename_tmpl": ["{}x2", "{}x{}"],
    "datasets.train.mixed_scales": "yes",
    "datasets.train.use_shuffle": True,
    "datasets.train.io_backend": "lmdb",
    "datasets.val_1.scale": 0.5,
    "train.total_iter": [1],
    "train.ema_decay": 1,
    "train.optim_g.lr": 0,
    "train.optim_g.betas": [0.9],
    "train.scheduler.milestones": 5,
    "train.pixel_opt.reduction": "none",
    "train.optim_g.rates": {"encoder": 0},
    "train.distillation_opt": {"type": "L1Loss", "teacher": 1.5},
    "train.encoder_from": ["mine.pth"],
    "datasets.train.degradation": {"jpeg": {"quality": [0, 95]}},
    "import": {"my_encoder": True},
    "train.compile": "fast",
    "val.save_img": 2,
    "val.metrics.psnr": {"type": "calculate_psnr_protocol", "better": "more"},
    "logger.print_freq": 0,
}


@pytest.mark.parametrize("path", WRONG)
def test_wrong_values_are_refused_by_the_schema_and_by_the_check(path, validator):
    opt = edited(path, WRONG[path])
    assert any(problem.startswith(path) for problem in problems_of(validator, opt))
    assert any(problem.path.startswith(path) for problem in check(opt, Run(), check_files=False)[1])


UNKNOWN = [
    "modle_type",
    "datasets.tran",
    "datasets.train.lr_sise",
    "network_g.expert_depth",
    "network_g.encoder.num_feats",
    "train.total_itre",
    "train.balance_opt.expert_weight",
    "logger.print_frequency",
]


@pytest.mark.parametrize("path", UNKNOWN)
def test_unknown_keys_are_refused(path, validator):
    assert path.rpartition(".")[0] in problems_of(validator, edited(path, {}))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("manual_seed", None),
        ("num_gpu", "auto"),
        ("datasets.train.cache", None),
        ("datasets.val_1.scale", [2, 3.5]),
        ("train.optim_g", {"_delete_": True, "type": "AdamW", "lr": 1e-4}),
        ("train.compile", "reduce-overhead"),
        ("model_type", "SRModel"),
        ("network_g", {"from": "tiny_LIIF"}),
        ("network_g.from", "mine.pth"),
        ("import", ["my_package.my_encoder"]),
        ("import", "my_encoder.py"),
        ("train.encoder_from", "mine.pth"),
        ("train.optim_g.rates", {"encoder": 0.1, "experts.0": 2}),
        ("train.distillation_opt", {"type": "L1Loss", "teacher": "deepest"}),
        ("datasets.train.degradation", {"jpeg": {"quality": [30, 95]}, "blur": None}),
        ("_base_", ["a.yml", "b.yml"]),
    ],
)
def test_valid_settings_are_accepted(path, value, validator):
    assert problems_of(validator, edited(path, value)) == set()


def test_defaults_and_types_come_from_the_signatures_of_registered_classes():
    class Registered(torch.nn.Module):
        def __init__(self, rows: int, wide: bool = False):
            super().__init__()

    ARCH_REGISTRY.register(Registered)
    try:
        validator = Draft7Validator(json.loads(json.dumps(json_schema())))
    finally:
        ARCH_REGISTRY._obj_map.pop("Registered")
    assert problems_of(validator, edited("network_g", {"type": "Registered", "rows": 3})) == set()
    wrong = edited("network_g", {"type": "Registered", "rows": 3.5, "wide": 1})
    assert problems_of(validator, wrong) == {"network_g.rows", "network_g.wide"}


def test_the_command_prints_the_schema(capsys):
    assert main(["options", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(json_schema()))


@pytest.mark.parametrize("arguments", [[], ["--schema", "--table"], ["a.yml", "--schema"]])
def test_the_command_takes_one_of_file_schema_and_table(arguments):
    with pytest.raises(SystemExit, match="2"):
        main(["options", *arguments])
