"""Losses that do not suit their key, the samples or the model are one line of the check."""

import pytest
import torch
from basicsr.utils.registry import LOSS_REGISTRY
from torch import nn

from moeisr_plugin.options import Run, check


def problems(opt, changes):
    for path, value in changes.items():
        *sections, key = path.split(".")
        section = opt
        for name in sections:
            section = section.setdefault(name, {})
        section[key] = value
    return [str(problem) for problem in check(opt, Run())[1]]


WHOLE = {"datasets.train.sample_q": "all"}
GAN = {
    **WHOLE,
    "model_type": "ImplicitSRGANModel",
    "datasets.train.hr_size": 16,
    "datasets.train.scale_range": [2, 4],
    "network_d": {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 4},
    "train.gan_opt": {"type": "GANLoss", "gan_type": "lsgan"},
    "train.optim_d": {"type": "Adam", "lr": 1e-4},
}
PERCEPTUAL = {"type": "PerceptualLoss", "layer_weights": {"conv5_4": 1}}

RIGHT = {
    "whole patches": WHOLE,
    "losses of pictures": {
        **WHOLE,
        "train.perceptual_opt": PERCEPTUAL,
        "train.tv_opt": {"type": "WeightedTVLoss", "loss_weight": 0.1},
        "train.frequency_opt": {"type": "FrequencyLoss"},
    },
    "layers of a network with batch norm": {
        **WHOLE,
        "train.perceptual_opt": {
            "type": "PerceptualLoss",
            "layer_weights": {"bn1_1": 1},
            "vgg_type": "vgg16_bn",
        },
    },
    "a norm of the whole batch": {**WHOLE, "train.perceptual_opt": {**PERCEPTUAL, "criterion": "fro"}},
    "means of features in parts": {**WHOLE, "train.perceptual_opt": PERCEPTUAL, "train.accumulate": 2},
    "the spectrum as the only loss": {**WHOLE, "train.pixel_opt": {"type": "FrequencyLoss"}},
    "a discriminator": {**GAN, "train.net_d_iters": 2, "train.net_d_init_iters": 100},
    "a discriminator without a pixel loss": {**GAN, "train.pixel_opt": None},
    "a discriminator of one size": {
        **GAN,
        "datasets.train.hr_size": None,
        "datasets.train.lr_size": 32,
        "datasets.train.scale_range": [4, 4],
        "network_d": {"type": "VGGStyleDiscriminator", "num_in_ch": 3, "num_feat": 4, "input_size": 128},
    },
}


@pytest.mark.parametrize("case", RIGHT)
def test_suitable_losses_pass(case, training_options):
    if "lr_size" in str(RIGHT[case]):
        training_options["datasets"]["train"]["lr_size"] = 8
    found = problems(training_options, RIGHT[case])
    assert [line for line in found if "too small" not in line] == []


