"""Opening the pictures a dataset's options name: HR, LR, or both in pairs."""

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
    """Opens the HR and the LR pictures as `list_pairs`, and sees whether they can be read.

    Args:
        opt: a dataset's options: beside those of `list_pairs`, `cache` (none, or memory: decode all at once),
            and `skip_bad_pictures` (leave out pictures, or pairs, that cannot be read, instead of refusing
            all).
        decode_all: find bad pictures by decoding all of them, as `cache: memory` does anyway; otherwise their
            headers must do.

    Raises:
        ValueError: one line, on whatever is wrong with the options or the pictures.
    """
    hr, lr = list_pairs(opt)
    cache = opt.get("cache", "none")
    sources = [_cached(pictures, cache) for pictures in (hr, lr) if pictures is not None]
    sources = _without_bad(sources, skip=opt.get("skip_bad_pictures", False), decode=decode_all)
    for pictures in sources:
        _warn_of_alpha(pictures)
    return sources[0] if hr is not None else None, sources[-1] if lr is not None else None


def list_pairs(opt: Mapping[str, Any]) -> tuple[PictureSource | None, PictureSource | None]:
    """Lists the HR and the LR pictures, whichever the options name, in the same order, without reading them.

    Args:
        opt: a dataset's options: `dataroot_gt` and `dataroot_lq`; `io_backend`, `recursive`; `filename_tmpl`
            (name of an LR picture, given that of its HR picture, default '{}'); `meta_info_file` (a text
            file whose lines begin with the names of the pictures to use); `first_k` (use so many alone);
            `max_pixels` (refuse larger pictures).

    Returns:
        The HR and the LR pictures; None for what has no dataroot.

    Raises:
        ValueError: one line, on whatever is wrong with the options or the pictures.
    """
    hr = open_pictures(opt, "dataroot_gt") if opt.get("dataroot_gt") is not None else None
    lr = open_pictures(opt, "dataroot_lq") if opt.get("dataroot_lq") is not None else None
    leading = hr or lr
    if leading is None:
        raise ValueError("neither dataroot_gt nor dataroot_lq is given; name a folder or an LMDB")
    keys = _chosen_keys(leading, opt.get("meta_info_file"))
    if hr and lr:
        lr_keys = _partners(hr, lr, keys, opt.get("filename_tmpl", "{}"))
        if len(keys) == len(hr):
            _check_all_used(hr, lr, lr_keys)
        lr = lr.take(lr_keys[: opt.get("first_k")])
        hr = hr.take(keys[: opt.get("first_k")])
    else:
        leading = leading.take(keys[: opt.get("first_k")])
        hr, lr = (leading, None) if hr else (None, leading)
    return hr, lr


def _chosen_keys(pictures: PictureSource, meta_info_file: str | None) -> list[str]:
    if meta_info_file is None:
        return pictures.keys
    lines = Path(meta_info_file).read_text(encoding="utf-8").splitlines()
    names = [name_in_line(line) for line in lines if line.strip()]
    keys = [PurePosixPath(name).with_suffix("").as_posix() for name in names]
    for name, key in zip(names, keys, strict=True):
        if key not in pictures.names:
            raise ValueError(f"{meta_info_file}: names {name}, which is not in {pictures.root}")
    return keys


def _partners(hr: PictureSource, lr: PictureSource, keys: list[str], template: str) -> list[str]:
    partners = []
    for key in keys:
        path = PurePosixPath(key)
        partner = path.with_name(template.format(path.name)).as_posix()
        if partner not in lr.names:
            raise ValueError(f"{lr.root}: has no picture {partner!r}, the LR of {hr.root / hr.names[key]}")
        partners.append(partner)
    return partners


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
    """Leaves out the pictures of an index that cannot be read in one of the sources, and tells of each.

    Raises:
        PictureError: bad pictures, and not `skip`, or no good ones.
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
        raise PictureError(f"{first} ({count}; skip_bad_pictures: true leaves them out)") from first
    for error in bad.values():
        get_root_logger().warning(f"Skipped: {error}")
    get_root_logger().warning(f"{sources[0].root}: {len(bad)} of {number} pictures skipped.")
    good = [index for index in range(number) if index not in bad]
    return [pictures.take(pictures.keys[index] for index in good) for pictures in sources]


def _warn_of_alpha(pictures: PictureSource) -> None:
    if transparent := sum(pictures.header(index).has_alpha for index in range(len(pictures))):
        get_root_logger().warning(f"{pictures.root}: alpha is dropped from {transparent} pictures.")
