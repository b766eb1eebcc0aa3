"""Check that pictures, lists of pictures, weights and states exist, and that there are enough pictures."""

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from moeisr_plugin.archs.pretrained import read_weights
from moeisr_plugin.checkpoints.bundled import bundled_weights
from moeisr_plugin.data.pair_grids import grids_of_pairs
from moeisr_plugin.data.pairing import DATAROOTS, list_pairs
from moeisr_plugin.data.patches import PairedPatches
from moeisr_plugin.data.storage import PictureSource, open_pictures
from moeisr_plugin.data.whole_patches import WHOLE
from moeisr_plugin.models.distillation import DEEPEST
from moeisr_plugin.models.training_states import read_usable
from moeisr_plugin.options.folder_rules import expanded_roots, listed
from moeisr_plugin.options.keys import DATASETS, PICTURES
from moeisr_plugin.options.rules import UnsoundError
from moeisr_plugin.options.runs import Finding, Run, batch_of_process
from moeisr_plugin.pictures import PictureError
from moeisr_plugin.utils.messages import one_line
from moeisr_plugin.utils.tensor_files import AVERAGED, CheckpointError


def missing_files(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    """Yield missing files; skip checks that depend on values with reported problems."""
    with suppress(UnsoundError):
        for phase, dataset in (opt.get("datasets") or {}).items():
            with suppress(UnsoundError):
                yield from _pictures(opt, phase, dataset, run)
    for check in (_weights, _teacher, _resume_state):
        with suppress(UnsoundError):
            yield from check(opt, run)


def _pictures(opt: Mapping[str, Any], phase: str, dataset: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    path = f"datasets.{phase}"
    if dataset.get("type") not in DATASETS:
        yield from _foreign_folders(path, dataset)
        return
    options = _expanded(dataset)
    if faults := list(_folders(path, options)):
        yield from faults
    elif any(options.get(root) for root in DATAROOTS):
        try:
            hr, lr = list_pairs(options)
            if hr is not None and lr is not None:
                yield from _pairs(path, hr, lr, dataset)
        except (ValueError, OSError) as error:
            yield path, one_line(error)
        else:
            pictures = next(source for source in (hr, lr) if source is not None)
            yield from _batches(opt, phase, len(pictures), run)


def _pairs(path: str, hr: PictureSource, lr: PictureSource, dataset: Mapping[str, Any]) -> Iterator[Finding]:
    """Check the sizes of pairs, by their headers.

    Raises:
        ValueError: sizes do not fit; one line.
    """
    if dataset.get("skip_bad_pictures"):
        good = [index for index in range(len(hr)) if _is_readable(hr, index) and _is_readable(lr, index)]
        hr, lr = (pictures.take(pictures.keys[index] for index in good) for pictures in (hr, lr))
    if len(hr) == 0 or dataset["type"] != "ArbitraryScaleDataset":
        grids_of_pairs(hr, lr, dataset)
        return
    patches = PairedPatches(hr, lr, lr_size=dataset.get("lr_size", 48), opt=dataset)
    wanted, window = dataset.get("sample_q", 2304), dataset.get("hr_size")
    if window is not None and wanted != WHOLE:
        yield f"{path}.hr_size", f"needs whole patches; set sample_q: {WHOLE}, or remove it"
    elif window is not None and window > patches.shortest_side:
        text = f"is {window}, but the smallest HR patches have {patches.shortest_side} rows or columns"
        yield f"{path}.hr_size", f"{text}; lower it or raise lr_size"
    elif wanted != WHOLE and wanted > patches.fewest_pixels:
        text = f"is {wanted}, but the smallest HR patches have {patches.fewest_pixels} pixels"
        yield f"{path}.sample_q", f"{text}; lower it or raise lr_size"


def _is_readable(pictures: PictureSource, index: int) -> bool:
    try:
        pictures.header(index)
    except PictureError:
        return False
    return True


def _folders(path: str, dataset: Mapping[str, Any]) -> Iterator[Finding]:
    for root in DATAROOTS:
        for folder in listed(dataset.get(root)):
            try:
                open_pictures({**dataset, root: folder}, root)
            except (ValueError, OSError) as error:
                yield f"{path}.{root}", one_line(error)
    for listing in listed(dataset.get("meta_info_file")):
        if not Path(listing).is_file():
            yield f"{path}.meta_info_file", f"{listing}: no such file; correct the path or remove the line"


def _foreign_folders(path: str, dataset: Mapping[str, Any]) -> Iterator[Finding]:
    """Check the folders of data sets of other packages, which read them in their own way."""
    for root in DATAROOTS:
        if root in dataset:
            folder = Path(dataset[root]).expanduser()
            if not folder.exists():
                yield f"{path}.{root}", f"{dataset[root]}: no such folder; correct the path"
            elif folder.is_dir() and not any(folder.iterdir()):
                yield f"{path}.{root}", f"{dataset[root]}: the folder is empty; correct the path"


def _expanded(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options about pictures of a data set, with `~` expanded as in the toolbox."""
    stated = {key: dataset[key] for key in PICTURES if key in dataset}
    return {**stated, **expanded_roots(stated)}


def _batches(opt: Mapping[str, Any], phase: str, pictures: int, run: Run) -> Iterator[Finding]:
    """Check that an epoch holds a batch: the toolbox drops incomplete batches and would train on nothing."""
    path, dataset = f"datasets.{phase}", opt["datasets"][phase]
    if pictures == 0:
        yield f"{path}.meta_info_file", f"{dataset.get('meta_info_file')}: lists no picture; correct it"
    elif phase == "train":
        ratio = dataset.get("dataset_enlarge_ratio", 1)
        batch = batch_of_process(opt, run)
        samples = math.ceil(pictures * ratio / run.world_size)
        if batch > samples:
            enough = math.ceil(batch * run.world_size / pictures)
            of_all = f" of {run.world_size} processes" if run.world_size > 1 else ""
            yield (
                f"{path}.batch_size_per_gpu",
                f"gives batches of {batch}, but an epoch{of_all} has {samples} samples ({pictures} pictures, "
                f"dataset_enlarge_ratio {ratio}); lower it or set dataset_enlarge_ratio: {enough}",
            )


def _weights(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    paths = opt["path"]
    resumes = run.is_train and (paths.get("resume_state") or _resumes_by_itself(opt, run))
    ignored = paths.get("ignore_resume_networks") or ()
    anew = {key.removeprefix("network_") for key in ignored} if resumes else None  # others are with the state
    encoder = (opt.get("network_g") or {}).get("encoder") or {}
    if encoder.get("pretrained") and (anew is None or "g" in anew):
        findings = list(_file("network_g.encoder.pretrained", encoder["pretrained"]))
        yield from findings or _entry(encoder["pretrained"], "param_key", encoder, "network_g.encoder")
    bundled = bundled_weights()
    for key, path in paths.items():
        label = key.removeprefix("pretrain_network_")
        if key.startswith("pretrain_network") and path and (anew is None or label in anew):
            is_bundled = path in bundled and not Path(path).expanduser().exists()
            file = bundled[path] if is_bundled else path
            findings = list(_file(f"path.{key}", file))
            yield from findings or _entry(file, f"param_key_{label}", paths)
    copied = (opt.get("train") or {}).get("encoder_from")
    if run.is_train and copied and copied not in bundled and (anew is None or "g" in anew):
        yield from _file("train.encoder_from", copied)


def _teacher(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    """A resumed training needs the weights of its teacher again."""
    teacher = ((opt.get("train") or {}).get("distillation_opt") or {}).get("teacher", DEEPEST)
    if run.is_train and teacher != DEEPEST and teacher not in bundled_weights():
        yield from _file("train.distillation_opt.teacher", teacher)


def _entry(
    weights: str | Path, key: str, options: Mapping[str, Any], section: str = "path"
) -> Iterator[Finding]:
    """Check that a file of weights has the entry that a key of a section names."""
    if options.get(key) is None:
        return
    try:
        # For whole networks, the weights themselves replace missing averaged ones.
        if section != "path" or options[key] != AVERAGED:
            read_weights(str(Path(weights).expanduser()), options[key])
    except CheckpointError as error:
        yield f"{section}.{key}", one_line(error)


def _resume_state(opt: Mapping[str, Any], run: Run) -> Iterator[Finding]:
    path = opt["path"].get("resume_state")
    if not run.is_train or not path or _resumes_by_itself(opt, run):
        return
    if faults := list(_file("path.resume_state", path)):
        yield from faults
        return
    models = Path(run.root, "experiments", opt["name"], "models")
    try:
        read_usable(Path(path).expanduser(), {**opt, "path": {**opt["path"], "models": str(models)}})
    except CheckpointError as error:
        yield "path.resume_state", one_line(error)


def _resumes_by_itself(opt: Mapping[str, Any], run: Run) -> bool:
    states = Path(run.root, "experiments", opt["name"], "training_states")
    return run.is_train and run.auto_resume and any(states.glob("*.state"))


def _file(key: str, path: str | Path) -> Iterator[Finding]:
    file = Path(path).expanduser()
    if not file.is_file():
        yield key, f"{path}: no such file; correct the path"
    elif file.stat().st_size == 0:
        yield key, f"{path}: the file is empty; copy or make it again"
