"""Check that losses suit their keys and the form of the samples; see :mod:`.contradictions`."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from basicsr.archs import vgg_arch
from basicsr.utils.registry import ARCH_REGISTRY, LOSS_REGISTRY

from moeisr_plugin.data.whole_patches import WHOLE
from moeisr_plugin.losses.names import PICTURE_LOSSES, SCORE_LOSSES
from moeisr_plugin.options.runs import Check, Finding, Run, data_sets_of
from moeisr_plugin.options.signatures import OWN_PACKAGES, find
from moeisr_plugin.utils.messages import one_line

COMPARING = ("pixel_opt", "distillation_opt", "frequency_opt")
"""Keys of losses of outputs and targets."""

PLACES = {
    "L1Loss": COMPARING,
    "MSELoss": COMPARING,
    "CharbonnierLoss": COMPARING,
    "FrequencyLoss": COMPARING,
    "PerceptualLoss": ("perceptual_opt",),
    "WeightedTVLoss": ("tv_opt",),
    "GANLoss": ("gan_opt",),
    "MultiScaleGANLoss": ("gan_opt",),
    "BalanceLoss": ("balance_opt",),
    "CostLoss": ("cost_opt",),
}
"""The keys of the losses of the toolbox and of this package, as each is called in its own way."""

OF_PICTURES = ("FrequencyLoss", "PerceptualLoss", "WeightedTVLoss")
KEYS = (
    "pixel_opt",
    "distillation_opt",
    "gan_opt",
    *(f"{name}_opt" for name in (*PICTURE_LOSSES, *SCORE_LOSSES)),
)
LARGEST_TRIAL = 64
"""Rows and columns of the pictures on which a loss is tried."""
INDIVISIBLE = "and differs from the mean over the parts that train.accumulate makes"


def places(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    """Report losses under the key of another, which is called with other arguments."""
    for key, kind in _given(opt):
        if key not in PLACES.get(kind, (key,)):
            suitable = ", ".join(name for name, where in PLACES.items() if key in where)
            there = f"belongs into train.{PLACES[kind][0]}; give {suitable} here"
            yield f"train.{key}.type", f"is {kind}, which {there}"


def whole_patches(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    """Report losses of whole pictures where the samples are single pixels."""
    if _is_whole(opt) is not False:
        return
    pictures = {f"{name}_opt" for name in PICTURE_LOSSES} | {"gan_opt"}
    for key, kind in _given(opt):
        if key in pictures or kind in OF_PICTURES:
            remedy = f"set datasets.train.sample_q: {WHOLE}"
            yield f"train.{key}", f"is of whole pictures, and sample_q gives single pixels; {remedy}"


def trials(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    """Report losses of other packages that fail on samples of this form, or cannot be accumulated."""
    is_whole, known = _is_whole(opt), dict(iter(LOSS_REGISTRY))
    if is_whole is None or not run.is_train:
        return
    train, dataset = opt["train"], dict(data_sets_of(opt))["train"]
    shape = _picture(dataset) if is_whole else (1, dataset.get("sample_q", 2304), 3)
    for key, kind in _given(opt):
        loss = find(known, kind)
        is_known = loss is None or loss.__module__.split(".")[0] in OWN_PACKAGES
        if is_known or key not in (*COMPARING, "tv_opt"):
            continue
        options = {name: value for name, value in train[key].items() if name not in ("type", "teacher")}
        arguments = 1 if key == "tv_opt" else 2
        try:
            with torch.random.fork_rng(devices=[]):
                pair = torch.rand(shape, requires_grad=True), torch.rand(shape)
                criterion = loss(**options)
                criterion(*pair[:arguments]).backward()
                divides = train.get("accumulate", 1) == 1 or _divides(criterion, shape, arguments)
        except Exception as error:  # of other packages, anything may come
            words = "whole pictures" if is_whole else "single pixels"
            remedy = "give another" if is_whole else f"give another, or set datasets.train.sample_q: {WHOLE}"
            reason = one_line(error)
            yield f"train.{key}", f"{kind} fails on {words}, {list(shape)} ({reason}); {remedy}"
            continue
        if not divides:
            text = f"{kind} is a loss of the batch, {INDIVISIBLE}; give another, or remove train.accumulate"
            yield f"train.{key}", text


def perceptual(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    """Report layers that a VGG does not have, and a norm of the whole batch where there are parts."""
    train = opt.get("train") or {}
    options = train.get("perceptual_opt") or {}
    if options.get("type") != "PerceptualLoss":
        return
    if options.get("criterion") == "fro" and run.is_train and train.get("accumulate", 1) > 1:
        text = f"is fro, a norm of the batch, {INDIVISIBLE}; give l1, or remove train.accumulate"
        yield "train.perceptual_opt.criterion", text
    kind = options.get("vgg_type", "vgg19")
    layers = vgg_arch.NAMES[kind.removesuffix("_bn")]
    layers = vgg_arch.insert_bn(layers) if kind.endswith("_bn") else layers
    for layer in options.get("layer_weights") or {}:
        if layer not in layers:
            yield "train.perceptual_opt.layer_weights", f"{kind} has no {layer}; it has {', '.join(layers)}"


def discriminator(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    """Report discriminators that cannot be built, or do not take pictures of the size of the HR patches."""
    options, dataset = dict(opt.get("network_d") or {}), dict(data_sets_of(opt)).get("train", {})
    network = find(dict(iter(ARCH_REGISTRY)), options.pop("type", None))
    if network is None or _is_whole(opt) is not True or not run.is_train:
        return
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            net = network(**options)
    except NotImplementedError:  # it needs data, which a meta device does not have
        return
    except Exception as error:  # the toolbox does not check values: a wrong one may raise anything
        yield "network_d", f"cannot be built ({one_line(error)}); correct its parameters"
        return
    for side in _sides(dataset):
        try:
            net(torch.zeros(2, 3, side, side, device="meta"))
        except NotImplementedError:
            return
        except Exception as error:
            kind = opt["network_d"]["type"]
            text = f"{kind} does not take HR patches of {side}x{side} pixels ({one_line(error)})"
            yield "network_d", f"{text}; set datasets.train.hr_size to a size that it takes"
            return


def _given(opt: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the losses with their keys."""
    train = opt.get("train") or {}
    for key in KEYS:
        if isinstance(kind := (train.get(key) or {}).get("type"), str):
            yield key, kind


