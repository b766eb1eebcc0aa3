"""Training states: where a training can be taken up again.

A state is what the toolbox saves, ``{'epoch', 'iter', 'optimizers', 'schedulers'}``, and what else an exact
resume takes. With it belong the networks saved at the same iteration.
"""

import logging
import os
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from basicsr.utils import check_resume

from moeisr_plugin.utils import processes
from moeisr_plugin.utils.atomic import remove_partial_files
from moeisr_plugin.utils.tensor_files import CheckpointError, read_tensor_file


def load_resume_state(opt: dict[str, Any]) -> dict[str, Any] | None:
    """The training state to go on from, read as `opt` asks, on the CPU; None to start at the beginning.

    With `auto_resume` that is the newest below the experiment's own folder that can be used, otherwise the
    file that `path: resume_state` names. `opt` is told the seed, the networks, and under `resumed` where
    training goes on.

    Raises:
        ValueError: in one line, if the file named cannot be used, or there are states and none can.
        SystemExit: with 0, if `auto_resume` finds the training finished.
    """
    opt["manual_seed"] = processes.broadcast_from_first(
        lambda: opt["manual_seed"]
    )  # one at random differs in each
    if opt["auto_resume"]:
        if processes.broadcast_from_first(lambda: has_finished(opt)):
            leave_finished(opt)
        opt["path"]["resume_state"] = processes.broadcast_from_first(lambda: newest_usable(opt))
    path = opt["path"].get("resume_state")
    if not path:
        return None
    state = read_usable(path, opt)
    check_resume(opt, state["iter"])
    opt["manual_seed"] = state.get("manual_seed", opt["manual_seed"])
    opt["resumed"] = {key: state.get(key, 0) for key in ("iter", "epoch", "consumed")}
    return state


def newest_usable(opt: dict[str, Any]) -> str | None:
    """The path of the newest training state that loads and whose networks do; warns of those passed over.

    Raises:
        CheckpointError: if there are states and none can be used.
    """
    folder = Path(opt["path"]["training_states"])
    for place in (folder, Path(opt["path"]["models"])):
        remove_partial_files(place)
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
            "anew (what is there will be kept under another name)"
        )
    return None


def read_usable(path: str | os.PathLike[str], opt: dict[str, Any]) -> dict[str, Any]:
    """A training state whose networks can be loaded as well.

    Raises:
        CheckpointError: naming the file that is missing, damaged or no such thing.
    """
    torch.serialization.add_safe_globals([Counter])  # MultiStepRestartLR's milestones; torch 2.4 refuses them
    state = read_tensor_file(path)
    if not isinstance(state, dict) or not {"epoch", "iter", "optimizers", "schedulers"} <= state.keys():
        raise CheckpointError(f"{path}: not a training state")
    for network in networks(opt, state["iter"]):
        read_tensor_file(network)
    return state


def networks(opt: dict[str, Any], iteration: int | str) -> list[Path]:
    """The files of the networks of an iteration, but for those that are not to be resumed."""
    ignored = opt["path"].get("ignore_resume_networks") or ()
    labels = [
        key.removeprefix("network_") for key in opt if key.startswith("network_") and key not in ignored
    ]
    return [Path(opt["path"]["models"], f"net_{label}_{iteration}.pth") for label in labels]


def has_finished(opt: dict[str, Any]) -> bool:
    """Whether the networks that a training saves at its end are there, after as many iterations as asked."""
    try:
        ends = [read_tensor_file(path) for path in networks(opt, "latest")]
    except CheckpointError:
        return False
    return bool(ends) and all(end.get("iter", -1) >= int(opt["train"]["total_iter"]) for end in ends)


def leave_finished(opt: dict[str, Any]) -> None:
    """End the process, there being nothing left to train.

    Raises:
        SystemExit: with 0.
    """
    if processes.rank() == 0:
        root, iterations = opt["path"]["experiments_root"], int(opt["train"]["total_iter"])
        print(f"{root}: training has finished at iteration {iterations}; raise train.total_iter to go on")
    processes.leave_group()
    raise SystemExit(0)


def reuse_unfinished_folders(opt: dict[str, Any]) -> bool:
    """With `auto_resume`, go on in the folders of a run that ended before it saved anything; False elsewhere.

    Starting such a run again loses nothing, so there is nothing to be archived.
    """
    if not opt.get("auto_resume") or any(Path(opt["path"]["models"]).glob("*.pth")):
        return False
    for key in ("models", "training_states", "visualization"):
        Path(opt["path"][key]).mkdir(parents=True, exist_ok=True)
    return True
