"""Resume trainings exactly: training states, experiment folders and the order of samples."""

import functools
import importlib
from collections.abc import Callable
from typing import Any


def mend_train(train: Any) -> None:
    """Repair basicsr/train.py.

    - `parse_options` and `copy_opt_file`: use the repaired functions; they differ if the module was imported
      before.
    - `load_resume_state` (line 68): it fails without CUDA, moves random states to the GPU, searches below the
      current directory, and takes the newest file even if it is truncated. Can go when the toolbox does none
      of this.
    - `make_exp_dirs` (called in line 105): it archives the folders of a run that is to be resumed and has
      saved nothing yet. Can go when the toolbox keeps them with `--auto_resume`.
    - `create_train_val_dataloader` (line 28): its sampler restarts the epoch, its workers draw from random
      states that are lost with them, and it counts the dropped last batch as an iteration of each epoch, so
      that training may end early. Can go when the toolbox resumes exactly.
    """
    options: Any = importlib.import_module("basicsr.utils.options")
    train.parse_options, train.copy_opt_file = options.parse_options, options.copy_opt_file
    train.load_resume_state = load_resume_state
    train.make_exp_dirs = with_unfinished_folders_kept(train.make_exp_dirs)
    train.create_train_val_dataloader = with_sample_order(train.create_train_val_dataloader, vars(train))


def load_resume_state(opt: dict) -> dict | None:
    """Load the training state to resume from; see `training_states.load_resume_state`."""
    from moeisr_plugin.models import training_states

    return training_states.load_resume_state(opt)


def with_unfinished_folders_kept(make_exp_dirs: Callable[[dict], None]) -> Callable[[dict], None]:
    """Wrap `make_exp_dirs` so that with `auto_resume` a run that has saved nothing yet is not archived."""

    @functools.wraps(make_exp_dirs)
    def made(opt: dict) -> None:
        from moeisr_plugin.models.training_states import reuse_unfinished_folders
        from moeisr_plugin.utils.processes import rank

        if rank() == 0 and not reuse_unfinished_folders(opt):
            make_exp_dirs(opt)

    return made


def with_sample_order(create_loaders: Callable[..., tuple], names: dict[str, Any]) -> Callable[..., tuple]:
    """Wrap `create_train_val_dataloader` so that `sample_order.SampleOrder` gives the order of samples.

    The wrapper sets `sample_order` in the options, by which a model knows.

    Args:
        create_loaders: the function.
        names: the global names of its module.

    Raises (from the wrapped function):
        ValueError: the dataset is smaller than a batch of all processes.
    """

    @functools.wraps(create_loaders)
    def created(opt: dict, logger: Any) -> tuple:
        from moeisr_plugin.data.sample_order import Position, SampleOrder
        from moeisr_plugin.data.workers import IsolatedLoader

        resumed = opt.get("resumed") or {"iter": 0, "epoch": 0, "consumed": 0}
        names["EnlargedSampler"] = functools.partial(
            SampleOrder, seed=opt["manual_seed"], begin=Position(resumed["epoch"], resumed["consumed"])
        )
        opt["sample_order"] = True
        train_loader, sampler, val_loaders, _, total_iters = create_loaders(opt, logger)
        train_loader, *val_loaders = (
            IsolatedLoader(loader, seed=opt["manual_seed"] + opt["rank"])
            for loader in (train_loader, *val_loaders)
        )
        if len(train_loader) == 0:
            batch = opt["datasets"]["train"]["batch_size_per_gpu"]
            raise ValueError(
                f"datasets.train.batch_size_per_gpu: {batch} per process are more than an epoch of "
                f"{len(sampler)} samples; lower it or raise dataset_enlarge_ratio"
            )
        epochs_left = -(-(total_iters - resumed["iter"]) // len(train_loader))
        return train_loader, sampler, val_loaders, resumed["epoch"] + max(epochs_left, 0), total_iters

    return created
