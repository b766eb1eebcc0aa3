"""Patches for BasicSR 1.4.2, whose imports fail or warn with current versions of its dependencies."""

import difflib
from pathlib import Path
from typing import NamedTuple

VERSION = "1.4.2"


class Repair(NamedTuple):
    """A change of one or two lines.

    Attributes:
        name: name of the patch.
        message: what it mends.
        file: path in the repository.
        replacements: pairs of old and new text. Each old text occurs exactly once.
    """

    name: str
    message: str
    file: str
    replacements: tuple[tuple[str, str], ...]


REPAIRS = (
    Repair(
        "import-rgb_to_grayscale",
        "Import rgb_to_grayscale from its public module. torchvision 0.17 removed functional_tensor.",
        "basicsr/data/degradations.py",
        (
            (
                "from torchvision.transforms.functional_tensor import rgb_to_grayscale",
                "from torchvision.transforms.functional import rgb_to_grayscale",
            ),
        ),
    ),
    Repair(
        "import-convolve",
        "Import convolve from scipy.ndimage. scipy.ndimage.filters is deprecated, and SciPy 2 removes it.",
        "basicsr/metrics/niqe.py",
        (("from scipy.ndimage.filters import convolve", "from scipy.ndimage import convolve"),),
    ),
    Repair(
        "import-gaussian_filter",
        "Import gaussian_filter from scipy.ndimage. SciPy 2 removes scipy.ndimage.filters.",
        "basicsr/data/data_util.py",
        (
            ("from scipy.ndimage import filters as filters", "from scipy.ndimage import gaussian_filter"),
            ("return filters.gaussian_filter(kernel, sigma)", "return gaussian_filter(kernel, sigma)"),
        ),
    ),
    Repair(
        "compare-versions-without-distutils",
        "Compare the version of torchvision without distutils, which Python 3.12 removed.",
        "basicsr/archs/arch_util.py",
        (
            ("from distutils.version import LooseVersion\n", ""),
            (
                "if LooseVersion(torchvision.__version__) >= LooseVersion('0.9.0'):",
                "if tuple(int(v) for v in torchvision.__version__.split('.')[:2]) >= (0, 9):",
            ),
        ),
    ),
    Repair(
        "state-indexing-of-meshgrid-in-flow_warp",
        "State the indexing of meshgrid. torch warns that its default will change.",
        "basicsr/archs/arch_util.py",
        (
            (
                "torch.meshgrid(torch.arange(0, h).type_as(x), torch.arange(0, w).type_as(x))",
                "torch.meshgrid(\n"
                "        torch.arange(0, h).type_as(x), torch.arange(0, w).type_as(x), indexing='ij')",
            ),
        ),
    ),
    Repair(
        "state-indexing-of-meshgrid-in-SwinIR",
        "State the indexing of meshgrid. torch warns that its default will change.",
        "basicsr/archs/swinir_arch.py",
        (
            (
                "torch.meshgrid([coords_h, coords_w])",
                "torch.meshgrid([coords_h, coords_w], indexing='ij')",
            ),
        ),
    ),
)


def patches(toolbox: Path) -> dict[str, str]:
    """Return the patches by file name, for `git apply` or `patch -p1` in a checkout of BasicSR.

    Args:
        toolbox: the folder `basicsr` of BasicSR 1.4.2.

    Raises:
        ValueError: the folder holds another version, or a text that is to be replaced is not there.
        OSError: a file cannot be read.
    """
    version = toolbox / "version.py"
    if f"'{VERSION}'" not in version.read_text(encoding="utf-8"):
        raise ValueError(f"{version}: is not BasicSR {VERSION}, for which the patches are; give its folder")
    return {
        f"{number:04}-{repair.name}.patch": _patch(repair, toolbox)
        for number, repair in enumerate(REPAIRS, 1)
    }


def _patch(repair: Repair, toolbox: Path) -> str:
    path = toolbox.parent / repair.file
    before = path.read_text(encoding="utf-8")
    after = before
    for old, new in repair.replacements:
        if before.count(old) != 1:
            raise ValueError(f"{path}: {old.strip()!r} is there {before.count(old)} times, not once")
        after = after.replace(old, new)
    lines = difflib.unified_diff(
        before.splitlines(keepends=True),
        after.splitlines(keepends=True),
        f"a/{repair.file}",
        f"b/{repair.file}",
    )
    return f"{repair.message}\n\n" + "".join(lines)
