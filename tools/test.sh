#!/usr/bin/env bash
# Sets up .venv if need be, then runs the tests: bash tools/test.sh [arguments of pytest]
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
bash "$root/tools/setup_venv.sh"
# The tests' tensors are small: more threads than a few cost time instead of saving it.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-2}"
cd "$root"
exec "$root/.venv/bin/python" -m pytest "$@"
