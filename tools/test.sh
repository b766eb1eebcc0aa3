#!/usr/bin/env bash
# Set up .venv if necessary, and run the tests: bash tools/test.sh [arguments of pytest]
# Two processes run them. Another number: -n 4; in this process, as a debugger needs it: -n 0.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
bash "$root/tools/setup_venv.sh"
python="$root/.venv/bin/python"

lacks_triton() {  # whether the pinned torch is a build without CUDA, which does not include Triton
    "$python" - "$(sed -n 's/^torch==//p' "$root/requirements.txt")" <<'PYTHON'
import sys
from importlib.metadata import version
from importlib.util import find_spec

is_pinned = version("torch").partition("+")[0] == sys.argv[1]
sys.exit(not (sys.platform == "linux" and is_pinned and find_spec("triton") is None))
PYTHON
}

if lacks_triton; then
    echo "test: installing Triton, to run GPU kernels in its interpreter (once; 300 megabytes)"
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps triton==3.9.0 ||
        echo "test: installing Triton failed; GPU kernels are not tested" >&2
fi
bash "$root/tools/install_chromium.sh"
# Tests use small tensors, on which several threads are slower.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
cd "$root"
# The tests of a file share its fixtures, and thus a process. Later arguments replace these.
parallel=(-n logical --maxprocesses 2 --dist loadfile --max-worker-restart 0)
case " $* " in
*" --pdb"* | *" --trace "* | *no:xdist*) parallel=() ;;
esac
exec "$python" -m pytest ${parallel[@]+"${parallel[@]}"} "$@"
