"""Opening the pictures of a dataset: HR, LR, or pairs of both."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from basicsr.utils import get_root_logger

from moeisr_plugin.data.combined import CombinedPictures
from moeisr_plugin.data.name_templates import PLACEHOLDER, NameTemplate
from moeisr_plugin.data.storage import PicturesInMemory, PictureSource, name_in_line, open_pictures
from moeisr_plugin.pictures import PictureError

CACHES = ("none", "memory")
DATAROOTS = ("dataroot_gt", "dataroot_lq")
PER_FOLDER = (*DATAROOTS, "filename_tmpl_gt", "filename_tmpl", "meta_info_file")
"""Options of which each folder can have its own."""


def open_pairs(
    opt: Mapping[str, Any], *, decode_all: bool = False
) -> tuple[PictureSource | None, PictureSource | None]:
    """Open the HR and the LR pictures of `list_pairs` and check that they can be read.

    Args:
        opt: options of `list_pairs`, and:
            cache: none (default), or memory to decode all pictures at the start.
            skip_bad_pictures: skip unreadable pictures or pairs instead of raising an error.
        decode_all: decode all pictures to find bad ones, as `cache: memory` does. Otherwise only read their
            headers.

    Raises:
        ValueError: the options or the pictures are unsuitable; one line.
    """
    hr, lr = list_pairs(opt)
    cache = opt.get("cache", "none")
    sources = [_cached(pictures, cache) for pictures in (hr, lr) if pictures is not None]
    sources = _without_bad(sources, skip=opt.get("skip_bad_pictures", False), decode=decode_all)
    for pictures in sources:
        _warn_about_alpha(pictures)
    return sources[0] if hr is not None else None, sources[-1] if lr is not None else None


def list_pairs(opt: Mapping[str, Any]) -> tuple[PictureSource | None, PictureSource | None]:
    """List the HR and the LR pictures in the same order, without reading them.

    Args:
        opt: options of a dataset:
            dataroot_gt, dataroot_lq: HR and LR pictures; at least one of them. Each is a folder or an LMDB,
                or a list of them. The folders of two lists are matched in their order. One folder of HR
                pictures may have several folders of LR pictures.
            io_backend, recursive, max_pixels: see `storage.open_pictures`.
            filename_tmpl: name of an LR picture, such as {}_LR4; default {}.
            filename_tmpl_gt: name of an HR picture, such as {}_HR; default {}, the whole name. {} stands for
                the same text as in filename_tmpl.
            meta_info_file: text file whose lines start with the names of the pictures to use.
            first_k: use only the first k pictures.
            Lists of folders may have lists of templates and of meta_info_files.

    Returns:
        The HR and the LR pictures; None without a dataroot.

    Raises:
        ValueError: the options or the pictures are unsuitable; one line.
    """
    pairs = [_list_folder(each) for each in per_folder(opt)]
    hr = _joined([hr for hr, _ in pairs if hr is not None])
    lr = _joined([lr for _, lr in pairs if lr is not None])
    k = opt.get("first_k")
    return hr and hr.take(hr.keys[:k]), lr and lr.take(lr.keys[:k])


def per_folder(opt: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Divide the options of a dataset into those of each folder, or pair of folders.

    Raises:
        ValueError: lists have different lengths; one line.
    """
    lists = {key: opt[key] for key in PER_FOLDER if isinstance(opt.get(key), list | tuple)}
    if not lists:
        return [opt]
    first = next(iter(lists))
    count = len(lists[first])
    single = [key for key in PER_FOLDER if opt.get(key) is not None and key not in lists]
    if "dataroot_lq" in lists and "dataroot_gt" in single:
        single = []  # the LR folders share one HR folder, and thus all that is given once
    for key, number in {**{key: len(value) for key, value in lists.items()}, **_ones(single)}.items():
        if number != count or number == 0:
            raise ValueError(
                f"{key} has {number} and {first} {count} entries; give one for each folder, in the same order"
            )
    return [{**opt, **{key: value[index] for key, value in lists.items()}} for index in range(count)]


def _ones(keys: Iterable[str]) -> dict[str, int]:
    """Return the number of entries of keys given once. Templates then count for all folders."""
    return {key: 1 for key in keys if not key.startswith("filename_tmpl")}


def _joined(parts: list[PictureSource]) -> PictureSource | None:
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else CombinedPictures(parts)


