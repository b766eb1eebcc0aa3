#!/usr/bin/env bash
# Sets up .venv if need be, then runs the tests: bash tools/test.sh [arguments of pytest]
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
bash "$root/tools/setup_venv.sh"
# Without a GPU Triton's interpreter runs the kernels, and torch's builds without CUDA do not bring Triton along.
python="$root/.venv/bin/python"
if [[ "$(uname -s)" == Linux ]] && ! "$python" -c 'import triton' 2>/dev/null; then
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps triton==3.9.0 ||
        echo "test: Triton cannot be installed; its kernels are not tested" >&2
fi
# The tests' tensors are small: more threads than a few cost time instead of saving it.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-2}"
cd "$root"
exec "$python" -m pytest "$@"
