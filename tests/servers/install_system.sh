#!/bin/sh
# Installs the programs that the tests marked `system` run: strace, nginx, tinyproxy, curl, promtool, ffmpeg, Chromium, and Node
# with the AWS SDK for JavaScript and Azurite. Does nothing where they are there. Needs root, or sudo, only to
# install packages.
set -eu
cd "$(dirname "$0")"

missing=""
PATH="$PATH:/usr/sbin:/sbin"
for program in strace node npm nginx tinyproxy curl promtool ffmpeg; do
    command -v "$program" >/dev/null 2>&1 || missing="$missing $program"
done
for program in chromium chromium-browser google-chrome none; do
    command -v "$program" >/dev/null 2>&1 && break
done
[ "$program" != none ] || missing="$missing chromium"
if [ -n "$missing" ]; then
    command -v apt-get >/dev/null 2>&1 || {
        echo "the system tests need:$missing; install them with your package manager" >&2
        exit 1
    }
    packages=$(echo "$missing" | sed 's/\bnode\b/nodejs/; s/\bnginx\b/nginx-light/; s/\btinyproxy\b/tinyproxy-bin/; s/\bpromtool\b/prometheus/')
    sudo=""
    [ "$(id -u)" = 0 ] || sudo="sudo"
    export DEBIAN_FRONTEND=noninteractive
    $sudo apt-get update -qq
    # shellcheck disable=SC2086  # one word for each package
    $sudo apt-get install -y -qq --no-install-recommends $packages
fi

if [ ! -f node/node_modules/.complete ] || [ node/package.json -nt node/node_modules/.complete ]; then
    npm install --prefix node --no-audit --no-fund --no-package-lock --loglevel=error
    touch node/node_modules/.complete
fi