def _list_folder(opt: Mapping[str, Any]) -> tuple[PictureSource | None, PictureSource | None]:
    """List the pictures of one folder or of one pair of folders."""
    hr = open_pictures(opt, "dataroot_gt") if opt.get("dataroot_gt") is not None else None
    lr = open_pictures(opt, "dataroot_lq") if opt.get("dataroot_lq") is not None else None
    pictures = hr or lr
    if pictures is None:
        raise ValueError("neither dataroot_gt nor dataroot_lq is given; name a folder or an LMDB")
    if not (hr and lr):
        chosen = pictures.take(_selected_keys(pictures, pictures.keys, opt.get("meta_info_file")))
        return (chosen, None) if hr else (None, chosen)
    templates = [NameTemplate(opt.get(key, PLACEHOLDER)) for key in ("filename_tmpl_gt", "filename_tmpl")]
    named, shared = templates[0].matching(hr.keys), hr.root.resolve() == lr.root.resolve()
    strange = [key for key in hr.keys if key not in set(named)]
    if strange and not (named and shared):
        raise ValueError(
            f"{hr.path_of(strange[0])}: is not named as filename_tmpl_gt {templates[0].text}; rename it, "
            "or correct the template"
        )
    keys = _selected_keys(hr, named, opt.get("meta_info_file"))
    lr_keys = _matching_lr_keys(hr, lr, keys, templates)
    if len(keys) == len(named):
        _check_all_used(hr, lr, templates[1].matching(lr.keys) if shared else lr.keys, lr_keys)
    return hr.take(keys), lr.take(lr_keys)


def _selected_keys(pictures: PictureSource, keys: list[str], meta_info_file: str | None) -> list[str]:
    """Return those of the keys that a list of pictures names, in its order."""
    if meta_info_file is None:
        return keys
    lines = Path(meta_info_file).read_text(encoding="utf-8").splitlines()
    names = [name_in_line(line) for line in lines if line.strip()]
    chosen = [PurePosixPath(name).with_suffix("").as_posix() for name in names]
    known = set(keys)
    for name, key in zip(names, chosen, strict=True):
        if key not in known:
            raise ValueError(f"{meta_info_file}: names {name}, which is not in {pictures.root}")
    return chosen


def _matching_lr_keys(
    hr: PictureSource, lr: PictureSource, keys: list[str], templates: Sequence[NameTemplate]
) -> list[str]:
    gt_template, lq_template = templates
    wanted = {
        key: PurePosixPath(key).with_name(lq_template.name(gt_template.part(key) or "")).as_posix()
        for key in keys
    }
    missing = [key for key, lr_key in wanted.items() if lr_key not in lr.names]
    if missing:
        raise ValueError(
            f"{lr.root}: has no picture {wanted[missing[0]]!r}, the LR of {hr.path_of(missing[0])} "
            f"({len(missing)} of {len(keys)} have none); add it, or correct filename_tmpl"
        )
    return [wanted[key] for key in keys]


def _check_all_used(hr: PictureSource, lr: PictureSource, given: list[str], used: list[str]) -> None:
    unused = set(given).difference(used)
    if unused:
        raise ValueError(
            f"{hr.root}: has no HR picture for {lr.path_of(min(unused))} ({len(unused)} such pictures); add "
            "it, or remove the LR picture"
        )


def _cached(pictures: PictureSource, cache: str) -> PictureSource:
    if cache not in CACHES:
        raise ValueError(f"cache is {cache!r}; give one of {', '.join(CACHES)}")
    return PicturesInMemory(pictures) if cache == "memory" else pictures


def _without_bad(sources: list[PictureSource], *, skip: bool, decode: bool) -> list[PictureSource]:
    """Drop and log every index whose picture cannot be read in one of the sources.

    Raises:
        PictureError: a picture is bad and `skip` is false, or all pictures are bad.
    """
    number = len(sources[0])
    bad: dict[int, PictureError] = {}
    for index in range(number):
        try:
            for pictures in sources:
                pictures.read(index) if decode else pictures.header(index)
        except PictureError as error:
            bad[index] = error
    if not bad:
        return sources
    first = next(iter(bad.values()))
    if len(bad) == number:
        raise PictureError(f"{first} (none of {number} pictures can be read)") from first
    if not skip:
        count = f"{len(bad)} of {number} pictures cannot be read"
        raise PictureError(f"{first} ({count}; skip_bad_pictures: true skips them)") from first
    for error in bad.values():
        get_root_logger().warning(f"Skipped: {error}")
    get_root_logger().warning(f"{sources[0].label}: {len(bad)} of {number} pictures skipped.")
    good = [index for index in range(number) if index not in bad]
    return [pictures.take(pictures.keys[index] for index in good) for pictures in sources]


def _warn_about_alpha(pictures: PictureSource) -> None:
    if transparent := sum(pictures.header(index).has_alpha for index in range(len(pictures))):
        get_root_logger().warning(f"{pictures.label}: alpha is dropped from {transparent} pictures.")
