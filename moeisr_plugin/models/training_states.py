"""Finding and loading training states to resume from.

A state has the entries of the toolbox, ``{'epoch', 'iter', 'optimizers', 'schedulers'}``, and more for an
exact resume. The networks of the same iteration are in separate files.
"""

import logging
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from basicsr.utils import check_resume, make_exp_dirs, mkdir_and_rename

from moeisr_plugin.utils import leftovers, processes
from moeisr_plugin.utils.tensor_files import CheckpointError, read_tensor_file

FOLDERS = ("experiments_root", "models", "training_states", "visualization")
"""Folders of an experiment, by their keys in `path`."""


def load_resume_state(opt: dict[str, Any]) -> dict[str, Any] | None:
    """Load the training state to resume from on the CPU, or return None to start from the beginning.

    With `auto_resume` it is the newest usable state in the folder of the experiment. Without one, or without
    `auto_resume`, it is the file `path: resume_state`, which may belong to another experiment. The folders of
    the experiment exist afterwards. The function writes to `opt`: the seed, the networks, and the position as
    `resumed`.

    Raises:
        ValueError: the named file cannot be used, or there are states and none can be used; one line.
        SystemExit: with status 0, if `auto_resume` finds a finished training.
    """
    opt["manual_seed"] = processes.broadcast_from_first(
        lambda: opt["manual_seed"]
    )  # one at random differs in each
    if opt["auto_resume"]:
        if processes.broadcast_from_first(lambda: has_finished(opt)):
            exit_finished(opt)
        newest = processes.broadcast_from_first(lambda: newest_usable(opt))
        opt["path"]["resume_state"] = newest or opt["path"].get("resume_state")
    path = opt["path"].get("resume_state")
    if not path:
        return None
    state = read_usable(path, opt)
    _take_networks(opt, path, state["iter"])
    opt["manual_seed"] = state.get("manual_seed", opt["manual_seed"])
    opt["resumed"] = {key: state.get(key, 0) for key in ("iter", "epoch", "consumed")}
    if processes.rank() == 0:
        _make_folders(opt, path)
    return state


def _take_networks(opt: dict[str, Any], state: str, iteration: int) -> None:
    """Name the networks that were saved with a state as those to load.

    The toolbox looks for them in the folder of the experiment alone. It also keeps the entry to read that was
    meant for the weights that the training started from, and changes that of an ignored network.
    """
    paths = opt["path"]
    own = {key: value for key, value in paths.items() if key.startswith("param_key")}
    ignored = paths.get("ignore_resume_networks") or ()
    models = paths["models"]
    paths["models"] = str(folder_of_networks(opt, state, iteration))
    try:
        check_resume(opt, iteration)
    finally:
        paths["models"] = models
    for label in (key.removeprefix("network_") for key in opt if key.startswith("network_")):
        key = f"param_key_{label}"
        if f"network_{label}" not in ignored:
            paths[key] = "params"
        elif key in own:
            paths[key] = own[key]


def folder_of_networks(opt: Mapping[str, Any], state: str | os.PathLike[str], iteration: int) -> Path:
    """Return the folder with the networks of a state.

    It is the folder `models` beside that of the state, the folder of the state, or that of the experiment.
    If none of them holds all networks, it is the first one.
    """
    folder = Path(state).absolute().parent
    choices = [folder.parent / "models", folder, Path(opt["path"]["models"])]
    return next(
        (each for each in choices if all(f.is_file() for f in networks(opt, iteration, each))), choices[0]
    )


