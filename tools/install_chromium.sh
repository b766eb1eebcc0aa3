#!/usr/bin/env bash
# Install Debian's chromium with its driver for the tests of the page, where that is possible: as root, with apt.
# Where it is not, say so in one line and succeed; the tests in a browser are skipped then.
set -euo pipefail

if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then
    exit 0
fi
if [[ "$(id -u)" != 0 ]] || ! command -v apt-get >/dev/null; then
    echo "test: no chromium and chromedriver; the page is not tested in a browser (apt install chromium-driver)" >&2
    exit 0
fi
echo "test: installing chromium, to test the page in a browser (once; 400 megabytes)"
install() {
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends -qq chromium chromium-driver
}
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
if ! install >"$log" 2>&1 && ! { apt-get update -qq && install; } >"$log" 2>&1; then
    echo "test: installing chromium failed ($(tail -n 1 "$log")); the page is not tested in a browser" >&2
fi
