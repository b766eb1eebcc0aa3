"""The schema of a whole option file.

Known keys are those that this package and SRModel of the toolbox read. Unknown keys pass in sections of other
models, other data sets and classes that accept any argument.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, LOSS_REGISTRY, METRIC_REGISTRY

from moeisr_plugin.losses.names import PICTURE_LOSSES, SCORE_LOSSES
from moeisr_plugin.models.optimisers import suitable_optimisers
from moeisr_plugin.options import keys, ranges
from moeisr_plugin.options.rules import (
    FAULTY,
    EachKey,
    Misplaced,
    Report,
    Rule,
    Section,
    apply_to_keys,
    below,
    json_cases,
    nearest,
    needed,
    or_empty,
    requiring,
    shown,
)
from moeisr_plugin.options.signatures import Registered, named
from moeisr_plugin.options.values import (
    one_of,
)

IMPLICIT_MODEL = "ImplicitSRModel"
IMPLICIT_GAN = "ImplicitSRGANModel"
IMPLICIT_MODELS = (IMPLICIT_MODEL, IMPLICIT_GAN)
STRICT_MODELS = (*IMPLICIT_MODELS, "SRModel")
GAN_OF = {IMPLICIT_MODEL: IMPLICIT_GAN, "SRModel": "SRGANModel"}
"""The model with a discriminator, by that without one."""


def registered(noun: str, registry: Any, **attributes: Any) -> Registered:
    return Registered(noun=noun, registry=lambda: dict(iter(registry)), **attributes)


# A NetworkEncoder is cut from any network.
CUT_NETWORK = registered("network", ARCH_REGISTRY, rules=ranges.NETWORK_RANGES)
ENCODER = registered("network", ARCH_REGISTRY, rules={**ranges.NETWORK_RANGES, "network": CUT_NETWORK})
NETWORK = registered("network", ARCH_REGISTRY, rules={**ranges.NETWORK_RANGES, "encoder": ENCODER})
LOSS = registered("loss", LOSS_REGISTRY, rules=ranges.LOSS_RANGES)
PIXEL_LOSS = registered("loss", LOSS_REGISTRY, rules=ranges.PIXEL_LOSS_RANGES)
DISTILLATION = replace(PIXEL_LOSS, extra={"teacher": needed(keys.TEACHER)})
OPTIMISER = Registered(
    noun="optimiser",
    registry=suitable_optimisers,
    rules=ranges.OPTIMISER_RANGES,
    extra={"lr": needed(ranges.OPTIMISER_RANGES["lr"]), "rates": or_empty(keys.RATES)},
    supplied=frozenset({"params", "lr"}),
)
DISCRIMINATOR_OPTIMISER = replace(OPTIMISER, extra={"lr": needed(ranges.OPTIMISER_RANGES["lr"])})
SCHEDULER = Registered(
    noun="scheduler",
    registry=ranges.schedulers,
    rules=ranges.SCHEDULER_RANGES,
    supplied=frozenset({"optimizer"}),
)
METRIC = registered(
    "metric",
    METRIC_REGISTRY,
    rules=ranges.METRIC_RANGES,
    # The model passes a data set's own protocol and scale, which a metric's options override.
    extra={
        "better": one_of("higher", "lower"),
        "protocol": ranges.METRIC_RANGES["protocol"],
        "scale": ranges.METRIC_RANGES["scale"],
    },
    supplied=frozenset({"img", "img2", "protocol", "scale"}),
)


def of_gan(model: str) -> Misplaced:
    """Return the rule of a key that only a model with a discriminator reads."""
    return Misplaced(words=f"is read by {GAN_OF[model]} only; set model_type: {GAN_OF[model]}, or remove it")


def schema(opt: Mapping[str, Any], *, is_train: bool) -> Section:
    """Return the rules of an option file of this model type.

    Args:
        opt: the unchecked options.
        is_train: True for training, False for testing.
    """
    model = opt["model_type"] if isinstance(opt.get("model_type"), str) else None
    strict = model in STRICT_MODELS
    networks = {key: NETWORK for key in opt if isinstance(key, str) and key.startswith("network_")}
    sections = {
        **networks,
        **({"network_g": needed(NETWORK)} if strict else {}),
        **({"network_d": needed(NETWORK)} if model == IMPLICIT_GAN else {}),
        **({"network_d": of_gan(model)} if model in GAN_OF else {}),
        "datasets": Datasets(is_train=is_train),
        "path": Section(keys=_path(networks, model, is_train), open=not strict),
        "train": _train(model, is_train),
        "val": or_empty(_val(model, is_train)) if is_train else _val(model, is_train),
        "logger": Section(
            keys=requiring(keys.LOGGER, keys.LOGGER.keys() - {"wandb", "tb_pictures"} if is_train else ())
        ),
        "dist_params": or_empty(Section(keys=keys.DIST, open=True)),
    }
    used = ("datasets", "path", "train", "logger") if is_train else ("datasets", "path", "val")
    return Section(keys={**keys.TOP, **requiring(sections, used)}, open=not strict)


@dataclass(frozen=True, kw_only=True)
class Datasets(Rule):
    """Data sets by phase: `train` and `val_1`, `val_2`... of a training, `test_1`... of a test."""

    words: str = "a section with a data set each"
    is_train: bool

    def _apply(self, value: Any, path: str, report: Report) -> Any:
        if not isinstance(value, Mapping):
            report(path, f"is {shown(value)}; give {self.words}")
            return FAULTY
        if not value and not self.is_train:
            report(path, "is empty; give a data set, as datasets.test_1")
            return FAULTY
        phases = ["train", "val"] if self.is_train else ["test", "val"]
        unknown = [name for name in value if not self._is_phase(name)]
        for name in unknown:
            report(below(path, name), f"unknown; {nearest(str(name).split('_')[0], phases)}")
        known = {name: dataset for name, dataset in value.items() if name not in unknown}
        rules = {name: TRAIN_SET if name == "train" else DATASET for name in known}
        if self.is_train and not unknown:
            rules["train"] = needed(TRAIN_SET)
        sound = apply_to_keys(rules, known, path, report, open=False)
        if unknown:
            sound.faulty |= {"train"}.difference(sound)  # it may be present, but misspelt
        return sound

    def _is_phase(self, name: Any) -> bool:
        if name == "train":
            return self.is_train
        return str(name).split("_")[0] in (("val",) if self.is_train else ("val", "test"))

    def _json_schema(self) -> dict[str, Any]:
        """Return the schema of the phases of trainings and of tests."""
        dataset = DATASET.json_schema()
        phases = {"^train$": dataset, "^(val|test)(_.*)?$": dataset}
        return {"type": "object", "patternProperties": phases, "additionalProperties": False}


@dataclass(frozen=True, kw_only=True)
class Dataset(Rule):
    """A data set: the keys of its type, and those of the toolbox's loader."""

    words: str = "a section with a type"
    loader: Mapping[str, Rule]

    def _apply(self, value: Any, path: str, report: Report) -> Any:
        kind = value.get("type") if isinstance(value, Mapping) else None
        return self._section(kind).apply(value, path, report)

    def _section(self, kind: Any) -> Section:
        own = keys.DATASETS.get(str(kind))
        rules = {"type": DATASET_TYPE, **self.loader, **(keys.FOREIGN_PICTURES if own is None else own)}
        return Section(keys=rules, open=own is None)

    def _json_schema(self) -> dict[str, Any]:
        sections = {kind: self._section(kind).json_schema() for kind in keys.DATASETS}
        return {
            "type": "object",
            "properties": {"type": DATASET_TYPE.json_schema()},
            "allOf": json_cases(sections),
        }