def _make_folders(opt: dict[str, Any], state: str) -> None:
    """Make the folders of a resumed experiment, which the toolbox expects.

    A training that continues another experiment is a new one: an older experiment of its name is renamed, as
    at the start of any training.
    """
    experiment = Path(opt["path"]["experiments_root"]).resolve()
    used = [Path(state), *(Path(file) for key, file in opt["path"].items() if _is_network(key) and file)]
    is_own = any(file.resolve().is_relative_to(experiment) for file in used)
    if not is_own and experiment.exists() and not reuse_unfinished_folders(opt):
        make_exp_dirs(opt)
        events = Path(opt["root_path"], "tb_logger", opt["name"])
        if opt["logger"].get("use_tb_logger") and events.exists():
            mkdir_and_rename(str(events))
    for key in FOLDERS:
        Path(opt["path"][key]).mkdir(parents=True, exist_ok=True)


def _is_network(key: str) -> bool:
    return key.startswith("pretrain_network_")


def newest_usable(opt: dict[str, Any]) -> str | None:
    """Return the newest training state that can be loaded with its networks; log the skipped ones.

    Raises:
        CheckpointError: there are states, but none can be used.
    """
    folder = Path(opt["path"]["training_states"])
    for each in (folder, Path(opt["path"]["models"])):
        leftovers.sweep(each)
    states = [path for path in folder.glob("*.state") if path.stem.isdigit()]
    for path in sorted(states, key=lambda path: int(path.stem), reverse=True):
        try:
            read_usable(path, opt)
        except CheckpointError as error:
            logging.getLogger("basicsr").warning(f"{error}; trying an earlier training state")
        else:
            return str(path)
    if states:
        raise CheckpointError(
            f"{folder}: none of its {len(states)} training states can be used; remove --auto_resume to start "
            "again (the toolbox renames the old folder)"
        )
    return None


def read_usable(path: str | os.PathLike[str], opt: dict[str, Any]) -> dict[str, Any]:
    """Load a training state and check that its networks can be loaded.

    Raises:
        CheckpointError: a file is missing, damaged or not a training state.
    """
    torch.serialization.add_safe_globals([Counter])  # milestones of MultiStepRestartLR, for torch 2.4
    state = read_tensor_file(path)
    if not isinstance(state, dict) or not {"epoch", "iter", "optimizers", "schedulers"} <= state.keys():
        raise CheckpointError(f"{path}: not a training state; name a .state file of a training")
    for network in networks(opt, state["iter"], folder_of_networks(opt, path, state["iter"])):
        read_tensor_file(network)
    return state


def networks(opt: Mapping[str, Any], iteration: int | str, folder: str | os.PathLike[str]) -> list[Path]:
    """Return the network files of an iteration, except those in `path: ignore_resume_networks`."""
    ignored = opt["path"].get("ignore_resume_networks") or ()
    labels = [
        key.removeprefix("network_") for key in opt if key.startswith("network_") and key not in ignored
    ]
    return [Path(folder, f"net_{label}_{iteration}.pth") for label in labels]


def has_finished(opt: dict[str, Any]) -> bool:
    """Return whether the final networks exist and have all iterations of the option file."""
    try:
        ends = [read_tensor_file(path) for path in networks(opt, "latest", opt["path"]["models"])]
    except CheckpointError:
        return False
    return bool(ends) and all(end.get("iter", -1) >= int(opt["train"]["total_iter"]) for end in ends)


def exit_finished(opt: dict[str, Any]) -> None:
    """Print that the training has finished, and exit.

    Raises:
        SystemExit: with status 0.
    """
    if processes.rank() == 0:
        root, iterations = opt["path"]["experiments_root"], int(opt["train"]["total_iter"])
        print(f"{root}: training has finished at iteration {iterations}; raise train.total_iter to continue")
    processes.leave_group()
    raise SystemExit(0)


def reuse_unfinished_folders(opt: dict[str, Any]) -> bool:
    """Reuse the folders of an `auto_resume` run that has not saved a network; return whether they are reused.

    Such a run has no results to archive.
    """
    if not opt.get("auto_resume") or any(Path(opt["path"]["models"]).glob("*.pth")):
        return False
    for key in FOLDERS:
        Path(opt["path"][key]).mkdir(parents=True, exist_ok=True)
    return True
