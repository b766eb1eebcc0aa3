"""Write images and LMDBs for tests."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import lmdb
import numpy as np
from basicsr.utils.lmdb_util import LmdbMaker

from moeisr_plugin.pictures import from_layers, to_layers


def noise(height, width, *, seed=0, channels=3, dtype: type = np.uint8):
    """Return uniform noise, (height, width, channels)."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, np.iinfo(dtype).max, (height, width, channels), dtype, endpoint=True)


def positions(height, width, *, seed=0):
    """Return an RGB image with the row in red and the column in green, so that pixels can be located."""
    picture = noise(height, width, seed=seed)
    picture[..., 0] = np.arange(height)[:, None]
    picture[..., 1] = np.arange(width)
    return picture


def encode(picture, suffix=".png"):
    """Encode RGB(A) or grey of 8 or 16 bits, losslessly for PNG, TIFF and BMP."""
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[picture.shape[2]]
    return cv2.imencode(suffix, np.ascontiguousarray(picture[..., order]))[1].tobytes()


def write_folder(root: Path, pictures: Mapping[str, np.ndarray]) -> str:
    """Write images by name (with suffix). Return the folder."""
    for name, picture in pictures.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(picture, path.suffix))
    return str(root)


def write_lmdb(root: Path, pictures: Mapping[str, np.ndarray]) -> str:
    """Write an LMDB with the toolbox's LmdbMaker. The name of its folder must end in .lmdb."""
    maker = LmdbMaker(str(root), map_size=2**26)
    for key, picture in pictures.items():
        maker.put(encode(picture), key, picture.shape)
    maker.close()
    return str(root)


def put(root: str | Path, key: bytes, value: bytes | None) -> None:
    """Set or delete a value of an LMDB that is not open."""
    with lmdb.open(str(root), map_size=2**26) as environment, environment.begin(write=True) as transaction:
        if value is None:
            transaction.delete(key)
        else:
            transaction.put(key, value)


def upscale_pixels(pixels, enlarge):
    """Enlarge pixels of any layout by a function of RGB, (H, W, 3) to (H', W', 3)."""
    return from_layers([enlarge(layer) for layer in to_layers(pixels)], like=pixels)


def cut_off(path: Path, kept: float = 0.5) -> Path:
    """Truncate a file. Its header stays readable, its pixels do not."""
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    return path
