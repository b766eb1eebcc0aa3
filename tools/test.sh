#!/usr/bin/env bash
# Sets up .venv if need be, then runs the tests: bash tools/test.sh [arguments of pytest]
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
bash "$root/tools/setup_venv.sh"
python="$root/.venv/bin/python"

lacks_triton() {  # torch's builds without CUDA do not bring it along; one of another version may not bear this one
    "$python" - "$(sed -n 's/^torch==//p' "$root/requirements.txt")" <<'PYTHON'
import sys
from importlib.metadata import version
from importlib.util import find_spec

is_pinned = version("torch").partition("+")[0] == sys.argv[1]
sys.exit(not (sys.platform == "linux" and is_pinned and find_spec("triton") is None))
PYTHON
}

if lacks_triton; then
    echo "test: installing Triton, whose interpreter runs the kernels for GPUs (once; 300 megabytes)"
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps triton==3.9.0 ||
        echo "test: that failed; the kernels are not tested" >&2
fi
# The tests' tensors are small: more threads than a few cost time instead of saving it.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-2}"
cd "$root"
exec "$python" -m pytest "$@"
