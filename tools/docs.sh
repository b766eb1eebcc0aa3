#!/usr/bin/env bash
# Build the documentation in site/, and fail on a broken link: bash tools/docs.sh [arguments of mkdocs build]
# With the argument `serve`, show it while it is edited.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"
venv="$root/.venv-docs"  # apart from the package, whose requirements mkdocs does not need
if [[ ! -x "$venv/bin/mkdocs" ]]; then
    python="$root/.venv/bin/python"
    [[ -x "$python" ]] || python=python3
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "mkdocs-material==9.8.2"
fi
if [[ "${1:-}" == serve ]]; then
    exec "$venv/bin/mkdocs" "$@"
fi
NO_MKDOCS_2_WARNING=1 exec "$venv/bin/mkdocs" build --strict --quiet "$@"
