"""Opening the pictures of a dataset: HR, LR, or pairs of both."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from basicsr.utils import get_root_logger

from moeisr_plugin.data.storage import PicturesInMemory, PictureSource, name_in_line, open_pictures
from moeisr_plugin.pictures import PictureError

CACHES = ("none", "memory")


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
            dataroot_gt, dataroot_lq: HR and LR pictures; at least one of them.
            io_backend, recursive, max_pixels: see `storage.open_pictures`.
            filename_tmpl: name of an LR picture, with {} for the name of its HR picture, default '{}'.
            meta_info_file: text file whose lines start with the names of the pictures to use.
            first_k: use only the first k pictures.

    Returns:
        The HR and the LR pictures; None without a dataroot.

    Raises:
        ValueError: the options or the pictures are unsuitable; one line.
    """
    hr = open_pictures(opt, "dataroot_gt") if opt.get("dataroot_gt") is not None else None
    lr = open_pictures(opt, "dataroot_lq") if opt.get("dataroot_lq") is not None else None
    pictures = hr or lr
    if pictures is None:
        raise ValueError("neither dataroot_gt nor dataroot_lq is given; name a folder or an LMDB")
    keys = _selected_keys(pictures, opt.get("meta_info_file"))
    if hr and lr:
        lr_keys = _matching_lr_keys(hr, lr, keys, opt.get("filename_tmpl", "{}"))
        if len(keys) == len(hr):
            _check_all_used(hr, lr, lr_keys)
        lr = lr.take(lr_keys[: opt.get("first_k")])
        hr = hr.take(keys[: opt.get("first_k")])
    else:
        pictures = pictures.take(keys[: opt.get("first_k")])
        hr, lr = (pictures, None) if hr else (None, pictures)
    return hr, lr


def _selected_keys(pictures: PictureSource, meta_info_file: str | None) -> list[str]:
    if meta_info_file is None:
        return pictures.keys
    lines = Path(meta_info_file).read_text(encoding="utf-8").splitlines()
    names = [name_in_line(line) for line in lines if line.strip()]
    keys = [PurePosixPath(name).with_suffix("").as_posix() for name in names]
    for name, key in zip(names, keys, strict=True):
        if key not in pictures.names:
            raise ValueError(f"{meta_info_file}: names {name}, which is not in {pictures.root}")
    return keys


def _matching_lr_keys(hr: PictureSource, lr: PictureSource, keys: list[str], template: str) -> list[str]:
    lr_keys = []
    for key in keys:
        path = PurePosixPath(key)
        lr_key = path.with_name(template.format(path.name)).as_posix()
        if lr_key not in lr.names:
            raise ValueError(f"{lr.root}: has no picture {lr_key!r}, the LR of {hr.root / hr.names[key]}")
        lr_keys.append(lr_key)
    return lr_keys


def _check_all_used(hr: PictureSource, lr: PictureSource, lr_keys: list[str]) -> None:
    unused = set(lr.names).difference(lr_keys)
    if unused:
        name = lr.names[min(unused)]
        raise ValueError(f"{hr.root}: has no HR picture for {lr.root / name} ({len(unused)} such pictures)")


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
    get_root_logger().warning(f"{sources[0].root}: {len(bad)} of {number} pictures skipped.")
    good = [index for index in range(number) if index not in bad]
    return [pictures.take(pictures.keys[index] for index in good) for pictures in sources]


def _warn_about_alpha(pictures: PictureSource) -> None:
    if transparent := sum(pictures.header(index).has_alpha for index in range(len(pictures))):
        get_root_logger().warning(f"{pictures.root}: alpha is dropped from {transparent} pictures.")