NEEDS_WHOLE = "is of whole pictures, and sample_q gives single pixels; set datasets.train.sample_q: all"
WRONG = {
    "variation as the pixel loss": (
        {"train.pixel_opt": {"type": "WeightedTVLoss"}},
        [
            "train.pixel_opt.type: is WeightedTVLoss, which belongs into train.tv_opt; give L1Loss, MSELoss, "
            "CharbonnierLoss, FrequencyLoss here",
            f"train.pixel_opt: {NEEDS_WHOLE}",
        ],
    ),
    "variation as the pixel loss of whole patches": (
        {**WHOLE, "train.pixel_opt": {"type": "WeightedTVLoss"}},
        [
            "train.pixel_opt.type: is WeightedTVLoss, which belongs into train.tv_opt; give L1Loss, MSELoss, "
            "CharbonnierLoss, FrequencyLoss here",
        ],
    ),
    "variation of single pixels": (
        {"train.tv_opt": {"type": "WeightedTVLoss"}},
        [f"train.tv_opt: {NEEDS_WHOLE}"],
    ),
    "perceptual loss of single pixels": (
        {"train.perceptual_opt": PERCEPTUAL},
        [f"train.perceptual_opt: {NEEDS_WHOLE}"],
    ),
    "spectrum of single pixels": (
        {"train.frequency_opt": {"type": "FrequencyLoss"}},
        [f"train.frequency_opt: {NEEDS_WHOLE}"],
    ),
    "spectrum of single pixels as the pixel loss": (
        {"train.pixel_opt": {"type": "FrequencyLoss"}},
        [f"train.pixel_opt: {NEEDS_WHOLE}"],
    ),
    "pixel loss as the balance loss": (
        {"train.balance_opt": {"type": "L1Loss"}},
        ["train.balance_opt.type: is L1Loss, which belongs into train.pixel_opt; give BalanceLoss here"],
    ),
    "balance loss as the cost loss": (
        {"train.cost_opt": {"type": "BalanceLoss"}},
        ["train.cost_opt.type: is BalanceLoss, which belongs into train.balance_opt; give CostLoss here"],
    ),
    "layer": (
        {**WHOLE, "train.perceptual_opt": {**PERCEPTUAL, "layer_weights": {"conv9": 1}, "vgg_type": "vgg11"}},
        ["train.perceptual_opt.layer_weights: vgg11 has no conv9; it has conv1_1, relu1_1,"],
    ),
    "kind of VGG": (
        {**WHOLE, "train.perceptual_opt": {**PERCEPTUAL, "vgg_type": "vgg9"}},
        ["train.perceptual_opt.vgg_type: is 'vgg9'; give vgg11, vgg11_bn"],
    ),
    "criterion that fails in the toolbox": (
        {**WHOLE, "train.perceptual_opt": {**PERCEPTUAL, "criterion": "l2"}},
        ["train.perceptual_opt.criterion: is 'l2'; give l1 or fro"],
    ),
    "norm of the whole batch in parts": (
        {**WHOLE, "train.perceptual_opt": {**PERCEPTUAL, "criterion": "fro"}, "train.accumulate": 2},
        [
            "train.perceptual_opt.criterion: is fro, a norm of the batch, and differs from the mean over "
            "the parts that train.accumulate makes; give l1, or remove train.accumulate"
        ],
    ),
    "adversarial loss without the model": (
        {"train.gan_opt": {"type": "GANLoss", "gan_type": "vanilla"}},
        [
            "train.gan_opt: is read by ImplicitSRGANModel only; set model_type: ImplicitSRGANModel, or "
            "remove it"
        ],
    ),
    "discriminator without the model": (
        {"network_d": {"type": "UNetDiscriminatorSN"}, "train.net_d_iters": 1},
        [
            "network_d: is read by ImplicitSRGANModel only; set model_type: ImplicitSRGANModel, or remove it",
            "train.net_d_iters: is read by ImplicitSRGANModel only; set model_type: ImplicitSRGANModel, or "
            "remove it",
        ],
    ),
    "adversarial loss of single pixels": (
        {**GAN, "datasets.train.sample_q": 16, "datasets.train.hr_size": None},
        [f"train.gan_opt: {NEEDS_WHOLE}"],
    ),
    "model without its options": (
        {"model_type": "ImplicitSRGANModel", **WHOLE},
        [
            "train.gan_opt: missing; give a section with a type",
            "train.optim_d: missing; give a section with a type",
            "network_d: missing; give a section with a type",
        ],
    ),
    "parameter of the discriminator": (
        {**GAN, "network_d": {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feats": 4}},
        ["network_d.num_feats: unknown; did you mean num_feat?"],
    ),
    "rates of the discriminator": (
        {**GAN, "train.optim_d": {"type": "Adam", "lr": 1e-4, "rates": {"conv0": 0.1}}},
        ["train.optim_d.rates: unknown; known here:"],
    ),
    "size of the discriminator": (
        {
            **GAN,
            "network_d": {"type": "VGGStyleDiscriminator", "num_in_ch": 3, "num_feat": 4, "input_size": 128},
        },
        ["network_d: VGGStyleDiscriminator does not take HR patches of 16x16 pixels ("],
    ),
    "sizes that do not fit the discriminator": (
        {**GAN, "datasets.train.hr_size": 12},
        ["network_d: UNetDiscriminatorSN does not take HR patches of 12x12 pixels ("],
    ),
    "size that no discriminator has": (
        {
            **GAN,
            "network_d": {"type": "VGGStyleDiscriminator", "num_in_ch": 3, "num_feat": 4, "input_size": 96},
        },
        ["network_d: cannot be built ("],
    ),
    "window of single pixels": (
        {"datasets.train.hr_size": 8},
        ["datasets.train.hr_size: needs whole patches; set sample_q: all, or remove it"],
    ),
    "window larger than the patch": (
        {**WHOLE, "datasets.train.hr_size": 9},
        ["datasets.train.hr_size: is 9, but the smallest HR patch has 8x8 pixels; lower it, or raise"],
    ),
    "form of the samples": (
        {"datasets.train.sample_q": "every"},
        ["datasets.train.sample_q: is 'every'; give a whole number of at least 1, or all"],
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_unsuitable_losses_are_one_line_each(case, training_options):
    changes, lines = WRONG[case]
    found = problems(training_options, changes)
    assert len(found) == len(lines), found
    for line in lines:
        assert any(each.startswith(line) for each in found), found


class PictureLossOfTests(nn.Module):
    """A loss of another package, of pictures alone."""

    def forward(self, prediction, target):
        return (prediction[:, :, 1:, :] - target[:, :, 1:, :]).abs().mean()


class ManyValuesOfTests(nn.Module):
    def forward(self, prediction, target):
        return (prediction - target).abs()


class NormOfTests(nn.Module):
    """A loss of another package that is neither a mean nor a sum over samples."""

    def forward(self, prediction, target=0.0):
        return (prediction - target).norm()


class SumOfTests(nn.Module):
    """A sum over samples, as its attribute says."""

    reduction = "sum"

    def forward(self, prediction, target):
        return (prediction - target).abs().sum()


class NoisyOfTests(nn.Module):
    """A mean over samples with random weights."""

    def forward(self, prediction, target):
        return (torch.rand_like(target) * (prediction - target)).abs().mean()


@pytest.fixture
def losses_of_others():
    kinds = (PictureLossOfTests, ManyValuesOfTests, NormOfTests, SumOfTests, NoisyOfTests)
    for kind in kinds:
        kind.__module__ = "other.losses"
    own = {kind.__name__: kind for kind in kinds}
    LOSS_REGISTRY._obj_map.update(own)
    yield
    for name in own:
        del LOSS_REGISTRY._obj_map[name]


@pytest.mark.usefixtures("losses_of_others")
def test_losses_of_other_packages_are_tried(training_options):
    loss = {"train.pixel_opt": {"type": "PictureLossOfTests"}}
    (line,) = problems(training_options, loss)
    assert line.startswith("train.pixel_opt: PictureLossOfTests fails on single pixels, [1, 16, 3] (")
    assert line.endswith("; give another, or set datasets.train.sample_q: all")
    state = torch.get_rng_state()
    assert problems(training_options, WHOLE) == []
    assert torch.equal(torch.get_rng_state(), state)
    (line,) = problems(training_options, {"train.pixel_opt": {"type": "ManyValuesOfTests"}})
    assert line.startswith("train.pixel_opt: ManyValuesOfTests fails on whole pictures, [1, 3, 8, 8] (")


@pytest.mark.usefixtures("losses_of_others")
@pytest.mark.parametrize("form", [{}, WHOLE])
def test_losses_that_cannot_be_accumulated_are_refused(form, training_options):
    norm = {"type": "NormOfTests"}
    changes = {**form, "train.pixel_opt": norm, "train.accumulate": 2}
    if form:
        changes["train.tv_opt"] = norm
    found = problems(training_options, changes)
    assert found == [
        f"{key}: NormOfTests is a loss of the batch, and differs from the mean over the parts that "
        "train.accumulate makes; give another, or remove train.accumulate"
        for key in ("train.pixel_opt", "train.tv_opt")[: 1 + bool(form)]
    ]
    assert problems(training_options, {"train.accumulate": 1}) == []
    for kind in ("SumOfTests", "NoisyOfTests"):
        changes = {"train.pixel_opt": {"type": kind}, "train.tv_opt": None, "train.accumulate": 2}
        assert problems(training_options, changes) == []


def as_toolbox(opt, model="SRModel"):
    opt["model_type"] = model
    del opt["train"]["balance_opt"]
    return opt


@pytest.mark.parametrize("model", ["SRModel", "SRGANModel", "ESRGANModel"])
def test_models_of_the_toolbox_refuse_networks_of_queries(model, training_options):
    opt = as_toolbox(training_options, model)
    opt["network_g"] = {"type": "LIIF", "encoder": opt["network_g"]["encoder"]}
    more = {}
    if model != "SRModel":
        more = {"network_d": {"type": "UNetDiscriminatorSN", "num_in_ch": 3}}
    own = "ImplicitSRModel" if model == "SRModel" else "ImplicitSRGANModel"
    line = f"network_g.type: is LIIF, which is trained on queries; set model_type: {own}"
    assert problems(opt, more) == [line]


def test_models_of_the_toolbox_refuse_samples_of_single_pixels(training_options):
    opt = as_toolbox(training_options)
    opt["network_g"] = {"type": "EDSR", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 1}
    line = "datasets.train.type: gives single pixels, which SRModel does not take; set sample_q: all"
    assert problems(opt, {}) == [line]
    assert problems(opt, WHOLE) == []


def test_an_adversarial_loss_under_srmodel_names_the_remedy(training_options):
    opt = as_toolbox(training_options)
    opt["network_g"] = {"type": "EDSR", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 1}
    line = "train.gan_opt: is read by SRGANModel only; set model_type: SRGANModel, or remove it"
    assert problems(opt, {**WHOLE, "train.gan_opt": {"type": "GANLoss"}}) == [line]
