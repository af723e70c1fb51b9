#!/bin/sh
# Finds or installs Chromium, in which the tests open reports, and prints where it is:
#
#     MODEL_BUILD_CHROMIUM=/usr/bin/chromium
#
# so that `export "$(scripts/fetch-chromium.sh)"` sets it. It comes from the package `chromium` of
# Debian; with apt and the right to use it, it is installed when it is missing.
set -eu

find_chromium() {
    for name in chromium chromium-browser google-chrome-stable google-chrome; do
        if command -v "$name" >/dev/null 2>&1; then
            command -v "$name"
            return 0
        fi
    done
    return 1
}

if ! find_chromium >/dev/null; then
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "fetch-chromium: no Chromium here and no apt; install Chromium and put it into PATH" >&2
        exit 1
    fi
    {
        apt-get -qq update
        DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends chromium
    } >&2
fi
echo "MODEL_BUILD_CHROMIUM=$(find_chromium)"
