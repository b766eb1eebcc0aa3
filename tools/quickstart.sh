#!/usr/bin/env bash
# Sets up .venv if need be, then runs the quick start: bash tools/quickstart.sh [arguments of tools/quickstart.py]
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
bash "$root/tools/setup_venv.sh"
exec "$root/.venv/bin/python" "$root/tools/quickstart.py" "$@"
