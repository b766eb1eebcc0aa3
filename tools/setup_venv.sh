#!/usr/bin/env bash
# Create .venv in the root of the repository, and install requirements.txt and this package.
# Other scripts call it. If all is installed, it ends within a second. An installed torch >= 2.4 is kept.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
venv="$root/.venv"
python="$venv/bin/python"
stamp="$venv/moeisr_plugin.stamp"

is_supported() {  # whether BasicSR runs on the given interpreter
    "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' 2>/dev/null
}

find_python() {  # prints the first supported interpreter
    local name
    for name in python3 python3.12 python3.11 python3.10; do
        if is_supported "$name"; then
            echo "$name"
            return
        fi
    done
    echo "setup: no Python 3.10, 3.11 or 3.12 on the PATH; install one." >&2
    return 1
}

make_venv() {
    local base
    base="$(find_python)"
    echo "setup: creating .venv with $("$base" --version)"
    if ! "$base" -m venv "$venv"; then
        rm -rf "$venv"
        echo "setup: '$base -m venv' failed; on Debian and Ubuntu, install the package python3-venv first." >&2
        return 1
    fi
}

check_venv() {  # a .venv made by other tools may have another Python version, or lack pip
    if ! is_supported "$python"; then
        echo "setup: .venv does not have Python 3.10, 3.11 or 3.12; remove $venv and run this again." >&2
        return 1
    fi
    "$python" -m pip --version >/dev/null 2>&1 || "$python" -m ensurepip >/dev/null
}

fingerprint() {  # prints a checksum of the files that list requirements
    cat "$root/requirements.txt" "$root/setup.py" | cksum
}

is_complete() {  # whether requirements are unchanged, modules are present, and this copy is installed
    [[ -f "$stamp" && "$(cat "$stamp")" == "$(fingerprint)" ]] || return 1
    "$python" -I - "$root" 2>/dev/null <<'PYTHON'
import sys
from importlib.util import find_spec
from pathlib import Path

import cv2  # fails if its system libraries are missing

modules = "imagecodecs torch torchvision basicsr mmengine lmdb addict safetensors skimage fastapi uvicorn spandrel pytest xdist httpx selenium ruff pyright".split()
package = find_spec("moeisr_plugin")
here = package is not None and Path(sys.argv[1]).resolve() in Path(package.origin).resolve().parents
sys.exit(not (here and all(map(find_spec, modules))))
PYTHON
}

pip_install() {
    "$python" -m pip install --quiet --disable-pip-version-check "$@"
}

present_torch() {  # prints the version of torch in .venv, or nothing if it is missing or older than 2.4
    "$python" - <<'PYTHON'
import re
from importlib.metadata import PackageNotFoundError, version

try:
    found = version("torch")
except PackageNotFoundError:
    found = "0.0"
if tuple(map(int, re.findall(r"\d+", found)[:2])) >= (2, 4):
    print(found)
PYTHON
}

pins() {  # prints the lines of requirements.txt for the packages that match a pattern
    grep -E "^($1)==" "$root/requirements.txt"
}

install_all() {
    local torch
    torch="$(present_torch)"
    if [[ -n "$torch" ]]; then
        # With torch pinned, pip selects the matching torchvision.
        pip_install "torch==$torch" torchvision
    else
        echo "setup: installing torch and torchvision (once; several hundred megabytes)"
        pip_install -r <(pins "torch|torchvision")
    fi
    echo "setup: installing the rest of requirements.txt (once; a few minutes)"
    pip_install -r <(pins "cython|numpy|setuptools|wheel")
    # BasicSR builds against the installed torch. An isolated build would download another one.
    pip_install --no-build-isolation "torch==$(present_torch)" \
        -r <(grep -vE "^(torch|torchvision)==" "$root/requirements.txt")
    pip_install --no-build-isolation --no-deps --editable "$root"
}

repair_opencv() {  # opencv-python needs libGL, which servers often lack; the headless build does not
    local error version
    if error="$("$python" -c 'import cv2' 2>&1)"; then return; fi
    if [[ "$error" != *"cannot open shared object file"* ]]; then
        echo "$error" >&2
        return 1
    fi
    version="$("$python" -c 'from importlib.metadata import version; print(version("opencv-python"))')"
    echo "setup: ${error##*ImportError: }; installing opencv-python-headless $version over opencv-python"
    pip_install --no-deps --force-reinstall "opencv-python-headless==$version"
    "$python" -c 'import cv2'
}

[[ -e "$venv" ]] || make_venv
check_venv
if ! is_complete; then
    rm -f "$stamp"
    install_all
    repair_opencv
    fingerprint >"$stamp"
    echo "setup: .venv is ready"
fi
