#!/usr/bin/env bash
# Set up .venv if necessary, and run the quick start: bash tools/quickstart.sh [arguments of tools/quickstart.py]
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
bash "$root/tools/setup_venv.sh"
exec "$root/.venv/bin/python" "$root/tools/quickstart.py" "$@"
