"""Repair scripts that are copies of basicsr/train.py."""

import importlib.util
from types import CodeType, FunctionType
from typing import Any

import torch

from moeisr_plugin.toolbox import trainer

TRAIN = "basicsr.train"


def mend_copy(names: dict[str, Any]) -> None:
    """Repair the functions that a copy of basicsr/train.py defines by itself, as `trainer.mend_train` does.

    Projects on BasicSR often carry such a copy. A function is repaired if it is that of the toolbox, line for
    line. A changed one stays as its author wants it. Only a `load_resume_state` that needs a GPU is replaced
    where there is none. Can go when `trainer.mend_train` can.

    Args:
        names: the global names of the script, changed in place.
    """
    if names.get("__name__") == TRAIN or not callable(names.get("load_resume_state")):
        return
    original = toolbox_functions()
    load: Any = names["load_resume_state"]
    loaders: Any = names.get("create_train_val_dataloader")
    folders: Any = names.get("make_exp_dirs")
    needs_gpu = isinstance(load, FunctionType) and "current_device" in load.__code__.co_names
    if is_same(load, original) or (needs_gpu and not torch.cuda.is_available()):
        names["load_resume_state"] = trainer.load_resume_state
    if is_same(loaders, original):
        names["create_train_val_dataloader"] = trainer.with_sample_order(loaders, names)
    if getattr(folders, "__module__", None) == "basicsr.utils.misc":
        names["make_exp_dirs"] = trainer.with_unfinished_folders_kept(folders)


def toolbox_functions() -> dict[str, CodeType]:
    """Return the code of the functions of basicsr/train.py by name, as they are without repairs."""
    spec = importlib.util.find_spec(TRAIN)
    loader: Any = spec and spec.loader
    code = loader.get_code(TRAIN) if hasattr(loader, "get_code") else None
    return {each.co_name: each for each in getattr(code, "co_consts", ()) if isinstance(each, CodeType)}


def is_same(function: Any, originals: dict[str, CodeType]) -> bool:
    """Return whether a function of a script does what that of the toolbox does, wherever it stands."""
    code = getattr(function, "__code__", None)
    return code is not None and code.co_name in originals and same_code(code, originals[code.co_name])


def same_code(one: CodeType, other: CodeType) -> bool:
    """Return whether two functions have the same instructions, names and constants."""
    if (one.co_code, one.co_names, len(one.co_consts)) != (
        other.co_code,
        other.co_names,
        len(other.co_consts),
    ):
        return False
    return all(
        same_code(a, b) if isinstance(a, CodeType) and isinstance(b, CodeType) else a == b
        for a, b in zip(one.co_consts, other.co_consts, strict=True)
    )