def _is_whole(opt: Mapping[str, Any]) -> bool | None:
    """Return whether the samples are whole patches; None if the data set is of another package."""
    dataset = dict(data_sets_of(opt)).get("train", {})
    if dataset.get("type") != "ArbitraryScaleDataset":
        return None
    return dataset.get("sample_q") == WHOLE


def _sides(dataset: Mapping[str, Any]) -> list[int]:
    """Return the smallest and the largest side of the HR patches; none for pairs of unknown scale."""
    if dataset.get("hr_size"):
        return [dataset["hr_size"]]
    if dataset.get("dataroot_lq"):
        return []
    lr_size, scales = dataset.get("lr_size", 48), dataset.get("scale_range", [1, 4])
    return sorted({round(lr_size * scale) for scale in scales})


def _picture(dataset: Mapping[str, Any]) -> tuple[int, ...]:
    side = min(*_sides(dataset), LARGEST_TRIAL, LARGEST_TRIAL)
    return 1, 3, side, side


def _divides(loss: Any, shape: tuple[int, ...], arguments: int) -> bool:
    """Return whether a loss of two samples is the mean of those of each, or their sum by its `reduction`.

    A loss that draws random numbers is not judged.
    """
    several = [torch.rand(2, *shape[1:]) for _ in range(arguments)]
    several[0][1] *= 0.5  # samples of equal loss would hide a norm
    with torch.no_grad():
        whole, again = loss(*several), loss(*several)
        parts = torch.stack([loss(*(each[i : i + 1] for each in several)) for i in range(2)])
    expected = parts.sum() if getattr(loss, "reduction", "mean") == "sum" else parts.mean()
    return not torch.equal(whole, again) or torch.allclose(whole, expected, rtol=1e-3)


LOSSES: tuple[Check, ...] = (places, whole_patches, trials, perceptual, discriminator)
