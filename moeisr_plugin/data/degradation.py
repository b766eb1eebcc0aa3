"""Random blur, noise and JPEG compression of LR patches, as photographs have them.

The strengths and the noise come from the random generator of the sample. The random functions of the toolbox
(`basicsr.data.degradations`) draw from global states. So only its deterministic blur kernel is used here.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from basicsr.data.degradations import bivariate_Gaussian

from moeisr_plugin.data.resampling import to_unit

MCU = 16
"""Rows and columns of a coding unit of JPEG with 4:2:0 chroma: 2x2 blocks of luma, one of each chroma."""
CHROMA_420 = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420)

BLUR_SIGMA = (0.1, 10)
NOISE_SIGMA = (0, 255)
JPEG_QUALITY = (1, 100)


class Operation(Protocol):
    """A random change of a patch.

    Attributes:
        probability: the chance that it is applied to a patch.
    """

    @property
    def probability(self) -> float: ...

    def apply(self, patch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the changed patch; both (h, w, 3) float32 RGB in [0, 1]."""
        ...


@dataclass(frozen=True, kw_only=True)
class Blur:
    """Convolution with an anisotropic Gaussian at a random angle.

    Attributes:
        sigma: smallest and largest standard deviation along either axis of the Gaussian, LR pixels.
        probability: the chance that it is applied.
    """

    sigma: Sequence[float]
    probability: float = 1.0

    def __post_init__(self) -> None:
        _check_range("degradation.blur.sigma", self.sigma, BLUR_SIGMA)
        _check_probability("degradation.blur.probability", self.probability)

    def apply(self, patch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        along, across = rng.uniform(self.sigma[0], self.sigma[1], size=2)
        size = 2 * math.ceil(3 * max(along, across)) + 1
        kernel = bivariate_Gaussian(size, along, across, rng.uniform(0, math.pi), isotropic=False)
        return cv2.filter2D(patch, -1, kernel, borderType=cv2.BORDER_REFLECT_101).clip(0, 1)


@dataclass(frozen=True, kw_only=True)
class Noise:
    """White Gaussian noise.

    Attributes:
        sigma: smallest and largest standard deviation, in steps of 8-bit pixels (1/255).
        gray_probability: the chance that the noise is the same in the three channels.
        probability: the chance that it is applied.
    """

    sigma: Sequence[float]
    gray_probability: float = 0.0
    probability: float = 1.0

    def __post_init__(self) -> None:
        _check_range("degradation.noise.sigma", self.sigma, NOISE_SIGMA)
        _check_probability("degradation.noise.gray_probability", self.gray_probability)
        _check_probability("degradation.noise.probability", self.probability)

    def apply(self, patch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        sigma = rng.uniform(self.sigma[0], self.sigma[1]) / 255
        channels = 1 if rng.random() < self.gray_probability else 3
        noise = rng.standard_normal((*patch.shape[:2], channels), dtype=np.float32)  # (h, w, 1 or 3)
        return (patch + np.float32(sigma) * noise).clip(0, 1)


@dataclass(frozen=True, kw_only=True)
class Jpeg:
    """JPEG compression by OpenCV, with 4:2:0 chroma.

    The grid of coding units starts at a random offset, because a crop of a photograph is not aligned with it.
    The patch is mirrored at its edges to fill the outer units.

    Attributes:
        quality: lowest and highest quality, whole numbers from 1 to 100; both are drawn.
        probability: the chance that it is applied.
    """

    quality: Sequence[int]
    probability: float = 1.0

    def __post_init__(self) -> None:
        _check_range("degradation.jpeg.quality", self.quality, JPEG_QUALITY)
        _check_probability("degradation.jpeg.probability", self.probability)

    def apply(self, patch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        lowest, highest = self.quality
        quality = int(rng.integers(lowest, highest, endpoint=True))
        (height, width), (top, left) = patch.shape[:2], rng.integers(MCU, size=2)
        rows, columns = (top, -(top + height) % MCU), (left, -(left + width) % MCU)
        padded = np.pad(patch, (rows, columns, (0, 0)), mode="symmetric")
        compressed = _compress(_to_bytes(padded), quality)
        return to_unit(compressed[top : top + height, left : left + width])


OPERATIONS: dict[str, type[Operation]] = {"blur": Blur, "noise": Noise, "jpeg": Jpeg}


class Degradation:
    """Operations that are applied one after another, each by its own chance.

    Args:
        opt: for each operation (blur, noise, jpeg) its arguments, or None to leave it out. The order of the
            keys is the order of the operations.

    Raises:
        ValueError: an operation is unknown, or a value lies outside its range; one line.
    """

    def __init__(self, opt: Mapping[str, Mapping[str, Any] | None]):
        if unknown := opt.keys() - OPERATIONS.keys():
            raise ValueError(f"degradation.{min(unknown)}: unknown; known are {', '.join(OPERATIONS)}")
        self.operations = [OPERATIONS[name](**args) for name, args in opt.items() if args is not None]

    def __call__(self, patch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the degraded patch, rounded to 8 bits as a stored photograph is.

        Args:
            patch: (h, w, 3) float32 RGB in [0, 1].
            rng: the generator of the sample.
        """
        chosen = [operation for operation in self.operations if rng.random() < operation.probability]
        if not chosen:
            return patch
        for operation in chosen:
            patch = operation.apply(patch, rng)
        return to_unit(_to_bytes(patch))


def _to_bytes(patch: np.ndarray) -> np.ndarray:
    return np.rint(patch * np.float32(255)).astype(np.uint8)


def _compress(patch: np.ndarray, quality: int) -> np.ndarray:
    """Return (h, w, 3) uint8 RGB after JPEG compression."""
    settings = (cv2.IMWRITE_JPEG_QUALITY, quality, *CHROMA_420)
    encoded = cv2.imencode(".jpg", np.ascontiguousarray(patch[..., ::-1]), settings)[1]  # OpenCV has BGR
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))[..., ::-1]


def _check_range(name: str, values: Sequence[float], limits: tuple[float, float]) -> None:
    least, most = limits
    if len(values) != 2 or not least <= values[0] <= values[1] <= most:
        raise ValueError(
            f"{name} is {list(values)}; give [smallest, largest], both between {least} and {most}"
        )


def _check_probability(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}; give a number between 0 and 1")