DATASET_TYPE = needed(named("data set", lambda: dict(iter(DATASET_REGISTRY))))
DATASET = Dataset(loader=keys.LOADER)
TRAIN_SET = Dataset(loader=requiring(keys.LOADER, ("batch_size_per_gpu", "num_worker_per_gpu")))


def _path(networks: Mapping[str, Rule], model: Any, is_train: bool) -> dict[str, Rule]:
    labels = ["g", *(["d"] if model == IMPLICIT_GAN else [])]
    labels += [label for name in networks if (label := name.removeprefix("network_")) not in labels]
    of_networks = {
        f"{prefix}_{label}": rule for label in labels for prefix, rule in keys.PATH_OF_NETWORK.items()
    }
    if model in IMPLICIT_MODELS and not is_train:
        of_networks["pretrain_network_g"] = needed(keys.WEIGHTS)
    return {**keys.PATH, **of_networks}


def _train(model: Any, is_train: bool) -> Section:
    implicit = model in IMPLICIT_MODELS
    needs_pixel_loss = model == IMPLICIT_MODEL
    rules: dict[str, Rule] = dict(keys.SCHEDULE)
    if model in STRICT_MODELS:
        rules |= {
            "optim_g": OPTIMISER,
            "scheduler": SCHEDULER,
            "pixel_opt": PIXEL_LOSS if needs_pixel_loss else or_empty(PIXEL_LOSS if implicit else LOSS),
            "perceptual_opt": or_empty(LOSS),
        }
    if implicit:
        rules |= {f"{name}_opt": or_empty(LOSS) for name in SCORE_LOSSES}
        rules |= {f"{name}_opt": or_empty(PIXEL_LOSS) for name in PICTURE_LOSSES}
        rules |= {"distillation_opt": or_empty(DISTILLATION), **keys.IMPLICIT_TRAIN}
    used = ["total_iter", "optim_g", "scheduler", *(["pixel_opt"] if needs_pixel_loss else [])]
    if model == IMPLICIT_GAN:
        rules |= {"gan_opt": LOSS, "optim_d": DISCRIMINATOR_OPTIMISER, **keys.GAN_TRAIN}
        used += ["gan_opt", "optim_d"]
    elif model in GAN_OF:
        rules |= dict.fromkeys(("gan_opt", "optim_d", *keys.GAN_TRAIN), of_gan(model))
    return Section(keys=requiring(rules, used if is_train else ()), open=model not in STRICT_MODELS)


def _val(model: Any, is_train: bool) -> Section:
    rules = {
        **keys.VAL,
        "metrics": or_empty(EachKey(rule=METRIC)),
        **(keys.IMPLICIT_VAL if model in IMPLICIT_MODELS else {}),
    }
    return Section(keys=requiring(rules, ("val_freq",) if is_train else ()), open=model not in STRICT_MODELS)
